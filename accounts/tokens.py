"""Tokens of ours: a key's or session's rights for at most ten minutes, checked without asking the database.

Signed with a key made of SECRET_KEY, and read with those of SECRET_KEY_FALLBACKS as well: Django's own rotation. A
token of a revoked key works until it expires; what must stop at once is a key.
"""

import hashlib
import hmac
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

import jwt
from django.conf import settings

from accounts.errors import TokenExpiredError, UnauthenticatedError
from common.json_types import JsonObject
from common.public_ids import MalformedIdError, parse_id, public_id

ALGORITHM = "HS256"
AUDIENCE = "tegoed-api"
LONGEST_S = 600
SERVICE = "service"  # the subject of a token that names the account with each call
# How far apart two servers' clocks may be.
SKEW = timedelta(seconds=30)
MOST_REMEMBERED = 10_000  # tokens whose signature need not be checked again; a few MB
LATEST = 253_402_300_799  # the last second of the year 9999; what is later is no moment
LARGEST_TOKEN = 8_192  # characters; identity providers put a lot into theirs
# The times are held to our own clock (_check_times), the rest by PyJWT.
OPTIONS: Any = {"require": ["exp", "iat", "sub"], "verify_exp": False, "verify_iat": False, "verify_nbf": False}
OWN_OPTIONS: Any = {**OPTIONS, "require": ["exp", "iat", "sub", "scope", "act"]}


@dataclass(frozen=True, kw_only=True)
class Claims:
    """What a token says: for whom (nobody in particular, for a service's), what it may do, and whose it is."""

    account_id: uuid.UUID | None
    scopes: frozenset[str]
    actor: str


@dataclass(frozen=True, kw_only=True)
class Token:
    """A token as it is handed out."""

    text: str
    expires_at: datetime


def issue(*, account_id: uuid.UUID | None, scopes: Sequence[str], actor: str, lasts: timedelta, now: datetime) -> Token:
    """A token for an account, or (without one) for a service. It lasts at most LONGEST_S."""
    if not timedelta(0) < lasts <= timedelta(seconds=LONGEST_S):
        raise ValueError(f"a token lasts up to {LONGEST_S} seconds, not {lasts}")
    name, key = next(iter(_keys().items()))
    claims = {
        "iss": settings.BASE_URL,
        "aud": AUDIENCE,
        "sub": public_id("acc", account_id) if account_id else SERVICE,
        "scope": " ".join(sorted(scopes)),
        "act": actor,
        "iat": int(now.timestamp()),
        "exp": int((now + lasts).timestamp()),
    }
    text = jwt.encode(claims, key, algorithm=ALGORITHM, headers={"kid": name})
    return Token(text=text, expires_at=datetime.fromtimestamp(claims["exp"], UTC))


def read(text: str, *, now: datetime) -> Claims:
    """What a token of ours says. Raises TokenExpiredError or UnauthenticatedError."""
    keys = _keys()
    known = _verified.get(text)
    if known is None or known.key_name not in keys:
        known = _verify(text, keys)
        if len(_verified) >= MOST_REMEMBERED:
            _verified.clear()
        _verified[text] = known
    check_times(known.times, now=now)
    return known.claims


def is_verified(text: str) -> bool:
    """Whether a token is known to be ours. (Whether it is still good, `read` checks.)"""
    return text in _verified


@dataclass(frozen=True, kw_only=True)
class _Verified:
    """A token whose signature was checked: what it says, and which key signed it."""

    claims: Claims
    times: JsonObject
    key_name: str


# By the whole token: a signature that was good stays good as long as its key is ours. The times are checked again.
_verified: dict[str, _Verified] = {}


def _verify(text: str, keys: dict[str, bytes]) -> _Verified:
    try:
        name = str(jwt.get_unverified_header(text).get("kid"))
        if name not in keys:
            raise UnauthenticatedError("This token was signed with a key that is no longer ours. Get a new one.")
        claims = jwt.decode(
            text, keys[name], algorithms=[ALGORITHM], audience=AUDIENCE, issuer=settings.BASE_URL, options=OWN_OPTIONS
        )
        subject = claims["sub"]
        said = Claims(
            account_id=None if subject == SERVICE else parse_id("acc", subject),
            scopes=frozenset(str(claims["scope"]).split()),
            actor=str(claims["act"]),
        )
    except (jwt.PyJWTError, MalformedIdError, KeyError) as error:
        raise UnauthenticatedError("This token is not valid. Get a new one.") from error
    return _Verified(claims=said, times=claims, key_name=name)


def check_times(claims: JsonObject, *, now: datetime) -> None:
    """Hold a token's times against our clock. Raises TokenExpiredError or UnauthenticatedError."""
    moments = [claims[name] for name in ("exp", "iat")] + [claims.get("nbf", claims["iat"])]
    if not all(type(moment) in (int, float) and 0 <= moment <= LATEST for moment in moments):
        raise UnauthenticatedError("This token's times (exp, iat, nbf) are no moments: send seconds since 1970.")
    ends, *begins = moments
    if now.timestamp() >= ends + SKEW.total_seconds():
        raise TokenExpiredError("This token has expired. Get a new one.")
    if any(now.timestamp() < moment - SKEW.total_seconds() for moment in begins):
        raise UnauthenticatedError("This token begins in the future. Is a clock wrong?")


def _keys() -> dict[str, bytes]:
    """The signing key first, then those of before; by a name that says nothing of them."""
    return _derived(settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)


@lru_cache(maxsize=4)
def _derived(*secrets: str) -> dict[str, bytes]:
    keys = [hmac.digest(secret.encode(), b"tegoed.accounts.tokens", "sha256") for secret in secrets]
    return {hashlib.sha256(key).hexdigest()[:12]: key for key in keys}
