"""The API's side of buying: catalogue, checkouts, the billing portal; and the door for Stripe's webhooks."""

from typing import Any

import structlog
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts import clock
from accounts.api_auth import Caller
from accounts.api_parts import (
    ACCOUNT_PARAMETER,
    KEY_PARAMETER,
    account_of,
    caller_of,
    checked,
    identifier_of,
    made,
    timestamp,
)
from accounts.api_requests import AccountField, TextField, WholeNumberField, idempotency_key
from accounts.errors import FieldProblem, InvalidRequestError, NotFoundError
from accounts.models import Scope
from billing import catalogue, catalogue_sync, checkout, pace, promotions, tasks, webhooks
from billing.models import Order, Price, Promotion
from billing.providers import PROVIDERS, payconiq

logger = structlog.get_logger(__name__)


class PriceSerializer(serializers.Serializer[Price]):
    interval = serializers.ChoiceField(choices=Price.Interval.choices)
    amount = serializers.IntegerField(source="amount_minor", help_text="In the currency's minor units.")
    currency = serializers.CharField()


class PlanSerializer(serializers.Serializer[Any]):
    code = serializers.CharField()
    name = serializers.CharField()
    credits = serializers.IntegerField(source="monthly_credits", help_text="A month.")
    daily_credits = serializers.IntegerField(help_text="A day; gone at its end.")
    features = serializers.ListField(child=serializers.CharField(), source="feature_list")
    prices = PriceSerializer(many=True)


class OfferSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    credits = serializers.IntegerField(help_text="On top, on one pack.")


class PackSerializer(serializers.Serializer[Any]):
    code = serializers.CharField()
    name = serializers.CharField()
    credits = serializers.IntegerField()
    bonus = serializers.IntegerField(help_text="Credits on top.")
    amount = serializers.IntegerField(help_text="In the currency's minor units.")
    currency = serializers.CharField()
    promotion = OfferSerializer(allow_null=True, help_text="What this caller gets on top; a visitor, without a key.")


class CatalogueSerializer(serializers.Serializer[Any]):
    plans = PlanSerializer(many=True)
    packs = PackSerializer(many=True)


class CheckoutRequest(serializers.Serializer[Any]):
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


class CheckoutSerializer(serializers.Serializer[Any]):
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


class CatalogueView(APIView):
    permission_classes = [AllowAny]

    @extend_schema(
        operation_id="get_catalogue",
        parameters=[ACCOUNT_PARAMETER],
        responses=CatalogueSerializer,
    )
    def get(self, request: Request) -> Response:
        """What is for sale: for anybody, or (with a key) with the promotions that the account gets."""
        now = clock.now()
        caller: Any = request.user
        is_for_one = isinstance(caller, Caller) and (caller.account or request.query_params.get("account"))
        account = account_of(request, now=now) if is_for_one else None
        packs = [
            {
                "code": pack.code,
                "name": pack.name,
                "credits": pack.credits,
                "bonus": pack.bonus_credits,
                "amount": price.amount_minor,
                "currency": price.currency,
                "promotion": _offer(promotions.offered(account=account, pack=pack, quantity=1, now=now)),
            }
            for pack in catalogue.packs()
            for price in pack.prices.all()
        ]
        return Response({"plans": PlanSerializer(catalogue.plans(), many=True).data, "packs": packs})


class CheckoutsView(APIView):
    required_scope = Scope.BILLING_WRITE

    @extend_schema(
        operation_id="create_checkout",
        parameters=[KEY_PARAMETER],
        request=CheckoutRequest,
        responses={201: CheckoutSerializer},
    )
    def post(self, request: Request) -> Response:
        """Start a purchase and get the page where it is paid."""
        key, now = idempotency_key(request), clock.now()
        asked = checked(CheckoutRequest, request.data)
        if asked["quantity"] > settings.MAX_PACKS_PER_CHECKOUT:
            detail = f"At most {settings.MAX_PACKS_PER_CHECKOUT} at a time."
            raise InvalidRequestError(FieldProblem(pointer="/quantity", code="too_many", detail=detail))
        account = account_of(request, now=now)
        pace.check(account)
        started = checkout.start(
            account=account,
            price=catalogue.find_price(
                item=asked["item"], interval=asked["interval"], currency=asked["currency"].lower()
            ),
            quantity=asked["quantity"],
            idempotency_key=key,
            ui=Order.Ui(asked["ui"]),
            provider=asked["provider"],
            actor=caller_of(request).actor,
            side=caller_of(request).side,
            success_url=asked["success_url"],
            cancel_url=asked["cancel_url"],
            now=now,
        )
        shown = checkout_data(started.order)
        if started.client_secret:
            shown |= {"client_secret": started.client_secret, "total": started.total_minor}
        return made(shown, is_replayed=started.is_replayed)


