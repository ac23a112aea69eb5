"""The API's side of spending."""

import json
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts import clock
from accounts.addresses import own
from accounts.models import Scope
from credits import ledger, selectors
from credits.api import (
    ACCOUNT_PARAMETER,
    KEY_PARAMETER,
    RefillSerializer,
    TransactionSerializer,
    account_of,
    caller_of,
    checked,
    made,
    spent_data,
)
from credits.api_requests import MAX_METADATA_BYTES, PrintableField, WholeNumberField, idempotency_key
from credits.errors import InsufficientCreditsError
from usage import spending


class SpendRequest(serializers.Serializer[Any]):
    """Either `amount`, or a `feature` of the rate card and a `quantity` of it."""

    amount = WholeNumberField(required=False)
    feature = PrintableField(required=False, max_length=64)
    quantity = WholeNumberField(required=False)
    description = PrintableField(required=False, max_length=255, allow_blank=True, default="")
    metadata = serializers.DictField(required=False, default=dict)
    account = serializers.CharField(required=False)

    default_error_messages = {
        "either": "Send either amount, or feature (and quantity).",
        "large": f"Metadata is limited to {MAX_METADATA_BYTES} bytes of JSON.",
        "nul": "PostgreSQL keeps no NUL characters.",
    }

    def validate_metadata(self, value: dict[str, Any]) -> dict[str, Any]:
        try:
            text = json.dumps(value, allow_nan=False)
            text.encode()
        except ValueError:
            self.fail("nul")
        if "\\u0000" in text:
            self.fail("nul")
        if len(text) > MAX_METADATA_BYTES:
            self.fail("large")
        return value

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if ("amount" in attrs) == ("feature" in attrs) or ("amount" in attrs and "quantity" in attrs):
            raise serializers.ValidationError({"amount": [self.error_messages["either"]]}, code="either")
        return attrs


def work(asked: dict[str, Any]) -> dict[str, Any]:
    """What a SpendRequest asks for, as the arguments of a spend or a hold."""
    return {
        "amount": asked.get("amount"),
        "feature": asked.get("feature", ""),
        "quantity": asked.get("quantity", 1),
        "description": asked["description"],
        "metadata": asked["metadata"],
    }


class SpendView(APIView):
    required_scope = Scope.CREDITS_SPEND

    @extend_schema(
        operation_id="spend_credits",
        parameters=[KEY_PARAMETER, ACCOUNT_PARAMETER],
        request=SpendRequest,
        responses={201: TransactionSerializer},
    )
    def post(self, request: Request) -> Response:
        """Spend credits; sending the same Idempotency-Key again answers the first spend and takes nothing more."""
        key, now = idempotency_key(request), clock.now()
        asked = checked(SpendRequest(data=request.data))
        account = account_of(request, now=now)
        try:
            spent = spending.spend(
                account=account,
                idempotency_key=key,
                actor=caller_of(request).actor,
                now=now,
                **work(asked),
            )
        except InsufficientCreditsError as error:
            refill = selectors.balance(account_id=account.pk, now=now).next_refill
            error.extra |= {
                "next_refill": RefillSerializer(refill).data if refill else None,
                "buy_url": own("credits"),
                "retryable": False,
            }
            raise
        answer = made(
            spent_data(spent, feature=asked.get("feature", ""), description=asked["description"]),
            is_replayed=spent.is_replayed,
        )
        answer["Credits-Available"] = str(spent.balance_after)
        return answer


class CheckRequest(SpendRequest):
    """As a spend: without either, one credit."""

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if "feature" not in attrs:
            attrs.setdefault("amount", 1)
        return super().validate(attrs)


class CheckSerializer(serializers.Serializer[Any]):
    allowed = serializers.BooleanField()
    cost = serializers.IntegerField()
    available = serializers.IntegerField()
    reason = serializers.CharField(allow_null=True, help_text="The code that a spend would be refused with.")


class CheckView(APIView):
    required_scope = Scope.CREDITS_READ

    @extend_schema(
        operation_id="check_credits",
        parameters=[ACCOUNT_PARAMETER],
        request=CheckRequest,
        responses=CheckSerializer,
    )
    def post(self, request: Request) -> Response:
        """May this be spent right now? Advice only: nothing is set aside. (A hold sets aside.)"""
        now = clock.now()
        asked = checked(CheckRequest(data=request.data))
        account = account_of(request, now=now)
        cost = spending.cost(
            amount=asked.get("amount"), feature=asked.get("feature", ""), quantity=asked.get("quantity", 1)
        )
        found = ledger.check(account_id=account.pk, amount=cost, now=now)
        return Response(
            {"allowed": not found.refusal, "cost": cost, "available": found.available, "reason": found.refusal}
        )
