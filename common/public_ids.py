"""Identifiers: UUIDv7 inside (sortable by time), prefixed text outside (`acc_01jd...`).

The text is the UUID in Crockford's base32, lower case, so that it sorts as the UUID does.
"""

import uuid

from uuid_utils.compat import uuid7

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
VALUES = {letter: value for value, letter in enumerate(ALPHABET)}
LENGTH = 26  # 26 letters of 5 bits hold 128 bits


class MalformedIdError(ValueError):
    """The text is not an identifier of the kind asked for."""


def new_id() -> uuid.UUID:
    """A fresh identifier; later ones sort after earlier ones."""
    return uuid7()


def public_id(prefix: str, identifier: uuid.UUID) -> str:
    """How the outside names `identifier`: `prefix_` and 26 letters."""
    number = identifier.int
    letters = [ALPHABET[(number >> shift) & 31] for shift in range(5 * (LENGTH - 1), -1, -5)]
    return f"{prefix}_{''.join(letters)}"


def parse_id(prefix: str, text: str) -> uuid.UUID:
    """The identifier that `public_id` wrote. Raises MalformedIdError for anything else."""
    head, _, letters = text.partition("_")
    if head != prefix or len(letters) != LENGTH or not set(letters) <= VALUES.keys():
        raise MalformedIdError(text)
    number = 0
    for letter in letters:
        number = number << 5 | VALUES[letter]
    if number >> 128:
        raise MalformedIdError(text)
    return uuid.UUID(int=number)
