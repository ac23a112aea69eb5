"""`/billing/checkouts`: purchases started, and how they stand."""

from django.conf import settings
from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import Scope
from api.authentication import account_of, caller_of
from api.fields import ACCOUNT_PARAMETER, AccountField, TextField, WholeNumberField, checked, identifier_of, timestamp
from api.idempotency import KEY_PARAMETER, idempotency_key, made
from api.schema import refuses
from api.serializers import Serializer
from billing import errors
from billing.api.refusals import BUYING
from billing.catalogue import price_list
from billing.checkout import purchases, rate_limit
from billing.checkout.providers import PROVIDERS
from billing.models import Order
from common import clock
from common.errors import FieldProblem, InvalidRequestError, NotFoundError
from common.json_types import JsonObject
from common.sides import Side
from credits.api.refusals import WITH_A_KEY


class CheckoutRequest(Serializer):
    item = TextField(max_length=64, help_text="A pack's code, or a plan's.")
    interval = serializers.ChoiceField(choices=["month", "year"], required=False, default="")
    currency = TextField(max_length=3, required=False, default="")
    quantity = WholeNumberField(required=False, default=1)
    ui = serializers.ChoiceField(
        choices=["redirect", "qr", "elements"],
        required=False,
        default="redirect",
        help_text="A payment page, a QR code of it, or a secret for the provider's own card form.",
    )
    provider = serializers.ChoiceField(choices=sorted(PROVIDERS), required=False, default="stripe")
    success_url = TextField(max_length=2000, required=False, default="")
    cancel_url = TextField(max_length=2000, required=False, default="")
    account = AccountField()


class CheckoutSerializer(Serializer):
    id = serializers.CharField()
    session_id = serializers.CharField(help_text="The provider's own id.")
    status = serializers.ChoiceField(choices=Order.Status.choices)
    url = serializers.CharField(help_text="Where the customer pays.", allow_null=True)
    qr_svg_url = serializers.CharField(help_text="With the ui qr: a picture of a QR code of `url`.", required=False)
    client_secret = serializers.CharField(help_text="With the ui elements: for the provider's script.", required=False)
    credits = serializers.IntegerField()
    amount = serializers.IntegerField(help_text="As listed, in the currency's minor units.")
    total = serializers.IntegerField(help_text="With the ui elements: what is charged, VAT included.", required=False)
    currency = serializers.CharField()
    receipt_url = serializers.CharField(allow_null=True)
    expires_at = serializers.DateTimeField(allow_null=True)


class CheckoutsView(APIView):
    required_scope = Scope.BILLING_WRITE

    @refuses(
        *WITH_A_KEY,
        *BUYING,
        errors.PriceNotSellableError,
        errors.ArchivedItemError,
        errors.AlreadySubscribedError,
        errors.CurrencyMixError,
        errors.AddressNeededError,
        errors.PaymentDeclinedError,
    )
    @extend_schema(
        operation_id="create_checkout",
        parameters=[KEY_PARAMETER],
        request=CheckoutRequest,
        responses={201: CheckoutSerializer},
    )
    def post(self, request: Request) -> Response:
        """Start a purchase and get the page where it is paid."""
        key, now = idempotency_key(request), clock.now()
        fields = checked(CheckoutRequest, request.data)
        if fields["quantity"] > settings.MAX_PACKS_PER_CHECKOUT:
            detail = f"At most {settings.MAX_PACKS_PER_CHECKOUT} at a time."
            raise InvalidRequestError(FieldProblem(pointer="/quantity", code="too_many", detail=detail))
        account = account_of(request, now=now)
        rate_limit.check(account)
        started = purchases.start_checkout(
            account=account,
            price=price_list.find_price(
                item=fields["item"], interval=fields["interval"], currency=fields["currency"].lower()
            ),
            quantity=fields["quantity"],
            idempotency_key=key,
            ui=Order.Ui(fields["ui"]),
            provider=fields["provider"],
            actor=caller_of(request).actor,
            side=caller_of(request).side,
            success_url=fields["success_url"],
            cancel_url=fields["cancel_url"],
            now=now,
        )
        shown = checkout_data(started.order)
        if started.client_secret:
            shown |= {"client_secret": started.client_secret, "total": started.total_minor}
        return made(shown, is_replayed=started.is_replayed)


class CheckoutView(APIView):
    required_scope = Scope.CREDITS_READ

    @extend_schema(operation_id="get_checkout", parameters=[ACCOUNT_PARAMETER], responses=CheckoutSerializer)
    def get(self, request: Request, checkout_id: str) -> Response:
        """How a purchase stands; poll this. A service key need not name the account."""
        orders = Order.objects.filter(pk=identifier_of("co", checkout_id, "checkout"))
        if caller_of(request).side == Side.BUYER or "account" in request.query_params:
            orders = orders.filter(account=account_of(request, now=clock.now()))
        order = orders.first()
        if order is None:
            raise NotFoundError("There is no such checkout.")
        return Response(checkout_data(order))


def checkout_data(order: Order) -> JsonObject:
    """What the API says of a checkout."""
    is_open = order.status == Order.Status.OPEN
    return {
        "id": order.public_id,
        "session_id": order.stripe_session_id or order.payment_id or "",
        "status": order.status,
        "url": order.checkout_url if is_open else None,
        **({"qr_svg_url": purchases.qr_url(order)} if is_open and order.ui == Order.Ui.QR else {}),
        "credits": order.all_credits,
        "amount": order.amount_minor,
        "currency": order.currency,
        "receipt_url": order.receipt_url or None,
        "expires_at": timestamp(order.expires_at) if order.expires_at else None,
    }


urlpatterns = [
    path("billing/checkouts", CheckoutsView.as_view()),
    path("billing/checkouts/<str:checkout_id>", CheckoutView.as_view()),
]
