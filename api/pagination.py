"""Lists, a page at a time: `next` of one page is the `cursor` of the one that follows, as quick at any depth."""

import base64
import binascii
import uuid
from typing import Any

from drf_spectacular.utils import OpenApiParameter, inline_serializer
from rest_framework import serializers
from rest_framework.request import Request

from api.fields import ACCOUNT_PARAMETER
from common.errors import ApiError, FieldProblem, InvalidRequestError
from common.json_types import JsonObject
from common.public_ids import MalformedIdError, parse_id, public_id

DEFAULT_PAGE = 25
MAX_PAGE = 100

# What the query of a list may say beside its filters.
PAGE_NAMES = ("account", "limit", "cursor", "format")
PAGE_PARAMETERS = [
    ACCOUNT_PARAMETER,
    OpenApiParameter("limit", int, description=f"1 to {MAX_PAGE}; {DEFAULT_PAGE} by default."),
    OpenApiParameter("cursor", str, description="What `next` of the page before said."),
]


class InvalidCursorError(ApiError):
    code = "invalid_cursor"
    title = "This cursor is not ours"
    status_code = 400


def list_of(row: type[serializers.BaseSerializer[Any]]) -> Any:
    """How a list of such rows is described: what `listing` answers."""
    return inline_serializer(
        name=f"{row.__name__.removesuffix('Serializer')}List",
        fields={
            "data": row(many=True),
            "next": serializers.CharField(allow_null=True, help_text="The `cursor` of the page that follows."),
            "has_more": serializers.BooleanField(),
        },
    )


def listing(rows: Any, following: str) -> JsonObject:
    """A page as every list answers it."""
    return {"data": rows, "next": following or None, "has_more": bool(following)}


def page(request: Request, rows: Any, prefix: str) -> tuple[list[Any], str]:
    """One page of rows that are ordered by descending id, and the cursor of the next. Raises InvalidCursorError."""
    limit = _limit(request)
    if cursor := request.query_params.get("cursor"):
        rows = rows.filter(pk__lt=_decoded(cursor, prefix))
    result = list(rows[: limit + 1])
    following = _encoded(result[limit - 1].pk, prefix) if len(result) > limit else ""
    return result[:limit], following


def _limit(request: Request) -> int:
    text = request.query_params.get("limit", str(DEFAULT_PAGE))
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:4]) <= MAX_PAGE:
        raise InvalidRequestError(
            FieldProblem(pointer="/limit", code="invalid", detail=f"Send a whole number from 1 to {MAX_PAGE}.")
        )
    return int(text)


def _encoded(identifier: uuid.UUID, prefix: str) -> str:
    return base64.urlsafe_b64encode(public_id(prefix, identifier).encode()).decode().rstrip("=")


def _decoded(cursor: str, prefix: str) -> uuid.UUID:
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
        return parse_id(prefix, text)
    except (binascii.Error, UnicodeError, MalformedIdError, ValueError):
        raise InvalidCursorError("Send `next` of the page before, as it was.") from None
