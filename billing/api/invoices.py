"""`/billing/invoices`: an account's invoices, as Stripe has them."""

from datetime import UTC, datetime

from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import Scope
from api.authentication import account_of
from api.fields import ACCOUNT_PARAMETER, timestamp
from api.pagination import list_of, listing
from api.serializers import Serializer
from billing.models import PaymentRecord
from billing.payments import payment_records
from billing.stripe import djstripe_store
from common import clock
from common.json_types import JsonObject

LATEST_INVOICES = 100


class InvoiceSerializer(Serializer):
    id = serializers.CharField()
    number = serializers.CharField(allow_null=True)
    status = serializers.CharField(help_text="As Stripe has it: open, paid, void, uncollectible.")
    money = serializers.ChoiceField(
        choices=PaymentRecord.State.choices, allow_null=True, help_text="What became of the money, once it was paid."
    )
    total = serializers.IntegerField(help_text="With tax, in the currency's minor units.")
    refunded = serializers.IntegerField()
    currency = serializers.CharField()
    created = serializers.DateTimeField()
    url = serializers.CharField(allow_null=True, help_text="The invoice's page at Stripe.")
    pdf_url = serializers.CharField(allow_null=True)


class InvoicesView(APIView):
    required_scope = Scope.CREDITS_READ

    @extend_schema(operation_id="list_invoices", parameters=[ACCOUNT_PARAMETER], responses=list_of(InvoiceSerializer))
    def get(self, request: Request) -> Response:
        """The account's latest invoices, with links to their pages and PDFs."""
        account = account_of(request, now=clock.now())
        result = djstripe_store.invoices_of(account.pk, limit=LATEST_INVOICES)
        known = payment_records.for_origins(invoice["id"] for invoice in result)
        return Response(listing([invoice_data(invoice, known.get(invoice["id"])) for invoice in result], ""))


def invoice_data(invoice: JsonObject, payment: PaymentRecord | None) -> JsonObject:
    """What the API says of an invoice."""
    is_paid = invoice["status"] == "paid"
    return {
        "id": invoice["id"],
        "number": invoice.get("number"),
        "status": invoice["status"],
        "money": payment.state if payment else (PaymentRecord.State.PAID if is_paid else None),
        "total": invoice["total"],
        "refunded": payment.refunded_minor if payment else 0,
        "currency": invoice["currency"],
        "created": timestamp(datetime.fromtimestamp(invoice["created"], UTC)),
        "url": invoice.get("hosted_invoice_url"),
        "pdf_url": invoice.get("invoice_pdf"),
    }


urlpatterns = [
    path("billing/invoices", InvoicesView.as_view()),
]
