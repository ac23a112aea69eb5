"""The API's side of holds: set credits aside before an AI call, and settle when its cost is known."""

from datetime import timedelta

from django.urls import path
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.errors import SellerOnlyError
from accounts.models import Scope
from api.authentication import account_of, caller_of
from api.fields import (
    ACCOUNT_PARAMETER,
    AccountField,
    AccountRequest,
    WholeNumberField,
    checked,
    identifier_of,
    timestamp,
)
from api.idempotency import KEY_PARAMETER, idempotency_key, made
from api.pagination import PAGE_NAMES, PAGE_PARAMETERS, InvalidCursorError, list_of, listing, page
from api.schema import refuses
from api.serializers import Serializer
from common import clock
from common.errors import NotFoundError
from common.json_types import JsonObject
from common.public_ids import public_id
from credits import ledger, selectors
from credits.api.refusals import ENDING_HOLDS, SPENDING, WITH_A_KEY
from credits.api.serializers import TransactionSerializer, UsageSerializer, spent_data
from credits.errors import TooManyHoldsError
from credits.models import Hold
from usage import rate_card, spending
from usage.api.spends import SpendRequest, with_buy_hint, work_of

DEFAULT_EXPIRY = timedelta(minutes=15)
LONGEST_EXPIRY_S = int(ledger.LONGEST_HOLD.total_seconds())


class HoldRequest(SpendRequest):
    """What to set aside: the most that the work may cost."""

    expires_in = serializers.IntegerField(
        required=False, min_value=1, max_value=LONGEST_EXPIRY_S, help_text="Seconds; 15 minutes by default."
    )


class CaptureRequest(Serializer):
    """What the work cost: an `amount`; or a `quantity` of the feature that was held for, or its tokens in `usage`."""

    amount = WholeNumberField(required=False, help_text="In credits. Less than was held: the rest goes back.")
    quantity = WholeNumberField(
        required=False, help_text="Units of the hold's feature, at the price of when it was held."
    )
    usage = UsageSerializer(required=False)
    account = AccountField()

    def validate(self, attrs: JsonObject) -> JsonObject:
        if "amount" in attrs and "quantity" in attrs:
            raise serializers.ValidationError({"amount": ["Send either amount or quantity."]}, code="either")
        if not attrs.keys() & {"amount", "quantity", "usage"}:
            raise serializers.ValidationError({"amount": ["Send amount, quantity or usage."]}, code="required")
        return attrs


class ExtendRequest(Serializer):
    expires_in = serializers.IntegerField(min_value=1, max_value=LONGEST_EXPIRY_S, help_text="Seconds from now.")
    account = AccountField()


class HoldSerializer(Serializer):
    id = serializers.CharField()
    status = serializers.ChoiceField(choices=Hold.Status.choices)
    amount = serializers.IntegerField(help_text="Credits set aside.")
    captured = serializers.IntegerField(allow_null=True)
    available = serializers.IntegerField(help_text="Credits that can be spent beside it, when it was last changed.")
    feature = serializers.CharField(allow_null=True)
    expires_at = serializers.DateTimeField(help_text="When it lapses by itself, and the credits go back.")
    created = serializers.DateTimeField()


class CapturedSerializer(TransactionSerializer):
    hold = serializers.CharField()
    missing = serializers.IntegerField(help_text="Credits of the cost that were neither held nor there any more.")


class HoldFilters(Serializer):
    status = serializers.ChoiceField(choices=Hold.Status.choices, required=False)


class HoldsView(APIView):
    @property
    def required_scope(self) -> str:
        return Scope.CREDITS_SPEND if self.request.method == "POST" else Scope.CREDITS_READ

    @property
    def is_seller_only(self) -> bool:
        return self.request.method == "POST"

    @refuses(InvalidCursorError)
    @extend_schema(
        operation_id="list_holds", parameters=[HoldFilters, *PAGE_PARAMETERS], responses=list_of(HoldSerializer)
    )
    def get(self, request: Request) -> Response:
        """The account's holds, latest first."""
        asked = checked(HoldFilters, request.query_params.dict(), others=PAGE_NAMES)
        rows = Hold.objects.filter(account=account_of(request, now=clock.now()), **asked)
        holds, following = page(request, rows.order_by("-id"), "hold")
        return Response(listing([hold_data(row) for row in holds], following))

    @refuses(SellerOnlyError, *WITH_A_KEY, *SPENDING, rate_card.UnknownFeatureError, TooManyHoldsError)
    @extend_schema(
        operation_id="hold_credits",
        parameters=[KEY_PARAMETER, ACCOUNT_PARAMETER],
        request=HoldRequest,
        examples=[
            OpenApiExample("The most it may cost", {"amount": 5, "expires_in": 120}, request_only=True),
            OpenApiExample("The most tokens", {"feature": "chat", "quantity": 2000}, request_only=True),
        ],
        responses={201: HoldSerializer},
    )
    def post(self, request: Request) -> Response:
        """Set credits aside for work whose cost is known only afterwards."""
        key, now = idempotency_key(request), clock.now()
        fields = checked(HoldRequest, request.data)
        account = account_of(request, now=now)
        expiry = timedelta(seconds=fields["expires_in"]) if "expires_in" in fields else DEFAULT_EXPIRY
        with with_buy_hint(account, caller_of(request), now=now):
            on_hold = spending.hold(
                account=account,
                work=work_of(fields, side=caller_of(request).side),
                idempotency_key=key,
                expires_at=now + expiry,
                actor=caller_of(request).actor,
                side=caller_of(request).side,
                now=now,
            )
        data = {
            "id": public_id("hold", on_hold.hold_id),
            "status": on_hold.status,
            "amount": on_hold.amount,
            "captured": on_hold.captured,
            "available": on_hold.balance_after,
            "feature": fields.get("feature") or None,
            "expires_at": timestamp(on_hold.expires_at),
            "created": timestamp(on_hold.created_at),
        }
        answer = made(data, is_replayed=on_hold.is_replayed)
        answer["Credits-Available"] = str(on_hold.balance_after)
        return answer


