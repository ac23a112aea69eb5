"""The API's side of questions about a balance: why it is what it is; and of taking a spend back."""

from datetime import timedelta
from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts import clock
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
from accounts.api_requests import AccountField, MomentField, PrintableField, WholeNumberField, idempotency_key
from accounts.errors import InsufficientScopeError
from accounts.models import Scope
from credits import explaining, ledger, selectors
from credits.api import TransactionSerializer, transaction_data

# A key that spends may undo spends for so long; who may grant, may undo any.
OWN_SPEND_FOR = timedelta(hours=24)


class ReverseRequest(serializers.Serializer[Any]):
    reason = PrintableField(max_length=255)
    amount = WholeNumberField(required=False, help_text="All that is left of it, if not given.")
    account = AccountField()


class ReverseView(APIView):
    required_scope = Scope.CREDITS_SPEND
    is_seller_only = True

    @extend_schema(
        operation_id="reverse_transaction",
        parameters=[KEY_PARAMETER, ACCOUNT_PARAMETER],
        request=ReverseRequest,
        responses={201: TransactionSerializer},
    )
    def post(self, request: Request, transaction_id: str) -> Response:
        """Give a spend back, whole or in part, to the grants it came from. Spends of the last 24 hours, with
        credits:spend (a key that was made in the console and not approved: its own); any, with credits:grant."""
        key, now = idempotency_key(request), clock.now()
        asked = checked(ReverseRequest, request.data)
        account = account_of(request, now=now)
        identifier = identifier_of("txn", transaction_id, "transaction")
        spent = selectors.transactions(account.pk).filter(pk=identifier).first()
        caller = caller_of(request)
        may_any = Scope.CREDITS_GRANT in caller.scopes
        is_recent = spent is None or spent.created_at >= now - OWN_SPEND_FOR
        # (A buyer who may undo at all, where BUYERS_MAY_UNDO says so, undoes what their account was charged.)
        # (A key that somebody made alone must not make the use of a friend free.)
        is_own = spent is None or caller.account is not None or caller.is_approved or spent.actor == caller.actor
        if not may_any and not (is_own and is_recent):
            raise InsufficientScopeError(
                "With credits:spend, spends of the last 24 hours are taken back; by a key that was made in the console "
                "and not approved, its own. Others take credits:grant.",
                required_scope=Scope.CREDITS_GRANT,
            )
        corrected = ledger.reverse(
            account_id=account.pk,
            transaction_id=identifier,
            idempotency_key=key,
            reason=asked["reason"],
            amount=asked.get("amount"),
            actor=caller.actor,
            side=caller.side,
            now=now,
        )
        return made(transaction_data(corrected.transaction), is_replayed=corrected.is_replayed)


class LotStorySerializer(serializers.Serializer[Any]):
    grant = serializers.CharField()
    source = serializers.CharField()  # type: ignore[assignment]
    granted = serializers.IntegerField()
    spent = serializers.IntegerField()
    returned = serializers.IntegerField()
    expired = serializers.IntegerField()
    taken_back = serializers.IntegerField(help_text="With the money, by an operator, or for a debt.")
    held = serializers.IntegerField()
    remaining = serializers.IntegerField()
    expires_at = serializers.DateTimeField(allow_null=True)


class ExplanationSerializer(serializers.Serializer[Any]):
    at = serializers.DateTimeField()
    available = serializers.IntegerField(help_text="The sum of what remains of the lots.")
    held = serializers.IntegerField()
    posted = serializers.IntegerField()
    debt = serializers.IntegerField()
    lots = LotStorySerializer(many=True)


class ExplainRequest(serializers.Serializer[Any]):
    at = MomentField(required=False, help_text="A moment of the past; now, if not given.")
    account = AccountField()


class ExplainView(APIView):
    required_scope = Scope.CREDITS_READ

    @extend_schema(
        operation_id="explain_balance",
        parameters=[ACCOUNT_PARAMETER, OpenApiParameter("at", str, description="A moment of the past (ISO 8601).")],
        responses=ExplanationSerializer,
    )
    def get(self, request: Request) -> Response:
        """Why the balance is what it is, or was: lot by lot, what came, what went, what is left."""
        now = clock.now()
        asked = checked(ExplainRequest, request.query_params.dict())
        told = explaining.explain_balance(account_id=account_of(request, now=now).pk, now=now, at=asked.get("at"))
        return Response(
            {
                "at": timestamp(told.at),
                "available": told.available,
                "held": told.held,
                "posted": told.posted,
                "debt": told.debt,
                "lots": [
                    {
                        "grant": lot.grant.public_id,
                        "source": lot.grant.source,
                        "granted": lot.granted,
                        "spent": lot.spent,
                        "returned": lot.returned,
                        "expired": lot.expired,
                        "taken_back": lot.taken_back,
                        "held": lot.held,
                        "remaining": lot.remaining,
                        "expires_at": timestamp(lot.grant.expires_at) if lot.grant.expires_at else None,
                    }
                    for lot in told.lots
                ],
            }
        )
