"""`/credits/balance`: what an account can spend, of what, and when there is more."""

from datetime import datetime
from typing import Any

from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import Account, Scope
from api.authentication import account_of
from api.fields import ACCOUNT_PARAMETER
from common import clock
from credits import selectors


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


class BalanceSerializer(serializers.Serializer[Any]):
    account = serializers.CharField()
    available = serializers.IntegerField(help_text="Credits that can be spent right now.")
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


def balance_data(account: Account, *, now: datetime) -> dict[str, Any]:
    """What the API says of a balance."""
    balance = selectors.balance(account_id=account.pk, now=now)
    return {
        "account": account.public_id,
        "available": balance.available,
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
