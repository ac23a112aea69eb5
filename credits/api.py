"""The API's side of credits: balance, ledger, grants. Thin: check, one call of the ledger, answer."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import transaction
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts import clock, keys
from accounts.api_parts import (
    ACCOUNT_PARAMETER,
    KEY_PARAMETER,
    PAGE_PARAMETERS,
    account_of,
    caller_of,
    checked,
    list_of,
    listing,
    made,
    page,
    timestamp,
)
from accounts.api_requests import (
    AccountField,
    CountField,
    MomentField,
    PrintableField,
    WholeNumberField,
    idempotency_key,
)
from accounts.errors import FieldProblem, InsufficientScopeError, InvalidRequestError
from accounts.models import Account, Scope
from accounts.public_ids import public_id
from credits import given, ledger, selectors, spending_order
from credits.models import Grant, Source, Transaction


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


class GrantLotSerializer(serializers.ModelSerializer[Grant]):
    id = serializers.CharField(source="public_id")

    class Meta:
        model = Grant
        fields = ["id", "source", "amount", "remaining", "priority", "effective_at", "expires_at"]


class LotSerializer(serializers.Serializer[ledger.Lot]):
    grant = serializers.CharField()
    source = serializers.ChoiceField(choices=Source.choices)  # type: ignore[assignment]
    amount = serializers.IntegerField()


MOST_USED = 10**12  # of one spend: a million of the currency; sums of many stay whole numbers


class UsageSerializer(serializers.Serializer[Any]):
    """What the AI behind a spend used, as the app tells it. All of it is optional."""

    model = PrintableField(required=False, max_length=100)
    input_tokens = CountField(required=False, most=MOST_USED)
    output_tokens = CountField(required=False, most=MOST_USED)
    provider_cost_micros = CountField(
        required=False,
        most=MOST_USED,
        help_text="Millionths of your currency that the provider charges. Believed of service keys alone.",
    )
    latency_ms = CountField(required=False, most=MOST_USED)


class TransactionSerializer(serializers.Serializer[Any]):
    """A transaction as it is answered when it is made and whenever it is fetched."""

    id = serializers.CharField()
    type = serializers.ChoiceField(choices=Transaction.Kind.choices)
    amount = serializers.IntegerField(help_text="Credits; negative when they left.")
    balance_after = serializers.IntegerField()
    lots = LotSerializer(many=True)
    feature = serializers.CharField(allow_null=True)
    quantity = serializers.IntegerField(allow_null=True, help_text="Units of the feature.")
    description = serializers.CharField()
    metadata = serializers.DictField()
    usage = UsageSerializer(allow_null=True)
    returned = serializers.IntegerField(help_text="Credits of this spend that were given back since.")
    created = serializers.DateTimeField()


class GrantRequest(serializers.Serializer[Any]):
    KINDS = (Source.FREE, Source.BONUS, Source.ADJUSTMENT)

    account = AccountField(required=True)
    amount = WholeNumberField()
    kind = serializers.ChoiceField(choices=[(kind.value, kind.label) for kind in KINDS], default=Source.ADJUSTMENT)
    reason = PrintableField(max_length=255)
    expires_at = MomentField(required=False, allow_null=True, default=None)


class BalanceView(APIView):
    required_scope = Scope.CREDITS_READ

    @extend_schema(operation_id="get_balance", parameters=[ACCOUNT_PARAMETER], responses=BalanceSerializer)
    def get(self, request: Request) -> Response:
        """How much can be spent now, of what, and when there is more."""
        now = clock.now()
        account = account_of(request, now=now)
        return Response(BalanceSerializer(balance_data(account, now=now)).data)


class GrantsView(APIView):
    @property
    def required_scope(self) -> str:
        return Scope.CREDITS_GRANT if self.request.method == "POST" else Scope.CREDITS_READ

    @extend_schema(operation_id="list_grants", parameters=PAGE_PARAMETERS, responses=list_of(GrantLotSerializer))
    def get(self, request: Request) -> Response:
        """The account's lots of credits, latest first."""
        now = clock.now()
        account = account_of(request, now=now)
        selectors.settled_wallet(account_id=account.pk, now=now)
        rows, following = page(request, selectors.grants(account.pk).order_by("-id"), "grt")
        return Response(listing(GrantLotSerializer(rows, many=True).data, following))

    @extend_schema(
        operation_id="grant_credits",
        parameters=[KEY_PARAMETER],
        request=GrantRequest,
        responses={201: TransactionSerializer},
    )
    def post(self, request: Request) -> Response:
        """Give credits to an account, with a reason."""
        key, now = idempotency_key(request), clock.now()
        asked = checked(GrantRequest, request.data)
        if asked["expires_at"] is not None and asked["expires_at"] <= now:
            raise InvalidRequestError(
                FieldProblem(pointer="/expires_at", code="past", detail="Credits that expire in the past are no gift.")
            )
        granted = _grant_within_limits(request, asked, key=key, now=now)
        return made(transaction_data(granted.transaction), is_replayed=granted.is_replayed)


def _grant_within_limits(request: Request, asked: dict[str, Any], *, key: str, now: datetime) -> ledger.Granted:
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
            amount=asked["amount"],
            source=Source(asked["kind"]),
            source_key=f"api:{key}",
            expires_at=asked["expires_at"],
            description=asked["reason"],
            actor=caller.actor,
            now=now,
        )
        if not granted.is_replayed:
            given.count(
                giver=caller.actor,
                account_id=account.pk,
                amount=asked["amount"],
                most_by_giver=most,
                most_to_account=max(most, settings.APPROVAL_ABOVE_CREDITS),
                now=now,
            )
    return granted


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


def transaction_data(row: Transaction) -> dict[str, Any]:
    """What the API says of a transaction."""
    order = sorted(row.entries.all(), key=lambda entry: spending_order.key(entry.grant))
    lots = [ledger.Lot(grant_id=entry.grant_id, source=entry.grant.source, amount=abs(entry.amount)) for entry in order]
    return {
        "id": row.public_id,
        "type": row.kind,
        "amount": row.amount,
        "balance_after": row.balance_after,
        "lots": lots_data(lots),
        "feature": row.feature or None,
        "quantity": row.quantity,
        "description": row.description,
        "metadata": row.metadata,
        "usage": row.usage,
        "returned": getattr(row, "returned", None) or 0,
        "created": timestamp(row.created_at),
    }


def spent_data(spent: ledger.Spent | ledger.Captured, *, amount: int, **about: Any) -> dict[str, Any]:
    """What the API says of a spend: the same as of its transaction when it is fetched."""
    return {
        "id": public_id("txn", spent.transaction_id),
        "type": Transaction.Kind.SPEND.value,
        "amount": amount,
        "balance_after": spent.balance_after,
        "lots": lots_data(spent.lots),
        **about,
        "returned": spent.returned,
        "created": timestamp(spent.created_at),
    }


def lots_data(lots: Iterable[ledger.Lot]) -> list[dict[str, Any]]:
    """What the API says of the grants that a transaction touched."""
    return [{"grant": public_id("grt", lot.grant_id), "source": lot.source, "amount": lot.amount} for lot in lots]
