"""What every write request carries: an idempotency key, and amounts that are whole numbers."""

from datetime import UTC, date, datetime
from typing import Any

from rest_framework import serializers
from rest_framework.request import Request

from accounts.errors import ApiError

# The largest whole number that every JSON reader keeps exactly.
LARGEST_NUMBER = 2**53
LONGEST_KEY = 255
LONGEST_ACCOUNT = 259  # ext: and 255 characters
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


class WholeNumberField(serializers.IntegerField):
    """A whole number as JSON has them: no text, no fraction, no boolean, nothing that a float would round."""

    default_error_messages = {"whole": "Send a whole number from 1 to 9007199254740992."}
    smallest = 1

    def __init__(self, *, most: int = LARGEST_NUMBER, **kwargs: Any) -> None:
        super().__init__(min_value=self.smallest, max_value=most, **kwargs)

    def to_internal_value(self, data: Any) -> int:
        if isinstance(data, bool) or not isinstance(data, int) or not self.smallest <= data <= LARGEST_NUMBER:
            self.fail("whole")
        return data


class CountField(WholeNumberField):
    """A whole number that may be none."""

    default_error_messages = {"whole": "Send a whole number from 0 to 9007199254740992."}
    smallest = 0


class TextField(serializers.CharField):
    """Text as JSON has it: a number is none."""

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class PrintableField(TextField):
    """Text without control characters."""

    default_error_messages = {"control": "Control characters are not taken."}

    def to_internal_value(self, data: Any) -> str:
        text = super().to_internal_value(data)
        if not text.isprintable() and text:
            self.fail("control")
        return text


# Calendars, zones and PostgreSQL agree within these; what is outside is a mistake of the client's.
EARLIEST, LATEST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)


class MomentField(serializers.DateTimeField):
    """A moment between the years 2000 and 2100."""

    default_error_messages = {"range": "Send a moment between the years 2000 and 2100.", "overflow": "No such moment."}

    def to_internal_value(self, value: Any) -> datetime:
        try:
            moment = super().to_internal_value(value)
        except (OverflowError, ValueError):
            self.fail("range")
        if not EARLIEST <= moment < LATEST:
            self.fail("range")
        return moment


class DayField(serializers.DateField):
    """A day between the years 2000 and 2100."""

    default_error_messages = {"range": "Send a day between the years 2000 and 2100."}

    def to_internal_value(self, value: Any) -> date:
        day: date = super().to_internal_value(value)
        if not EARLIEST.date() <= day < LATEST.date():
            self.fail("range")
        return day


class AccountField(TextField):
    """Whose credits: a service key names the account."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("help_text", "For service keys: acc_… or ext:<your user id>.")
        kwargs.setdefault("required", False)
        super().__init__(min_length=5, max_length=LONGEST_ACCOUNT, **kwargs)