class HoldView(APIView):
    required_scope = Scope.CREDITS_READ

    @extend_schema(operation_id="get_hold", parameters=[ACCOUNT_PARAMETER], responses=HoldSerializer)
    def get(self, request: Request, hold_id: str) -> Response:
        """How a hold stands."""
        now = clock.now()
        account = account_of(request, now=now)
        selectors.settled_wallet(account_id=account.pk, now=now)
        result = selectors.find_hold(account.pk, identifier_of("hold", hold_id, "hold"))
        if result is None:
            raise NotFoundError("There is no such hold.")
        return Response(hold_data(result))


class CaptureView(APIView):
    required_scope = Scope.CREDITS_SPEND
    is_seller_only = True

    @refuses(SellerOnlyError, *ENDING_HOLDS, rate_card.UnknownFeatureError)
    @extend_schema(
        operation_id="capture_hold",
        parameters=[ACCOUNT_PARAMETER],
        request=CaptureRequest,
        examples=[
            OpenApiExample("What it cost", {"amount": 2}, request_only=True),
            OpenApiExample("What was used", {"usage": {"input_tokens": 900, "output_tokens": 250}}, request_only=True),
        ],
        responses={201: CapturedSerializer},
    )
    def post(self, request: Request, hold_id: str) -> Response:
        """Spend what the work cost. Sending it again answers the first capture: a hold is captured once."""
        now = clock.now()
        fields = checked(CaptureRequest, request.data)
        captured = spending.capture(
            account=account_of(request, now=now),
            hold_id=identifier_of("hold", hold_id, "hold"),
            amount=fields.get("amount"),
            quantity=fields.get("quantity"),
            usage=fields.get("usage"),
            actor=caller_of(request).actor,
            side=caller_of(request).side,
            now=now,
        )
        data = spent_data(
            captured,
            amount=-captured.captured,
            feature=captured.feature or None,
            quantity=captured.quantity,
            description=captured.description,
            metadata={},
            usage=fields.get("usage"),
            hold=hold_id,
            missing=captured.missing,
        )
        answer = made(data, is_replayed=captured.is_replayed)
        answer["Credits-Available"] = str(captured.balance_after)
        return answer


class ReleaseView(APIView):
    required_scope = Scope.CREDITS_SPEND
    is_seller_only = True

    @refuses(SellerOnlyError, *ENDING_HOLDS)
    @extend_schema(
        operation_id="release_hold",
        parameters=[ACCOUNT_PARAMETER],
        request=AccountRequest,
        responses={200: HoldSerializer},
    )
    def post(self, request: Request, hold_id: str) -> Response:
        """Give back all that was set aside: the work was not done."""
        now = clock.now()
        released = ledger.release(
            account_id=account_of(request, now=now).pk, hold_id=identifier_of("hold", hold_id, "hold"), now=now
        )
        answer = Response(hold_data(released.hold))
        answer["Credits-Available"] = str(released.balance_after)
        if released.is_replayed:
            answer["Idempotent-Replayed"] = "true"
        return answer


class ExtendView(APIView):
    required_scope = Scope.CREDITS_SPEND
    is_seller_only = True

    @refuses(SellerOnlyError, *ENDING_HOLDS)
    @extend_schema(
        operation_id="extend_hold",
        parameters=[ACCOUNT_PARAMETER],
        request=ExtendRequest,
        responses={200: HoldSerializer},
    )
    def post(self, request: Request, hold_id: str) -> Response:
        """Keep a hold open for longer: work that streams for minutes. At most a day from when it began."""
        now = clock.now()
        fields = checked(ExtendRequest, request.data)
        extended = ledger.extend(
            account_id=account_of(request, now=now).pk,
            hold_id=identifier_of("hold", hold_id, "hold"),
            expires_at=now + timedelta(seconds=fields["expires_in"]),
            now=now,
        )
        return Response(hold_data(extended))


def hold_data(found: Hold) -> JsonObject:
    """What the API says of a hold."""
    return {
        "id": found.public_id,
        "status": found.status,
        "amount": found.amount,
        "captured": found.captured,
        "available": found.balance_after,
        "feature": found.feature or None,
        "expires_at": timestamp(found.expires_at),
        "created": timestamp(found.created_at),
    }


urlpatterns = [
    path("credits/holds", HoldsView.as_view()),
    path("credits/holds/<str:hold_id>", HoldView.as_view()),
    path("credits/holds/<str:hold_id>/capture", CaptureView.as_view()),
    path("credits/holds/<str:hold_id>/extend", ExtendView.as_view()),
    path("credits/holds/<str:hold_id>/release", ReleaseView.as_view()),
]
