"""The API's side of what Stripe keeps for an account: its plan, and its invoices."""

from datetime import UTC, datetime
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts import clock
from accounts.api_parts import ACCOUNT_PARAMETER, account_of, list_of, listing, timestamp
from accounts.models import Scope
from billing import catalogue, mirror, payment_records, plan_changes
from billing.models import PaymentRecord, Price, Subscription

LATEST_INVOICES = 100


class PlanStateSerializer(serializers.Serializer[Any]):
    """The plan as it runs; without one, the free plan alone."""

    plan = serializers.CharField(allow_null=True, help_text="Its code.")
    name = serializers.CharField(allow_null=True)
    status = serializers.ChoiceField(choices=["none", *Subscription.Status.values])
    interval = serializers.CharField(allow_null=True)
    amount = serializers.IntegerField(allow_null=True, help_text="In the currency's minor units.")
    currency = serializers.CharField(allow_null=True)
    current_period_end = serializers.DateTimeField(allow_null=True)
    ends_then = serializers.BooleanField(help_text="It stops at the end of the period.")
    next_plan = serializers.CharField(allow_null=True, help_text="What it changes to then.")
    is_paused = serializers.BooleanField()
    trial_ends_at = serializers.DateTimeField(allow_null=True)


class InvoiceSerializer(serializers.Serializer[Any]):
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


class SubscriptionView(APIView):
    required_scope = Scope.CREDITS_READ

    @extend_schema(operation_id="get_subscription", parameters=[ACCOUNT_PARAMETER], responses=PlanStateSerializer)
    def get(self, request: Request) -> Response:
        """The account's plan, when it renews, and what comes after."""
        account = account_of(request, now=clock.now())
        return Response(plan_data(plan_changes.find_running(account)))


class InvoicesView(APIView):
    required_scope = Scope.CREDITS_READ

    @extend_schema(operation_id="list_invoices", parameters=[ACCOUNT_PARAMETER], responses=list_of(InvoiceSerializer))
    def get(self, request: Request) -> Response:
        """The account's latest invoices, with links to their pages and PDFs."""
        account = account_of(request, now=clock.now())
        found = mirror.invoices_of(account.pk, limit=LATEST_INVOICES)
        known = payment_records.of_origins(invoice["id"] for invoice in found)
        return Response(listing([invoice_data(invoice, known.get(invoice["id"])) for invoice in found], ""))


def plan_data(running: Subscription | None) -> dict[str, Any]:
    """What the API says of a plan."""
    price: Price | None = running.price if running else None
    following = running.next_price if running else None
    plan = price.plan if price else catalogue.default_plan()
    return {
        "plan": plan.code if plan else None,
        "name": plan.name if plan else None,
        "status": running.status if running else "none",
        "interval": price.interval if price else None,
        "amount": price.amount_minor if price else None,
        "currency": price.currency if price else None,
        "current_period_end": timestamp(running.current_period_end) if running else None,
        "ends_then": running.cancel_at_period_end if running else False,
        "next_plan": following.plan.code if following and following.plan else None,
        "is_paused": running.is_paused if running else False,
        "trial_ends_at": timestamp(running.trial_ends_at) if running and running.trial_ends_at else None,
    }


def invoice_data(invoice: dict[str, Any], payment: PaymentRecord | None) -> dict[str, Any]:
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
