"""`/billing/subscription`: an account's plan, as it runs; changed, stopped and resumed."""

from datetime import datetime

from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import Account, Scope
from api.authentication import account_of
from api.fields import ACCOUNT_PARAMETER, AccountField, AccountRequest, PrintableField, checked, timestamp
from api.schema import refuses
from api.serializers import Serializer
from billing.catalogue import price_list
from billing.errors import (
    AlreadySubscribedError,
    ArchivedItemError,
    NotSubscribedError,
    PaymentActionRequiredError,
    PaymentDeclinedError,
    PaymentProviderUnavailableError,
    PlanNotPaidError,
    PriceNotSellableError,
    WorkUnderWayError,
)
from billing.models import Price, Subscription
from billing.subscriptions import plan_changes, previews
from common import clock
from common.json_types import JsonObject

INTERVALS = (Price.Interval.MONTH.value, Price.Interval.YEAR.value)


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


class PlanChoice(Serializer):
    item = PrintableField(max_length=64, help_text="The plan's code.")
    interval = serializers.ChoiceField(choices=INTERVALS)
    account = AccountField()


class PlanChangePreviewSerializer(Serializer):
    """What a change would come to. Amounts in the currency's minor units."""

    plan = serializers.CharField(help_text="Its code.")
    interval = serializers.CharField()
    amount = serializers.IntegerField(help_text="From then on, each month or year.")
    currency = serializers.CharField()
    is_at_once = serializers.BooleanField(help_text="Else when the running period ends.")
    starts_at = serializers.DateTimeField()
    due_now = serializers.IntegerField(help_text="Charged at once.")
    credited = serializers.IntegerField(help_text="For the rest of the running period; taken off in `due_now`.")
    credits_now = serializers.IntegerField(help_text="Credits that come with the change.")
    credits_gone = serializers.IntegerField(help_text="Credits that make way for them.")
    credits_monthly = serializers.IntegerField()


CHANGING = (
    NotSubscribedError, AlreadySubscribedError, PlanNotPaidError, PaymentDeclinedError, PaymentActionRequiredError,
    PriceNotSellableError, ArchivedItemError, WorkUnderWayError, PaymentProviderUnavailableError,
)  # fmt: skip
STOPPING = (NotSubscribedError, WorkUnderWayError, PaymentProviderUnavailableError)


class SubscriptionView(APIView):
    required_scope = Scope.CREDITS_READ

    @extend_schema(operation_id="get_subscription", parameters=[ACCOUNT_PARAMETER], responses=PlanStateSerializer)
    def get(self, request: Request) -> Response:
        """The account's plan, when it renews, and what comes after."""
        account = account_of(request, now=clock.now())
        return Response(plan_data(plan_changes.find_running(account)))


class PreviewView(APIView):
    required_scope = Scope.BILLING_WRITE

    @refuses(*CHANGING)
    @extend_schema(operation_id="preview_plan_change", request=PlanChoice, responses={200: PlanChangePreviewSerializer})
    def post(self, request: Request) -> Response:
        """What changing to a plan would cost now, and what becomes of the credits. Nothing is changed."""
        account, price, now = _chosen(request)
        preview = previews.preview_change(account=account, price=price, now=now)
        return Response(
            {
                "plan": preview.price.plan.code if preview.price.plan else "",
                "interval": preview.price.interval,
                "amount": preview.price.amount_minor,
                "currency": preview.price.currency,
                "is_at_once": preview.is_at_once,
                "starts_at": timestamp(preview.starts_at),
                "due_now": preview.due_now_minor,
                "credited": preview.credited_minor,
                "credits_now": preview.credits_now,
                "credits_gone": preview.credits_gone,
                "credits_monthly": preview.credits_monthly,
            }
        )


class ChangeView(APIView):
    required_scope = Scope.BILLING_WRITE

    @refuses(*CHANGING)
    @extend_schema(operation_id="change_plan", request=PlanChoice, responses={200: PlanStateSerializer})
    def post(self, request: Request) -> Response:
        """Go on with another plan: a dearer one now, a cheaper one when the period ends.

        A payment that the customer's bank wants to see approved is 402 `payment_action_required`: send them to the
        billing page (a customer session, for users without a login). Repeated, it is 409 `already_subscribed`.
        """
        account, price, now = _chosen(request)
        return Response(plan_data(plan_changes.change(account=account, price=price, now=now)))


class CancelView(APIView):
    required_scope = Scope.BILLING_WRITE

    @refuses(*STOPPING)
    @extend_schema(operation_id="cancel_plan", request=AccountRequest, responses={200: PlanStateSerializer})
    def post(self, request: Request) -> Response:
        """Let the plan end with the period that is paid for. Repeated, nothing changes."""
        checked(AccountRequest, request.data)
        now = clock.now()
        return Response(plan_data(plan_changes.cancel(account=account_of(request, now=now), now=now)))


class ResumeView(APIView):
    required_scope = Scope.BILLING_WRITE

    @refuses(*STOPPING)
    @extend_schema(operation_id="resume_plan", request=AccountRequest, responses={200: PlanStateSerializer})
    def post(self, request: Request) -> Response:
        """Go on after all. Repeated, nothing changes."""
        checked(AccountRequest, request.data)
        now = clock.now()
        return Response(plan_data(plan_changes.resume(account=account_of(request, now=now), now=now)))


def _chosen(request: Request) -> tuple[Account, Price, datetime]:
    fields, now = checked(PlanChoice, request.data), clock.now()
    account = account_of(request, now=now)
    return account, price_list.find_price_for(account, item=fields["item"], interval=fields["interval"]), now


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
    path("billing/subscription/preview", PreviewView.as_view()),
    path("billing/subscription/change", ChangeView.as_view()),
    path("billing/subscription/cancel", CancelView.as_view()),
    path("billing/subscription/resume", ResumeView.as_view()),
]
