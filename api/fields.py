"""The fields of requests and answers: strict, so that what is understood is what was sent."""

import difflib
import json
import uuid
from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, date, datetime
from functools import cache
from typing import Any

from drf_spectacular.utils import OpenApiParameter
from rest_framework import serializers

from api.serializers import Serializer
from common.errors import FieldProblem, InvalidRequestError, NotFoundError
from common.json_types import JsonObject
from common.public_ids import MalformedIdError, parse_id

# The largest whole number that every JSON reader keeps exactly.
LARGEST_NUMBER = 2**53
LONGEST_ACCOUNT = 259  # ext: and 255 characters
MAX_METADATA_BYTES = 4_096
LONGEST_NAME = 64  # of an unknown field, as it is shown

ACCOUNT_PARAMETER = OpenApiParameter("account", str, description="For service keys: acc_… or ext:<your user id>.")


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


class MetadataField(serializers.DictField):
    """JSON of the client's own, kept as it was sent."""

    default_error_messages = {
        "large": f"Metadata is limited to {MAX_METADATA_BYTES} bytes of JSON.",
        "nul": "PostgreSQL keeps no NUL characters.",
    }

    def to_internal_value(self, data: Any) -> JsonObject:
        value: JsonObject = super().to_internal_value(data)
        try:
            text = json.dumps(value, allow_nan=False)
            text.encode()
        except ValueError:
            self.fail("nul")
        if "\\u0000" in text:
            self.fail("nul")
        if len(text) > MAX_METADATA_BYTES:
            self.fail("large")
        return value


class ExactField(PrintableField):
    """A name of another system's, exactly as it is there: " a" is not "a"."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(trim_whitespace=False, **kwargs)


class AccountField(TextField):
    """Whose credits: a service key names the account."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs["trim_whitespace"] = False  # another system's id is taken as it is
        kwargs.setdefault("help_text", "For service keys: acc_… or ext:<your user id>.")
        kwargs.setdefault("required", False)
        super().__init__(min_length=5, max_length=LONGEST_ACCOUNT, **kwargs)


class AccountRequest(Serializer):
    """A request that says whose account it is about, and nothing else."""

    account = AccountField()


def checked(kind: type[Serializer], data: Any, *, others: Collection[str] = ("account",)) -> JsonObject:
    """A request's fields. Raises InvalidRequestError, which names those that cannot be taken.

    A name that nobody knows is refused, not passed over: `quantitty` would have cost one credit. `others` are names
    that somebody else reads.
    """
    serializer = _shared(kind)
    problems = list(_unknown(data, {*serializer.fields, *others})) if isinstance(data, Mapping) else []
    try:
        result: JsonObject = serializer.run_validation(data)
    except serializers.ValidationError as error:
        raise InvalidRequestError(*problems, *_field_problems(error.detail)) from None
    if problems:
        raise InvalidRequestError(*problems)
    return result


def _unknown(data: Mapping[Any, Any], known: set[str]) -> Iterator[FieldProblem]:
    """Names that are none of these, each with the nearest that is."""
    for name in data:
        if name in known:
            continue
        near = difflib.get_close_matches(str(name), sorted(known), n=1)
        hint = f"Did you mean {near[0]}?" if near else f"There are: {', '.join(sorted(known))}."
        shown = str(name)[:LONGEST_NAME]
        yield FieldProblem(pointer=f"/{shown}", code="unknown_field", detail=f"There is no field {shown}. {hint}")


@cache
def _shared(kind: type[Serializer]) -> Serializer:
    """One serializer for all requests of a kind: it keeps nothing of them, and making one costs more than using it."""
    return kind()


def identifier_of(prefix: str, text: str, what: str) -> uuid.UUID:
    """The key behind a public id in an address. Raises NotFoundError, as for one that is not there."""
    try:
        return parse_id(prefix, text)
    except MalformedIdError:
        raise NotFoundError(f"There is no such {what}.") from None


def timestamp(instant: datetime) -> str:
    """An instant as the API writes it."""
    return instant.isoformat().replace("+00:00", "Z")


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
