"""`/credits/balance`: what an account can spend, of what, and when there is more."""

from datetime import datetime

from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import Account, Scope
from api.authentication import account_of
from api.fields import ACCOUNT_PARAMETER
from api.serializers import Serializer
from common import clock
from common.json_types import JsonObject
from credits import selectors
from credits.errors import AccountClosedError, AccountInDebtError, DailyCapReachedError, SpendingFrozenError

BLOCKING = (AccountClosedError, SpendingFrozenError, AccountInDebtError, DailyCapReachedError)
BLOCK_CODES = [(error.code, error.title) for error in BLOCKING]


class BucketSerializer(serializers.Serializer[selectors.Bucket]):
    kind = serializers.ChoiceField(choices=[*selectors.BUCKETS.values(), selectors.OTHER_BUCKET])
    remaining = serializers.IntegerField()
    expires_at = serializers.DateTimeField(allow_null=True)


class FreeTodaySerializer(serializers.Serializer[selectors.FreeToday]):
    limit = serializers.IntegerField()
    used = serializers.IntegerField()
    remaining = serializers.IntegerField()
    resets_at = serializers.DateTimeField()


class RefillSerializer(serializers.Serializer[selectors.Refill]):
    amount = serializers.IntegerField()
    at = serializers.DateTimeField()


class DailyCapSerializer(serializers.Serializer[selectors.DailyCap]):
    limit = serializers.IntegerField()
    used = serializers.IntegerField()
    resets_at = serializers.DateTimeField(allow_null=True, help_text="Null until the first paid credit of the day.")


class BlockSerializer(serializers.Serializer[selectors.Block]):
    code = serializers.ChoiceField(choices=BLOCK_CODES, help_text="As a spend is refused.")
    until = serializers.DateTimeField(allow_null=True, help_text="Null until somebody does something about it.")


class BalanceSerializer(Serializer):
    account = serializers.CharField()
    available = serializers.IntegerField(help_text="What is there and not set aside.")
    spendable = serializers.IntegerField(
        help_text="What one spend can take now: 0 while `blocked`, and no more paid credits than a daily cap leaves."
    )
    blocked = BlockSerializer(allow_null=True, help_text="Why nothing can be spent now, though there may be credits.")
    held = serializers.IntegerField(help_text="Set aside by open holds.")
    posted = serializers.IntegerField(help_text="available + held.")
    debt = serializers.IntegerField(help_text="Owed since a payment was taken back; while there is any, no spending.")
    low = serializers.BooleanField()
    daily_cap = DailyCapSerializer(allow_null=True)
    buckets = BucketSerializer(many=True)
    free_today = FreeTodaySerializer(allow_null=True)
    next_refill = RefillSerializer(allow_null=True)
    tz = serializers.CharField(help_text="Whose midnight starts the account's day.")


class BalanceView(APIView):
    required_scope = Scope.CREDITS_READ

    @extend_schema(operation_id="get_balance", parameters=[ACCOUNT_PARAMETER], responses=BalanceSerializer)
    def get(self, request: Request) -> Response:
        """How much can be spent now, of what, and when there is more."""
        now = clock.now()
        account = account_of(request, now=now)
        return Response(BalanceSerializer(balance_data(account, now=now)).data)


def balance_data(account: Account, *, now: datetime) -> JsonObject:
    """What the API says of a balance."""
    balance = selectors.balance(account_id=account.pk, now=now)
    return {
        "account": account.public_id,
        "available": balance.available,
        "spendable": balance.spendable,
        "blocked": balance.blocked,
        "held": balance.held,
        "posted": balance.available + balance.held,
        "debt": balance.debt,
        "low": balance.is_low,
        "daily_cap": balance.daily_cap,
        "buckets": balance.buckets,
        "free_today": balance.free_today,
        "next_refill": balance.next_refill,
        "tz": account.time_zone,
    }


urlpatterns = [
    path("credits/balance", BalanceView.as_view()),
]
