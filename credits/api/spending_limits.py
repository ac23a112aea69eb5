"""`/spending-limits`: how much an account's keys and members may spend in a day and in a month."""

from datetime import datetime

from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.errors import InsufficientScopeError, UnauthenticatedError
from accounts.models import ApiKey, Scope
from api.authentication import HOW_TO_SEND, Caller, account_of
from api.fields import ACCOUNT_PARAMETER, AccountField, WholeNumberField, checked, identifier_of, timestamp
from api.pagination import list_of, listing
from api.schema import refuses
from api.serializers import Serializer
from common import clock
from common.errors import FieldProblem, InvalidRequestError, NotFoundError
from common.json_types import JsonObject
from common.sides import Side
from credits import spending_limits
from credits.models import SpendingLimit


class LimitRequest(Serializer):
    """At least one of the two numbers; a call replaces what was set before."""

    per_day = WholeNumberField(required=False, allow_null=True, help_text="Credits in a day of the account's zone.")
    per_month = WholeNumberField(required=False, allow_null=True, help_text="Credits in a month of its calendar.")
    is_hard = serializers.BooleanField(
        required=False, default=True, help_text="Refuses what goes beyond it (429); otherwise it only warns."
    )
    account = AccountField()

    def validate(self, attrs: JsonObject) -> JsonObject:
        if attrs.get("per_day") is None and attrs.get("per_month") is None:
            problem = "Send per_day, per_month or both. (DELETE takes a limit away.)"
            raise serializers.ValidationError({"per_day": [problem]}, code="either")
        return attrs


class LimitPeriodSerializer(Serializer):
    limit = serializers.IntegerField()
    used = serializers.IntegerField(help_text="Spent or set aside in it, less what was given back.")
    remaining = serializers.IntegerField()
    resets_at = serializers.DateTimeField()


class SpendingLimitSerializer(Serializer):
    subject = serializers.CharField(help_text="A key (key_…; it counts on when it is rotated), or a member (user:…).")
    is_hard = serializers.BooleanField()
    day = LimitPeriodSerializer(allow_null=True)
    month = LimitPeriodSerializer(allow_null=True)


class MaySetLimits(BasePermission):
    """Who is signed in, or the seller with accounts:write: a key does not set its own limit."""

    def has_permission(self, request: Request, view: object) -> bool:
        caller: object = request.user
        if not isinstance(caller, Caller):
            raise UnauthenticatedError(HOW_TO_SEND)
        is_signed_in = caller.actor.startswith("user:") and not caller.is_token
        is_seller = caller.side == Side.SELLER and Scope.ACCOUNTS_WRITE in caller.scopes
        if not is_signed_in and not is_seller:
            needed = Scope.ACCOUNTS_WRITE
            raise InsufficientScopeError("Only somebody who is signed in sets a limit, or a service key with "
                                         f"{needed}.", required_scope=needed)  # fmt: skip
        return True


class SpendingLimitsView(APIView):
    required_scope = Scope.CREDITS_READ

    @extend_schema(
        operation_id="list_spending_limits", parameters=[ACCOUNT_PARAMETER], responses=list_of(SpendingLimitSerializer)
    )
    def get(self, request: Request) -> Response:
        """The limits of the account's keys and members, and what is used of them."""
        now = clock.now()
        limits = spending_limits.of_account(account_of(request, now=now).pk, now=now)
        return Response(listing([limit_data(limit) for limit in limits.values()], ""))


class KeyLimitView(APIView):
    permission_classes = [MaySetLimits]

    @refuses()
    @extend_schema(
        operation_id="set_spending_limit",
        parameters=[ACCOUNT_PARAMETER],
        request=LimitRequest,
        responses=SpendingLimitSerializer,
    )
    def put(self, request: Request, key_id: str) -> Response:
        """Limit what a key of the account spends. What it spent in the running day and month counts."""
        now = clock.now()
        fields = checked(LimitRequest, request.data)
        key = _key(request, key_id, now=now)
        spending_limits.set_key_limit(
            key, per_day=fields.get("per_day"), per_month=fields.get("per_month"), is_hard=fields["is_hard"], now=now
        )
        limit = spending_limits.limit_of_key(key, now=now)
        if limit is None:
            raise NotFoundError("This limit was taken away meanwhile.")
        return Response(limit_data(limit))

    @refuses()
    @extend_schema(operation_id="remove_spending_limit", parameters=[ACCOUNT_PARAMETER], responses={204: None})
    def delete(self, request: Request, key_id: str) -> Response:
        """Take the limit of a key away."""
        now = clock.now()
        key = _key(request, key_id, now=now)
        spending_limits.set_key_limit(key, per_day=None, per_month=None, is_hard=True, now=now)
        return Response(status=204)


def limit_data(limit: SpendingLimit) -> JsonObject:
    """What the API says of a limit."""
    periods = {
        use.period: {
            "limit": use.limit,
            "used": use.used,
            "remaining": use.left,
            "resets_at": timestamp(use.resets_at),
        }
        for use in spending_limits.uses_of(limit)
    }
    return {
        "subject": limit.subject,
        "is_hard": limit.is_hard,
        "day": periods.get(spending_limits.DAY),
        "month": periods.get(spending_limits.MONTH),
    }


def _key(request: Request, key_id: str, *, now: datetime) -> ApiKey:
    account = account_of(request, now=now)
    key = ApiKey.objects.filter(account_id=account.pk, pk=identifier_of("key", key_id, "key")).first()
    if key is None:
        raise NotFoundError("There is no such key.")
    if key.is_revoked:
        raise InvalidRequestError(FieldProblem(pointer="/key", code="revoked", detail="This key was revoked."))
    return key


urlpatterns = [
    path("spending-limits", SpendingLimitsView.as_view()),
    path("api-keys/<str:key_id>/spending-limit", KeyLimitView.as_view()),
]
