"""`/usage/events`: each use of a feature, as the ledger has it."""

from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import Scope
from api.authentication import account_of
from api.fields import timestamp
from api.pagination import PAGE_PARAMETERS, InvalidCursorError, list_of, listing, page
from api.schema import refuses
from api.serializers import Serializer
from common import clock
from common.json_types import JsonObject
from credits.api.serializers import UsageSerializer
from credits.api.transactions import FILTER_PARAMETERS, filtered
from credits.models import Transaction


class UsageEventSerializer(Serializer):
    """One use of a feature: a spend, named by its transaction."""

    id = serializers.CharField()
    feature = serializers.CharField(allow_null=True)
    quantity = serializers.IntegerField(allow_null=True)
    credits = serializers.IntegerField()
    key = serializers.CharField(allow_null=True, help_text="The API key, or user, that spent.")
    usage = UsageSerializer(allow_null=True)
    description = serializers.CharField()
    metadata = serializers.DictField()
    created = serializers.DateTimeField()


class UsageEventsView(APIView):
    required_scope = Scope.USAGE_READ

    @refuses(InvalidCursorError)
    @extend_schema(
        operation_id="list_usage_events",
        parameters=[*PAGE_PARAMETERS, *FILTER_PARAMETERS],
        responses=list_of(UsageEventSerializer),
    )
    def get(self, request: Request) -> Response:
        """Each use, latest first: what was spent on what, and what the AI behind it used."""
        now = clock.now()
        account = account_of(request, now=now)
        rows, following = page(request, filtered(request, account, now=now).filter(kind=Transaction.Kind.SPEND), "txn")
        return Response(listing([event_data(row) for row in rows], following))


def event_data(row: Transaction) -> JsonObject:
    """What the API says of a use."""
    return {
        "id": row.public_id,
        "feature": row.feature or None,
        "quantity": row.quantity,
        "credits": -row.amount,
        "key": row.actor or None,
        "usage": row.usage,
        "description": row.description,
        "metadata": row.metadata,
        "created": timestamp(row.created_at),
    }


urlpatterns = [
    path("usage/events", UsageEventsView.as_view()),
]
