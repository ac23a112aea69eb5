"""`/credits/transactions/…/reverse`: a spend given back, whole or in part."""

from datetime import timedelta

from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.errors import InsufficientScopeError, SellerOnlyError
from accounts.models import Scope
from api.authentication import account_of, caller_of
from api.fields import ACCOUNT_PARAMETER, AccountField, PrintableField, WholeNumberField, checked, identifier_of
from api.idempotency import KEY_PARAMETER, idempotency_key, made
from api.schema import refuses
from api.serializers import Serializer
from common import clock
from credits import ledger, selectors
from credits.api.refusals import WITH_A_KEY
from credits.api.serializers import TransactionSerializer, transaction_data
from credits.errors import AlreadyReversedError, NotReversibleError, ReversalTooLargeError

# A key that spends may undo spends for so long; who may grant, may undo any.
OWN_SPEND_FOR = timedelta(hours=24)


class ReverseRequest(Serializer):
    reason = PrintableField(max_length=255)
    amount = WholeNumberField(required=False, help_text="All that is left of it, if not given.")
    account = AccountField()


class ReverseView(APIView):
    required_scope = Scope.CREDITS_SPEND
    is_seller_only = True

    @refuses(SellerOnlyError, *WITH_A_KEY, NotReversibleError, AlreadyReversedError, ReversalTooLargeError)
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
        fields = checked(ReverseRequest, request.data)
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
            reason=fields["reason"],
            amount=fields.get("amount"),
            actor=caller.actor,
            side=caller.side,
            now=now,
        )
        return made(transaction_data(corrected.transaction), is_replayed=corrected.is_replayed)


urlpatterns = [
    path("credits/transactions/<str:transaction_id>/reverse", ReverseView.as_view()),
]
