"""The API's side of what an account bought, and what became of its money."""

from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import Scope
from api.authentication import account_of
from api.fields import timestamp
from api.pagination import PAGE_PARAMETERS, InvalidCursorError, list_of, listing, page
from api.schema import refuses
from api.serializers import Serializer
from billing.models import Order, PaymentRecord
from billing.payments import payment_records
from common import clock
from common.json_types import JsonObject


class OrderSerializer(Serializer):
    id = serializers.CharField(help_text="As the checkout's: co_…")
    status = serializers.ChoiceField(choices=Order.Status.choices)
    money = serializers.ChoiceField(
        choices=PaymentRecord.State.choices, allow_null=True, help_text="What became of the money, once it was paid."
    )
    item = serializers.CharField(help_text="The code of the pack or plan.")
    description = serializers.CharField()
    quantity = serializers.IntegerField()
    credits = serializers.IntegerField(help_text="With every bonus; of a plan, a month's.")
    amount = serializers.IntegerField(help_text="As listed, in the currency's minor units.")
    paid = serializers.IntegerField(allow_null=True, help_text="With tax and less a discount.")
    refunded = serializers.IntegerField()
    currency = serializers.CharField()
    is_automatic = serializers.BooleanField(help_text="Bought by a top-up.")
    receipt_url = serializers.CharField(allow_null=True)
    created = serializers.DateTimeField()
    completed = serializers.DateTimeField(allow_null=True)


class OrdersView(APIView):
    required_scope = Scope.CREDITS_READ

    @refuses(InvalidCursorError)
    @extend_schema(operation_id="list_orders", parameters=PAGE_PARAMETERS, responses=list_of(OrderSerializer))
    def get(self, request: Request) -> Response:
        """What the account bought or began to buy, latest first; automatic top-ups as well."""
        account = account_of(request, now=clock.now())
        result, following = page(request, Order.objects.filter(account=account).with_related().order_by("-id"), "co")
        known = payment_records.for_origins(order.origin_id for order in result)
        return Response(listing([order_data(order, known.get(order.origin_id)) for order in result], following))


def order_data(order: Order, payment: PaymentRecord | None) -> JsonObject:
    """What the API says of an order."""
    is_paid = order.status == Order.Status.COMPLETED
    item = order.price.pack or order.price.plan
    return {
        "id": order.public_id,
        "status": order.status,
        "money": payment.state if payment else (PaymentRecord.State.PAID if is_paid else None),
        "item": item.code if item else "",
        "description": order.description,
        "quantity": order.quantity,
        "credits": order.all_credits,
        "amount": order.amount_minor,
        "paid": order.charged_minor if is_paid else None,
        "refunded": order.refunded_minor,
        "currency": order.currency,
        "is_automatic": order.ui == Order.Ui.OFF_SESSION,
        "receipt_url": order.receipt_url or None,
        "created": timestamp(order.created_at),
        "completed": timestamp(order.completed_at) if order.completed_at else None,
    }


urlpatterns = [
    path("billing/orders", OrdersView.as_view()),
]