class CheckoutView(APIView):
    required_scope = Scope.CREDITS_READ

    @extend_schema(operation_id="get_checkout", responses=CheckoutSerializer)
    def get(self, request: Request, checkout_id: str) -> Response:
        """How a purchase stands; poll this."""
        account = account_of(request, now=clock.now())
        order = Order.objects.filter(account=account, pk=identifier_of("co", checkout_id, "checkout")).first()
        if order is None:
            raise NotFoundError("There is no such checkout.")
        return Response(checkout_data(order))


class SyncSerializer(serializers.Serializer[Any]):
    changes = serializers.ListField(child=serializers.CharField(), help_text="What changed, a line each.")


class SyncPricesView(APIView):
    required_scope = Scope.CREDITS_GRANT

    @extend_schema(operation_id="sync_prices", request=None, responses=SyncSerializer)
    def post(self, request: Request) -> Response:
        """Pull products and prices from Stripe, and say what changed. (Only a service key has this scope.)"""
        return Response({"changes": catalogue_sync.pull()})


class PortalSessionRequest(serializers.Serializer[Any]):
    return_url = TextField(max_length=2000, required=False, default="", help_text="Our billing page, if not given.")
    account = AccountField()


class PortalSessionSerializer(serializers.Serializer[Any]):
    url = serializers.CharField()


class PortalSessionsView(APIView):
    required_scope = Scope.BILLING_WRITE

    @extend_schema(
        operation_id="create_portal_session",
        parameters=[ACCOUNT_PARAMETER],
        request=PortalSessionRequest,
        responses={201: PortalSessionSerializer},
    )
    def post(self, request: Request) -> Response:
        """A link to the provider's billing portal for the account; it works for some minutes."""
        asked = checked(PortalSessionRequest, request.data)
        account = account_of(request, now=clock.now())
        pace.check(account)
        return Response({"url": checkout.portal_url(account=account, return_url=asked["return_url"])}, status=201)


@csrf_exempt
@require_POST
def stripe_webhook(request: HttpRequest) -> HttpResponse:
    """Stripe's events come in here: stored and answered, acted on by a worker."""
    try:
        webhooks.check_size(request.headers.get("Content-Length", ""))
        webhooks.accept(body=request.body, signature=request.headers.get("Stripe-Signature", ""), now=clock.now())
    except webhooks.RefusedWebhookError as refusal:
        logger.warning("webhook_refused", reason=str(refusal), status=refusal.status)
        return HttpResponse(f"{refusal}\n", status=refusal.status, content_type="text/plain")
    return HttpResponse("kept\n", content_type="text/plain")


@csrf_exempt
@require_POST
def payconiq_callback(request: HttpRequest) -> HttpResponse:
    """Payconiq tells that something happened to a payment: a worker looks at it."""
    try:
        webhooks.check_size(request.headers.get("Content-Length", ""))
        payment_id = payconiq.payment_of_callback(
            body=request.body, signature=request.headers.get("Signature", ""), now=clock.now()
        )
    except (webhooks.RefusedWebhookError, payconiq.ForgedCallbackError) as refusal:
        logger.warning("callback_refused", reason=str(refusal))
        return HttpResponse(f"{refusal}\n", status=getattr(refusal, "status", 400), content_type="text/plain")
    order = Order.objects.filter(provider="payconiq", payment_id=payment_id).first()
    if order is not None:
        tasks.ring_order(order.pk)
    return HttpResponse("heard\n", content_type="text/plain")


def checkout_data(order: Order) -> dict[str, Any]:
    """What the API says of a checkout."""
    is_open = order.status == Order.Status.OPEN
    return {
        "id": order.public_id,
        "session_id": order.stripe_session_id or order.payment_id or "",
        "status": order.status,
        "url": order.checkout_url if is_open else None,
        **({"qr_svg_url": checkout.qr_url(order)} if is_open and order.ui == Order.Ui.QR else {}),
        "credits": order.all_credits,
        "amount": order.amount_minor,
        "currency": order.currency,
        "receipt_url": order.receipt_url or None,
        "expires_at": timestamp(order.expires_at) if order.expires_at else None,
    }


def _offer(promotion: Promotion | None) -> dict[str, Any] | None:
    if promotion is None:
        return None
    return {"name": promotion.name, "credits": promotions.credits_of(promotion, 1)}
