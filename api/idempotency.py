"""Idempotency keys: every write request carries one, and a repeated key gets the first answer again."""

from typing import Any

from drf_spectacular.utils import OpenApiParameter
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from common.errors import ApiError
from common.json_types import JsonObject

LONGEST_KEY = 255

KEY_PARAMETER = OpenApiParameter(
    "Idempotency-Key", str, OpenApiParameter.HEADER, required=True, description="1 to 255 printable characters."
)


class IdempotencyKeyMissingError(ApiError):
    code = "idempotency_key_missing"
    title = "An Idempotency-Key is needed"
    status_code = 400

    def __init__(self) -> None:
        super().__init__(
            "Send a header such as Idempotency-Key: 6f1c0f2e-… with a value of your own for each operation (1 to 255 "
            "printable ASCII characters); sending it again is then safe."
        )


def idempotency_key(request: Request) -> str:
    """The request's Idempotency-Key. Raises IdempotencyKeyMissingError when there is no usable one."""
    key = str(request.META.get("HTTP_IDEMPOTENCY_KEY", ""))
    if not _is_key(key):
        raise IdempotencyKeyMissingError
    return key


class KeyField(serializers.CharField):
    """An idempotency key in a body, where a call carries several."""

    default_error_messages = {"key": "Send 1 to 255 printable ASCII characters."}

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str) or not _is_key(data):
            self.fail("key")
        return data


def _is_key(text: str) -> bool:
    return 0 < len(text) <= LONGEST_KEY and text.isascii() and text.isprintable() and bool(text.strip())


def made(data: JsonObject, *, is_replayed: bool) -> Response:
    """201 with what was made; a repeated call gets the same answer, marked."""
    return Response(data, status=201, headers={"Idempotent-Replayed": "true"} if is_replayed else None)
