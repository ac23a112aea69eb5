"""One worker at a time for one subject: a Stripe customer's events, an account's changes of plan."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection


class BusyError(Exception):
    """Another worker is at this subject."""


def number_of(subject: str) -> int:
    """By which the database knows a subject's lock."""
    return int.from_bytes(hashlib.sha256(f"stripe:{subject}".encode()).digest()[:8], "big", signed=True)


@contextmanager
def exclusive(subject: str) -> Iterator[None]:
    """Hold off other workers from this subject. Raises BusyError when one is there already.

    The lock belongs to the connection, not to a transaction: Stripe is called meanwhile.
    """
    number = number_of(subject)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", [number])
        (is_ours,) = cursor.fetchone()
    if not is_ours:
        raise BusyError(subject)
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [number])
