"""The API's side of automatic top-ups: what an account agreed to, and no longer."""

from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import Account, Scope
from api.authentication import account_of
from api.fields import ACCOUNT_PARAMETER, AccountField, TextField, WholeNumberField, checked, timestamp
from api.schema import refuses
from api.serializers import Serializer
from billing import errors
from billing.catalogue import price_list
from billing.checkout import top_ups
from billing.models import TopUp
from common import clock
from common.json_types import JsonObject


class TopUpRequest(Serializer):
    below = WholeNumberField(help_text="Buy when a use leaves fewer credits than this.")
    pack = TextField(max_length=64, help_text="The code of the pack that is bought.")
    at_most_a_month = WholeNumberField(help_text="How many times in a calendar month, at most.")
    account = AccountField()


class TopUpSerializer(Serializer):
    """Off, until somebody agrees to it: then `pack` and the others say to what."""

    is_on = serializers.BooleanField()
    below = serializers.IntegerField(allow_null=True)
    pack = serializers.CharField(allow_null=True)
    at_most_a_month = serializers.IntegerField(allow_null=True)
    amount = serializers.IntegerField(allow_null=True, help_text="Of one pack, in the currency's minor units.")
    currency = serializers.CharField(allow_null=True)
    has_saved_card = serializers.BooleanField(help_text="Without one, nothing is bought by itself.")
    off_why = serializers.CharField(help_text="Why it went off by itself, if it did.")
    agreed_at = serializers.DateTimeField(allow_null=True)


class TopUpView(APIView):
    required_scope = Scope.BILLING_WRITE

    @extend_schema(operation_id="get_top_up", parameters=[ACCOUNT_PARAMETER], responses=TopUpSerializer)
    def get(self, request: Request) -> Response:
        """Whether the account buys credits by itself, and which. (Looking charges nobody.)"""
        return Response(top_up_data(account_of(request, now=clock.now())))

    @refuses(errors.PriceNotSellableError, errors.ArchivedItemError)
    @extend_schema(operation_id="set_top_up", request=TopUpRequest, responses=TopUpSerializer)
    def put(self, request: Request) -> Response:
        """Switch the automatic top-up on. Ask the customer first: their saved card is charged without asking again."""
        now = clock.now()
        fields = checked(TopUpRequest, request.data)
        account = account_of(request, now=now)
        top_ups.switch_on(
            account=account,
            price=price_list.find_price(item=fields["pack"]),
            below=fields["below"],
            max_per_month=fields["at_most_a_month"],
            now=now,
        )
        return Response(top_up_data(account))

    @extend_schema(operation_id="remove_top_up", parameters=[ACCOUNT_PARAMETER], responses={200: TopUpSerializer})
    def delete(self, request: Request) -> Response:
        """Switch it off; a payment that is under way is still made."""
        account = account_of(request, now=clock.now())
        top_ups.switch_off(account=account)
        return Response(top_up_data(account))


def top_up_data(account: Account) -> JsonObject:
    """What the API says of an account's top-up."""
    row = TopUp.objects.filter(account=account).select_related("price__pack").first()
    pack = row.price.pack if row else None
    return {
        "is_on": row.is_on if row else False,
        "below": row.below if row else None,
        "pack": pack.code if pack else None,
        "at_most_a_month": row.max_per_month if row else None,
        "amount": row.price.amount_minor if row else None,
        "currency": row.price.currency if row else None,
        "has_saved_card": top_ups.has_saved_card(account),
        "off_why": row.problem if row else "",
        "agreed_at": timestamp(row.agreed_at) if row else None,
    }


urlpatterns = [
    path("billing/top-up", TopUpView.as_view()),
]
