"""What every endpoint is built of: who calls, for whom, the fields of the request, pages of rows."""

import base64
import binascii
import uuid
from datetime import datetime
from functools import cache
from typing import Any, cast

from drf_spectacular.utils import OpenApiParameter, inline_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api_auth import Caller
from accounts.errors import ApiError, FieldProblem, InvalidRequestError, NotFoundError
from accounts.models import Account
from accounts.public_ids import MalformedIdError, parse_id, public_id

DEFAULT_PAGE = 25
MAX_PAGE = 100

ACCOUNT_PARAMETER = OpenApiParameter("account", str, description="For service keys: acc_… or ext:<your user id>.")
KEY_PARAMETER = OpenApiParameter(
    "Idempotency-Key", str, OpenApiParameter.HEADER, required=True, description="1 to 255 printable characters."
)
PAGE_PARAMETERS = [
    ACCOUNT_PARAMETER,
    OpenApiParameter("limit", int, description=f"1 to {MAX_PAGE}; {DEFAULT_PAGE} by default."),
    OpenApiParameter("cursor", str, description="What `next` of the page before said."),
]


class InvalidCursorError(ApiError):
    code = "invalid_cursor"
    title = "This cursor is not ours"
    status_code = 400


def caller_of(request: Request) -> Caller:
    """Who is calling; HasScope has seen to it that there is somebody."""
    return cast(Caller, request.user)


def account_of(request: Request, *, now: datetime, is_checked_later: bool = False) -> Account:
    """The account that the request acts for: the key's own, or the one that a service key names."""
    body = request.data if isinstance(request.data, dict) else {}
    named = body.get("account") or request.query_params.get("account") or ""
    if not isinstance(named, str):
        raise InvalidRequestError(FieldProblem(pointer="/account", code="invalid", detail="Send it as text."))
    return caller_of(request).account_for(named, now=now, is_checked_later=is_checked_later)


def identifier_of(prefix: str, text: str, what: str) -> uuid.UUID:
    """The key behind a public id in an address. Raises NotFoundError, as for one that is not there."""
    try:
        return parse_id(prefix, text)
    except MalformedIdError:
        raise NotFoundError(f"There is no such {what}.") from None


def checked(kind: type[serializers.Serializer[Any]], data: Any) -> dict[str, Any]:
    """A request's fields. Raises InvalidRequestError, which names those that cannot be taken."""
    try:
        found: dict[str, Any] = _shared(kind).run_validation(data)
    except serializers.ValidationError as error:
        raise InvalidRequestError(*_field_problems(error.detail)) from None
    return found


@cache
def _shared(kind: type[serializers.Serializer[Any]]) -> serializers.Serializer[Any]:
    """One serializer for all requests of a kind: it keeps nothing of them, and making one costs more than using it."""
    return kind()


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


def made(data: dict[str, Any], *, is_replayed: bool) -> Response:
    """201 with what was made; a repeated call gets the same answer, marked."""
    return Response(data, status=201, headers={"Idempotent-Replayed": "true"} if is_replayed else None)


def listing(rows: Any, following: str) -> dict[str, Any]:
    """A page as every list answers it."""
    return {"data": rows, "next": following or None, "has_more": bool(following)}


def page(request: Request, rows: Any, prefix: str) -> tuple[list[Any], str]:
    """One page of rows that are ordered by descending id, and the cursor of the next. Raises InvalidCursorError."""
    limit = _limit(request)
    if cursor := request.query_params.get("cursor"):
        rows = rows.filter(pk__lt=_decoded(cursor, prefix))
    found = list(rows[: limit + 1])
    following = _encoded(found[limit - 1].pk, prefix) if len(found) > limit else ""
    return found[:limit], following


def timestamp(instant: datetime) -> str:
    """An instant as the API writes it."""
    return instant.isoformat().replace("+00:00", "Z")


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


def _field_problems(errors: Any, pointer: str = "") -> list[FieldProblem]:
    if isinstance(errors, dict):
        return [
            problem
            for name, inner in errors.items()
            for problem in _field_problems(inner, pointer if name == "non_field_errors" else f"{pointer}/{name}")
        ]
    return [
        FieldProblem(pointer=pointer or "/", code=getattr(error, "code", "invalid"), detail=str(error))
        for error in errors
    ]
