"""`/billing/subscription`: an account's plan, as it runs."""

from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import Scope
from api.authentication import account_of
from api.fields import ACCOUNT_PARAMETER, timestamp
from api.serializers import Serializer
from billing.catalogue import price_list
from billing.models import Price, Subscription
from billing.subscriptions import plan_changes
from common import clock
from common.json_types import JsonObject


class PlanStateSerializer(Serializer):
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
    next_amount = serializers.IntegerField(
        allow_null=True, help_text="What that costs, if only the price changes as well."
    )
    is_paused = serializers.BooleanField()
    trial_ends_at = serializers.DateTimeField(allow_null=True)


class SubscriptionView(APIView):
    required_scope = Scope.CREDITS_READ

    @extend_schema(operation_id="get_subscription", parameters=[ACCOUNT_PARAMETER], responses=PlanStateSerializer)
    def get(self, request: Request) -> Response:
        """The account's plan, when it renews, and what comes after."""
        account = account_of(request, now=clock.now())
        return Response(plan_data(plan_changes.find_running(account)))


def plan_data(running: Subscription | None) -> JsonObject:
    """What the API says of a plan."""
    price: Price | None = running.price if running else None
    following = running.next_price if running else None
    plan = price.plan if price else price_list.default_plan()
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
        "next_amount": following.amount_minor if following else None,
        "is_paused": running.is_paused if running else False,
        "trial_ends_at": timestamp(running.trial_ends_at) if running and running.trial_ends_at else None,
    }


urlpatterns = [
    path("billing/subscription", SubscriptionView.as_view()),
]
