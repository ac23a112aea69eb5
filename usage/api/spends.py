"""`/credits/spend`: credits spent on a feature, or a plain number of them."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from django.urls import path
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts import customer_sessions
from accounts.models import Account, Scope
from api.authentication import Caller, account_of, caller_of
from api.fields import ACCOUNT_PARAMETER, AccountField, MetadataField, PrintableField, WholeNumberField, checked
from api.idempotency import KEY_PARAMETER, idempotency_key, made
from api.schema import refuses
from api.serializers import Serializer
from common import clock
from common.json_types import JsonObject
from common.sides import Side
from common.urls import absolute_url
from credits import ledger, selectors
from credits.api.balance import RefillSerializer
from credits.api.refusals import SPENDING, WITH_A_KEY
from credits.api.serializers import TransactionSerializer, UsageSerializer, spent_data
from credits.errors import InsufficientCreditsError
from usage import rate_card, spending


class SpendRequest(Serializer):
    """Either `amount`, or a `feature` of the rate card and a `quantity` of it."""

    amount = WholeNumberField(required=False)
    feature = PrintableField(required=False, max_length=64)
    quantity = WholeNumberField(required=False)
    description = PrintableField(required=False, max_length=255, allow_blank=True, default="")
    metadata = MetadataField(required=False, default=dict)
    usage = UsageSerializer(required=False)
    account = AccountField()

    default_error_messages = {
        "either": "Send either amount, or feature (and quantity).",
    }

    def validate(self, attrs: JsonObject) -> JsonObject:
        if ("amount" in attrs) == ("feature" in attrs) or ("amount" in attrs and "quantity" in attrs):
            raise serializers.ValidationError({"amount": [self.error_messages["either"]]}, code="either")
        return attrs


EXAMPLES = [
    OpenApiExample("A plain number of credits", {"amount": 1}, request_only=True),
    OpenApiExample("A feature of the rate card", {"feature": "message", "quantity": 2}, request_only=True),
    OpenApiExample(
        "By tokens, for a user of your app",
        {
            "account": "ext:42",
            "feature": "chat",
            "usage": {"model": "large", "input_tokens": 1200, "output_tokens": 300},
        },
        request_only=True,
    ),
]


def work_of(fields: JsonObject, *, side: Side) -> spending.Work:
    """What a SpendRequest asks for. What a provider charges the seller is not believed of a buyer."""
    usage = fields.get("usage", {})
    if side == Side.BUYER:
        usage = {name: value for name, value in usage.items() if name != "provider_cost_micros"}
    return spending.Work(
        amount=fields.get("amount"),
        feature=fields.get("feature", ""),
        quantity=fields.get("quantity"),
        description=fields["description"],
        metadata=fields["metadata"],
        usage=usage,
    )


def work_data(spent: ledger.SpendResult, done: spending.Work) -> JsonObject:
    """What the API says of a spend on that work."""
    return spent_data(
        spent,
        amount=spent.amount,
        feature=done.feature or None,
        quantity=spent.quantity,
        description=done.description,
        metadata=done.metadata,
        usage=done.usage or None,
    )


@contextmanager
def with_buy_hint(account: Account, caller: Caller, *, now: datetime) -> Iterator[None]:
    """Has a refusal for lack of credits say where there are more, and when some come by themselves.

    The seller of a user without a login gets a link that lets them in (accounts.customer_sessions).
    """
    try:
        yield
    except InsufficientCreditsError as error:
        refill = selectors.balance(account_id=account.pk, now=now).next_refill
        error.extra |= {
            "next_refill": RefillSerializer(refill).data if refill else None,
            "buy_url": _buy_url(account, caller, now=now),
            "retryable": False,
        }
        raise


def _buy_url(account: Account, caller: Caller, *, now: datetime) -> str:
    if caller.side == Side.SELLER and Scope.BILLING_WRITE in caller.scopes:
        known = Account.objects.get(pk=account.pk)  # (a token's was not read)
        if known.kind == Account.Kind.EXTERNAL:
            return customer_sessions.create_link(known, page="credits", now=now).url
    return absolute_url("credits")


class SpendView(APIView):
    required_scope = Scope.CREDITS_SPEND

    @refuses(*WITH_A_KEY, *SPENDING, rate_card.UnknownFeatureError)
    @extend_schema(
        operation_id="spend_credits",
        parameters=[KEY_PARAMETER, ACCOUNT_PARAMETER],
        request=SpendRequest,
        examples=EXAMPLES,
        responses={201: TransactionSerializer},
    )
    def post(self, request: Request) -> Response:
        """Spend credits; sending the same Idempotency-Key again answers the first spend and takes nothing more."""
        key, now = idempotency_key(request), clock.now()
        fields = checked(SpendRequest, request.data)
        account = account_of(request, now=now, is_checked_later=True)
        wanted = work_of(fields, side=caller_of(request).side)
        with with_buy_hint(account, caller_of(request), now=now):
            spent = spending.spend(
                account=account,
                work=wanted,
                idempotency_key=key,
                actor=caller_of(request).actor,
                side=caller_of(request).side,
                now=now,
            )
        answer = made(work_data(spent, wanted), is_replayed=spent.is_replayed)
        answer["Credits-Available"] = str(spent.balance_after)
        return answer


urlpatterns = [
    path("credits/spend", SpendView.as_view()),
]
