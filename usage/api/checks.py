"""`/credits/check`: whether a spend would go through."""

from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import Scope
from api.authentication import account_of, caller_of
from api.fields import ACCOUNT_PARAMETER, checked
from api.schema import refuses
from api.serializers import Serializer
from common import clock
from common.json_types import JsonObject
from credits import ledger
from usage import rate_card
from usage.api.spends import SpendRequest, work_of


class CheckRequest(SpendRequest):
    """As a spend: without either, one credit."""

    def validate(self, attrs: JsonObject) -> JsonObject:
        if "feature" not in attrs:
            attrs.setdefault("amount", 1)
        return super().validate(attrs)


class CheckSerializer(Serializer):
    allowed = serializers.BooleanField()
    cost = serializers.IntegerField()
    available = serializers.IntegerField()
    reason = serializers.CharField(allow_null=True, help_text="The code that a spend would be refused with.")


class CheckView(APIView):
    required_scope = Scope.CREDITS_READ

    @refuses(rate_card.UnknownFeatureError)
    @extend_schema(
        operation_id="check_credits",
        parameters=[ACCOUNT_PARAMETER],
        request=CheckRequest,
        responses=CheckSerializer,
    )
    def post(self, request: Request) -> Response:
        """May this be spent right now? Advice only: nothing is set aside. (A hold sets aside.)"""
        now = clock.now()
        fields = checked(CheckRequest, request.data)
        account = account_of(request, now=now)
        cost = work_of(fields, side=caller_of(request).side).priced(at=now).credits
        result = ledger.check(account_id=account.pk, amount=cost, actor=caller_of(request).actor, now=now)
        return Response(
            {"allowed": not result.refusal, "cost": cost, "available": result.available, "reason": result.refusal}
        )


urlpatterns = [
    path("credits/check", CheckView.as_view()),
]
