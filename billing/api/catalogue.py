"""`/billing/catalogue`: what is for sale; `/billing/sync-prices` fetches its prices from Stripe."""

from datetime import datetime

from django.urls import path
from django.utils import translation
from django.utils.cache import patch_vary_headers
from django.utils.translation import get_language_from_request, get_supported_language_variant
from django.utils.translation.trans_real import parse_accept_lang_header
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import Account, Scope
from api.authentication import Caller, account_of
from api.fields import ACCOUNT_PARAMETER
from api.schema import refuses
from api.serializers import Serializer
from billing.api.refusals import BUYING
from billing.catalogue import plan_texts, price_list, price_sync, promotions
from billing.models import Plan, Price, Promotion
from common import clock
from common.json_types import JsonObject


class PriceSerializer(serializers.Serializer[Price]):
    interval = serializers.ChoiceField(choices=Price.Interval.choices)
    amount = serializers.IntegerField(source="amount_minor", help_text="In the currency's minor units.")
    currency = serializers.CharField()


class PlanSerializer(Serializer):
    code = serializers.CharField()
    name = serializers.CharField(source="local_name")
    credits = serializers.IntegerField(source="monthly_credits", help_text="A month.")
    daily_credits = serializers.IntegerField(help_text="A day; gone at its end.")
    trial_days = serializers.IntegerField(help_text="Before the first payment; once for each person.")
    features = serializers.SerializerMethodField()
    prices = PriceSerializer(many=True)

    def get_features(self, plan: Plan) -> list[str]:
        """What its card says, one line each; numbers of credits first."""
        return plan_texts.bullets(plan)


class OfferSerializer(Serializer):
    name = serializers.CharField()
    credits = serializers.IntegerField(help_text="On top, on one pack.")


class PackSerializer(Serializer):
    code = serializers.CharField()
    name = serializers.CharField()
    credits = serializers.IntegerField()
    bonus = serializers.IntegerField(help_text="Credits on top.")
    amount = serializers.IntegerField(help_text="In the currency's minor units.")
    currency = serializers.CharField()
    promotion = OfferSerializer(allow_null=True, help_text="What this caller gets on top; a visitor, without a key.")


class CatalogueSerializer(Serializer):
    plans = PlanSerializer(many=True)
    packs = PackSerializer(many=True)


class CatalogueView(APIView):
    permission_classes = [AllowAny]

    @extend_schema(
        operation_id="get_catalogue",
        parameters=[ACCOUNT_PARAMETER],
        responses=CatalogueSerializer,
    )
    def get(self, request: Request) -> Response:
        """What is for sale: for anybody, or (with a key) with the promotions that the account gets.

        Names and features are in the language of Accept-Language, if it is spoken here; else in the account's.
        """
        now = clock.now()
        caller: object = request.user
        is_for_one = isinstance(caller, Caller) and (caller.account or request.query_params.get("account"))
        account = account_of(request, now=now) if is_for_one else None
        with translation.override(_language(request, account)):
            answer = Response(self._on_sale(account, now=now))
        patch_vary_headers(answer, ["Accept-Language"])
        return answer

    def _on_sale(self, account: Account | None, *, now: datetime) -> JsonObject:
        packs = [
            {
                "code": pack.code,
                "name": pack.local_name,
                "credits": pack.credits,
                "bonus": pack.bonus_credits,
                "amount": price.amount_minor,
                "currency": price.currency,
                "promotion": _offer(promotions.best_offer(account=account, pack=pack, quantity=1, now=now)),
            }
            for pack in price_list.packs()
            for price in pack.prices.all()
        ]
        return {"plans": PlanSerializer(price_list.plans(), many=True).data, "packs": packs}


class SyncSerializer(Serializer):
    changes = serializers.ListField(child=serializers.CharField(), help_text="What changed, a line each.")


class SyncPricesView(APIView):
    required_scope = Scope.CREDITS_GRANT

    @refuses(*BUYING)
    @extend_schema(operation_id="sync_prices", request=None, responses=SyncSerializer)
    def post(self, request: Request) -> Response:
        """Pull products and prices from Stripe, and say what changed. (Only a service key has this scope.)"""
        return Response({"changes": price_sync.pull()})


def _language(request: Request, account: Account | None) -> str:
    """As asked for. What names no language of ours (a backend sends none, or "*") gets the account's."""
    for tag, _weight in parse_accept_lang_header(request.headers.get("Accept-Language", "")):
        try:
            return get_supported_language_variant(tag)
        except LookupError:
            continue
    return account.language if account else get_language_from_request(request._request)


def _offer(promotion: Promotion | None) -> JsonObject | None:
    if promotion is None:
        return None
    return {"name": promotion.name, "credits": promotions.bonus_credits(promotion, 1)}


urlpatterns = [
    path("billing/catalogue", CatalogueView.as_view()),
    path("billing/sync-prices", SyncPricesView.as_view()),
]
