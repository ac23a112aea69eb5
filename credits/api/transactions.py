"""The API's side of the ledger: its transactions, filtered, a page at a time or as one CSV file."""

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from django.db.models import QuerySet
from django.http import StreamingHttpResponse
from django.urls import path
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import Account, Scope
from api.authentication import account_of
from api.fields import ACCOUNT_PARAMETER, MomentField, PrintableField, checked, identifier_of, timestamp
from api.pagination import PAGE_NAMES, PAGE_PARAMETERS, InvalidCursorError, list_of, listing, page
from api.schema import refuses
from api.serializers import Serializer
from common import clock, csv_export
from common.errors import NotFoundError
from credits import selectors
from credits.api.serializers import TransactionSerializer, transaction_data
from credits.models import Transaction

CSV_CHUNK = 1_000
CSV_COLUMNS = (
    "id", "created", "type", "amount", "balance_after", "feature", "quantity", "description", "by", "metadata", "usage",
)  # fmt: skip

# What both lists of history can be narrowed to.
FILTER_PARAMETERS = [
    OpenApiParameter("feature", str, description="The code of a feature."),
    OpenApiParameter("key", str, description="The API key that did it: key_…"),
    OpenApiParameter("created_after", OpenApiTypes.DATETIME, description="At or after this moment."),
    OpenApiParameter("created_before", OpenApiTypes.DATETIME, description="Before this moment."),
]


class HistoryFilters(Serializer):
    type = serializers.ChoiceField(choices=Transaction.Kind.choices, required=False)
    feature = PrintableField(required=False, max_length=64)
    key = PrintableField(required=False, max_length=64)
    created_after = MomentField(required=False)
    created_before = MomentField(required=False)


class CsvRenderer(BaseRenderer):
    """Says that CSV can be had; the view streams it."""

    media_type = "text/csv"
    format = "csv"

    def render(self, data: Any, *_arguments: object, **_named: object) -> bytes:
        return JSONRenderer().render(data)  # a refusal: problems are JSON


class TransactionsView(APIView):
    required_scope = Scope.CREDITS_READ
    renderer_classes = [JSONRenderer, CsvRenderer]

    @refuses(InvalidCursorError)
    @extend_schema(
        operation_id="list_transactions",
        parameters=[
            *PAGE_PARAMETERS,
            OpenApiParameter("type", str, enum=list(Transaction.Kind.values)),
            *FILTER_PARAMETERS,
        ],
        responses=list_of(TransactionSerializer),
    )
    def get(self, request: Request) -> Response | StreamingHttpResponse:
        """The account's ledger, latest first."""
        now = clock.now()
        account = account_of(request, now=now)
        history = filtered(request, account, now=now)
        if request.accepted_renderer.format == CsvRenderer.format:
            return as_csv(account, history)
        rows, following = page(request, selectors.with_returned(history).prefetch_related("entries__grant"), "txn")
        return Response(listing([transaction_data(row) for row in rows], following))


class TransactionsFileView(APIView):
    required_scope = Scope.CREDITS_READ
    renderer_classes = [CsvRenderer, JSONRenderer]

    @extend_schema(
        operation_id="download_transactions",
        parameters=[
            ACCOUNT_PARAMETER,
            OpenApiParameter("type", str, enum=list(Transaction.Kind.values)),
            *FILTER_PARAMETERS,
        ],
        responses={(200, "text/csv"): OpenApiTypes.STR},
    )
    def get(self, request: Request) -> StreamingHttpResponse:
        """The account's ledger as one file, oldest first."""
        now = clock.now()
        account = account_of(request, now=now)
        return as_csv(account, filtered(request, account, now=now))


class TransactionView(APIView):
    required_scope = Scope.CREDITS_READ

    @extend_schema(operation_id="get_transaction", parameters=[ACCOUNT_PARAMETER], responses=TransactionSerializer)
    def get(self, request: Request, transaction_id: str) -> Response:
        """One transaction."""
        account = account_of(request, now=clock.now())
        identifier = identifier_of("txn", transaction_id, "transaction")
        result = (
            selectors.with_returned(selectors.transactions(account.pk))
            .filter(pk=identifier)
            .prefetch_related("entries__grant")
            .first()
        )
        if result is None:
            raise NotFoundError("There is no such transaction.")
        return Response(transaction_data(result))


def filtered(request: Request, account: Account, *, now: datetime) -> QuerySet[Transaction]:
    """The account's transactions that the query asks for, latest first. Raises InvalidRequestError."""
    requested = checked(HistoryFilters, request.query_params.dict(), others=PAGE_NAMES)
    selectors.settled_wallet(account_id=account.pk, now=now)
    fields = {"type": "kind", "feature": "feature", "key": "actor"}
    rows = selectors.transactions(account.pk).filter(
        **{fields[name]: requested[name] for name in fields if name in requested}
    )
    if after := requested.get("created_after"):
        rows = rows.filter(created_at__gte=after)
    if before := requested.get("created_before"):
        rows = rows.filter(created_at__lt=before)
    return rows


def as_csv(account: Account, rows: QuerySet[Transaction]) -> StreamingHttpResponse:
    """Transactions as a file, oldest first, read from the database as it is sent."""
    return csv_export.download(f"transactions-{account.public_id}", CSV_COLUMNS, csv_rows(rows))


def csv_rows(rows: QuerySet[Transaction]) -> Iterator[tuple[Any, ...]]:
    """The cells of CSV_COLUMNS for each transaction, oldest first."""
    for row in rows.order_by("id").iterator(CSV_CHUNK):
        yield (
            row.public_id, timestamp(row.created_at), row.kind, row.amount, row.balance_after, row.feature,
            row.quantity, row.description, row.actor, json.dumps(row.metadata) if row.metadata else "",
            json.dumps(row.usage) if row.usage else "",
        )  # fmt: skip


urlpatterns = [
    path("credits/transactions.csv", TransactionsFileView.as_view()),
    path("credits/transactions", TransactionsView.as_view()),
    path("credits/transactions/<str:transaction_id>", TransactionView.as_view()),
]
