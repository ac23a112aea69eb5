"""Another system's id of a user whose account was erased: a keyed hash, which finds the account and names nobody."""

import hashlib
import hmac
import re

from django.conf import settings

PREFIX = "erased:"
_KEPT = re.compile(PREFIX + "[0-9a-f]{64}")
PURPOSE = b"accounts.pseudonym"


def pseudonym(subject: str) -> str:
    """What is kept in the place of an erased id."""
    if _KEPT.fullmatch(subject):
        return subject
    key = hashlib.sha256(PURPOSE + settings.SECRET_KEY.encode()).digest()
    return PREFIX + hmac.new(key, subject.encode(), hashlib.sha256).hexdigest()


def names_of(subject: str) -> tuple[str, str]:
    """The names under which an id may be kept."""
    return subject, pseudonym(subject)
