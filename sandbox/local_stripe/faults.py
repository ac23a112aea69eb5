"""Faults on request: `POST /_sandbox/faults` makes calls of the API fail, each in one of the ways that Stripe's can.

docs.stripe.com/error-low-level and docs.stripe.com/rate-limits say what they are. What was refused before it was
carried out (409, 429, unreachable) may be sent again with the same idempotency key; an answer of 500 is remembered for
that key; a lost answer was carried out.
"""

import random
import re

from common.json_types import JsonObject
from sandbox.local_stripe.errors import StripeApiError, invalid
from sandbox.local_stripe.store import Store

Row = JsonObject

FAULTS = "_faults"
UNREACHABLE, LOST = "unreachable", "lost"
KINDS = ("409", "429", "500", "503", UNREACHABLE, LOST)  # those that pass by themselves
FORBIDDEN = "403"  # a restricted key that may not do this

_REFUSALS = {
    "409": (409, "This object cannot be accessed right now: another API request is accessing it.", "lock_timeout"),
    "429": (429, "Too many requests. Please slow down.", "rate_limit"),
    FORBIDDEN: (403, "Having the 'rak_sandbox' permission would allow this request.", "more_permissions_required"),
}
_FAILURES = {"500": 500, "503": 503}


class NoAnswerError(Exception):
    """The connection ends without an answer."""


def plan(store: Store, values: Row) -> Row:
    """Let calls fail from now on: `rate` of them at random, or the next `times`; in the ways of `kinds`.

    `path` (a regular expression) says which calls; without kinds, everything works again. The caller holds the lock.
    """
    kinds = values.get("kinds", [])
    if not isinstance(kinds, list) or set(kinds) - {*KINDS, FORBIDDEN}:
        raise invalid(f"kinds must be a list of {', '.join([*KINDS, FORBIDDEN])}.", param="kinds")
    rate, times = values.get("rate", 1.0), values.get("times")
    if not isinstance(rate, int | float) or not 0 <= rate <= 1:
        raise invalid("rate must be a number from 0 to 1.", param="rate")
    if times is not None and (not isinstance(times, int) or times < 1):
        raise invalid("times must be a whole number from 1 on.", param="times")
    fields = {name: values.get(name, unset) for name, unset in (("path", ""), ("method", ""), ("seed", 0))}
    row = {"kinds": kinds, "rate": rate, "times": times, **fields, "asked": 0, "failed": 0}
    store.put(FAULTS, "plan", row)
    store.save()
    return row


def next_one(store: Store, method: str, path: str) -> str:
    """The way in which this call fails; empty when it does not."""
    row = store.get(FAULTS, "plan")
    if not row or not row["kinds"] or not re.search(row["path"] or "", path) or row["method"] not in ("", method):
        return ""
    if row["times"] is not None and row["failed"] >= row["times"]:
        return ""
    row["asked"] += 1
    chance = random.Random(f"{row['seed']}:{row['asked']}")  # noqa: S311 - repeatable, no secret
    if chance.random() >= row["rate"]:
        return ""
    row["failed"] += 1
    store.put(FAULTS, "plan", row)
    return str(chance.choice(row["kinds"]))


def before(kind: str) -> None:
    """What happens before the call is carried out. Raises StripeApiError or NoAnswerError."""
    if kind == UNREACHABLE:
        raise NoAnswerError
    if kind in _REFUSALS:
        status, message, code = _REFUSALS[kind]
        raise StripeApiError(status, "invalid_request_error", message, code=code)


def inside(kind: str) -> StripeApiError | None:
    """Stripe's own failure, while it carries the call out."""
    if kind in _FAILURES:
        return StripeApiError(_FAILURES[kind], "api_error", "An unknown error occurred.")
    return None


def after(kind: str) -> None:
    """The call was carried out, and its answer never comes. Raises NoAnswerError."""
    if kind == LOST:
        raise NoAnswerError
