"""What every write request carries: an idempotency key, and amounts that are whole numbers."""

from typing import Any

from rest_framework import serializers
from rest_framework.request import Request

from accounts.errors import ApiError
from credits.errors import LARGEST_AMOUNT

LONGEST_KEY = 255
MAX_METADATA_BYTES = 4_096


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
    key = request.headers.get("Idempotency-Key", "")
    if not 0 < len(key) <= LONGEST_KEY or not (key.isascii() and key.isprintable()) or not key.strip():
        raise IdempotencyKeyMissingError
    return key


class WholeNumberField(serializers.IntegerField):
    """A whole number as JSON has them: no text, no fraction, no boolean, nothing that a float would round."""

    default_error_messages = {"whole": "Send a whole number from 1 to 9007199254740992."}

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(min_value=1, max_value=LARGEST_AMOUNT, **kwargs)

    def to_internal_value(self, data: Any) -> int:
        if isinstance(data, bool) or not isinstance(data, int) or not 1 <= data <= LARGEST_AMOUNT:
            self.fail("whole")
        return data


class PrintableField(serializers.CharField):
    """Text without control characters."""

    default_error_messages = {"control": "Control characters are not taken."}

    def to_internal_value(self, data: Any) -> str:
        text = super().to_internal_value(data)
        if not text.isprintable() and text:
            self.fail("control")
        return text
