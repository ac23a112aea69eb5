"""`/credits/grants`: credits given, and the lots there are."""

from datetime import datetime

from django.conf import settings
from django.db import transaction
from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts import keys
from accounts.errors import InsufficientScopeError
from accounts.models import Scope
from api.authentication import account_of, caller_of
from api.fields import AccountField, MomentField, PrintableField, WholeNumberField, checked
from api.idempotency import KEY_PARAMETER, IdempotencyKeyMissingError, idempotency_key, made
from api.pagination import PAGE_PARAMETERS, InvalidCursorError, list_of, listing, page
from api.schema import refuses
from api.serializers import Serializer
from common import clock
from common.errors import FieldProblem, InvalidRequestError
from common.json_types import JsonObject
from credits import ledger, manual_grant_counts, selectors
from credits.api.serializers import TransactionSerializer, transaction_data
from credits.errors import GrantConflictError, GrantLimitExceededError, InvalidAmountError
from credits.models import Grant, Source


class GrantLotSerializer(serializers.ModelSerializer[Grant]):
    id = serializers.CharField(source="public_id")

    class Meta:
        model = Grant
        fields = ["id", "source", "amount", "remaining", "priority", "effective_at", "expires_at"]


class GrantRequest(Serializer):
    KINDS = (Source.FREE, Source.BONUS, Source.ADJUSTMENT)

    account = AccountField(required=True)
    amount = WholeNumberField()
    kind = serializers.ChoiceField(choices=[(kind.value, kind.label) for kind in KINDS], default=Source.ADJUSTMENT)
    reason = PrintableField(max_length=255)
    expires_at = MomentField(required=False, allow_null=True, default=None)


class GrantsView(APIView):
    @property
    def required_scope(self) -> str:
        return Scope.CREDITS_GRANT if self.request.method == "POST" else Scope.CREDITS_READ

    @refuses(InvalidCursorError)
    @extend_schema(operation_id="list_grants", parameters=PAGE_PARAMETERS, responses=list_of(GrantLotSerializer))
    def get(self, request: Request) -> Response:
        """The account's lots of credits, latest first."""
        now = clock.now()
        account = account_of(request, now=now)
        selectors.settled_wallet(account_id=account.pk, now=now)
        rows, following = page(request, selectors.grants(account.pk).order_by("-id"), "grt")
        return Response(listing(GrantLotSerializer(rows, many=True).data, following))

    @refuses(IdempotencyKeyMissingError, GrantConflictError, GrantLimitExceededError, InvalidAmountError)
    @extend_schema(
        operation_id="grant_credits",
        parameters=[KEY_PARAMETER],
        request=GrantRequest,
        responses={201: TransactionSerializer},
    )
    def post(self, request: Request) -> Response:
        """Give credits to an account, with a reason."""
        key, now = idempotency_key(request), clock.now()
        fields = checked(GrantRequest, request.data)
        if fields["expires_at"] is not None and fields["expires_at"] <= now:
            raise InvalidRequestError(
                FieldProblem(pointer="/expires_at", code="past", detail="Credits that expire in the past are no gift.")
            )
        granted = _grant_within_limits(request, fields, key=key, now=now)
        return made(transaction_data(granted.transaction), is_replayed=granted.is_replayed)


def _grant_within_limits(request: Request, fields: JsonObject, *, key: str, now: datetime) -> ledger.GrantResult:
    """A grant that counts against its key's day and the account's. Raises GrantLimitExceededError."""
    caller, account = caller_of(request), account_of(request, now=now)
    if keys.is_of_member(caller.actor, account):
        raise InsufficientScopeError(
            "A member of that account made or approved this key: nobody grants to themselves.",
            required_scope=Scope.CREDITS_GRANT,
        )
    own = caller.grants_per_day
    most = settings.SERVICE_KEY_GRANTS_PER_DAY if own is None else own
    with transaction.atomic():
        granted = ledger.grant(
            account_id=account.pk,
            amount=fields["amount"],
            source=Source(fields["kind"]),
            source_key=f"api:{key}",
            expires_at=fields["expires_at"],
            description=fields["reason"],
            actor=caller.actor,
            now=now,
        )
        if not granted.is_replayed:
            manual_grant_counts.count(
                giver=caller.actor,
                account_id=account.pk,
                amount=fields["amount"],
                most_by_giver=most,
                most_to_account=max(most, settings.APPROVAL_ABOVE_CREDITS),
                now=now,
            )
    return granted


urlpatterns = [
    path("credits/grants", GrantsView.as_view()),
]
