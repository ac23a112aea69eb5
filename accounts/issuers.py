"""Access tokens of others: Stack Auth, Supabase, any OpenID Connect provider that TOKEN_ISSUERS names.

Their public keys are fetched when a token names one that is not known, kept, and fetched again every hour. Nobody can
make us ask more often than every ASK_AGAIN_S; keys that were had are used on while a provider is away.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any

import jwt
import requests
import structlog
from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import validate_email

from accounts.errors import UnauthenticatedError
from accounts.keys import ACCOUNT_KEY_SCOPES, TOKEN_SCOPES
from accounts.tokens import OPTIONS, check_times
from common.errors import ApiError
from common.json_types import JsonObject

logger = structlog.get_logger(__name__)

# Signatures that need no secret of the provider's here. `none`, and any shared secret, are not among them.
ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
TIMEOUT_S = 5
KEEP_S = 3_600
ASK_AGAIN_S = 10
LARGEST_ANSWER = 262_144  # bytes of a provider's keys
LONGEST_EMAIL, LONGEST_NAME, LONGEST_SUBJECT = 254, 150, 255  # characters of a claim that is kept
DISCOVERY = "/.well-known/openid-configuration"


class IssuerUnavailableError(ApiError):
    """A token that nobody can check right now."""

    code = "unavailable"
    title = "Not available right now"
    status_code = 503
    retry_after_s = 5


@dataclass(frozen=True, kw_only=True)
class Issuer:
    """Somebody whose tokens are taken: `issuer` and `audience` are what they must say."""

    name: str
    issuer: str
    audience: str
    jwks_url: str = ""  # found by discovery, if not given
    webhook_secrets: tuple[str, ...] = ()
    scopes: tuple[str, ...] = tuple(scope.value for scope in TOKEN_SCOPES)


@dataclass(frozen=True, kw_only=True)
class Person:
    """Who a provider's token or webhook is about."""

    issuer: Issuer
    subject: str
    email: str = ""
    is_email_verified: bool = False
    name: str = ""


@dataclass
class _Keys:
    """One provider's keys as this process knows them."""

    by_name: JsonObject = field(default_factory=dict)
    fetched_at: float = 0.0
    asked_at: float = -float("inf")


_known: dict[str, _Keys] = {}


def configured() -> dict[str, Issuer]:
    """The issuers of TOKEN_ISSUERS, by what their tokens call them."""
    return _configured(tuple(tuple(sorted(_hashable(entry).items())) for entry in settings.TOKEN_ISSUERS))


def find(name: str) -> Issuer | None:
    """The issuer of this name, as its webhooks are addressed."""
    return next((issuer for issuer in configured().values() if issuer.name == name), None)


def verify_token(text: str, *, issuer: Issuer, key_name: str, now: datetime) -> Person:
    """Who a provider's token is about. Raises TokenExpiredError, UnauthenticatedError or IssuerUnavailableError."""
    key = _key(issuer, key_name)
    try:
        claims = jwt.decode(
            text, key, algorithms=ALGORITHMS, audience=issuer.audience, issuer=issuer.issuer, options=OPTIONS
        )
    except (jwt.PyJWTError, TypeError) as error:
        raise UnauthenticatedError(f"This token of {issuer.name} is not valid.") from error
    check_times(claims, now=now)
    return person_from_claims(issuer, claims, subject=str(claims["sub"]))


def person_from_claims(issuer: Issuer, told: Mapping[str, Any], *, subject: str) -> Person:
    """A person as the claims of OpenID Connect describe them. Raises UnauthenticatedError for what cannot be kept."""
    email = told.get("email")
    more = told.get("user_metadata")
    name = told.get("name") or (more.get("name") if isinstance(more, Mapping) else None)
    email = _kept("email", email.strip().lower() if isinstance(email, str) else "", LONGEST_EMAIL)
    if email and not is_email(email):
        raise UnauthenticatedError("The claim email is no e-mail address.")
    return Person(
        issuer=issuer,
        subject=_kept("sub", subject, LONGEST_SUBJECT),
        email=email,
        is_email_verified=bool(email) and told.get("email_verified") is True,
        name=_kept("name", name.strip() if isinstance(name, str) else "", LONGEST_NAME),
    )


def is_email(text: str) -> bool:
    """Whether this looks like an e-mail address."""
    try:
        validate_email(text)
    except ValidationError:
        return False
    return True


def _kept(claim: str, text: str, longest: int) -> str:
    """A claim that the database can keep. (No control characters, NUL or lone surrogates, and not endless.)"""
    if len(text) > longest or not text.isprintable():
        raise UnauthenticatedError(f"The claim {claim} cannot be kept: send at most {longest} printable characters.")
    return text


def forget_keys() -> None:
    """Have this process fetch everybody's keys again."""
    _known.clear()


def _key(issuer: Issuer, key_name: str) -> Any:
    known = _known.setdefault(issuer.issuer, _Keys())
    moment = time.monotonic()
    is_old = moment - known.fetched_at > KEEP_S
    if (key_name not in known.by_name or is_old) and moment - known.asked_at > ASK_AGAIN_S:
        known.asked_at = moment
        try:
            known.by_name = _fetch(issuer)
            known.fetched_at = moment
        except (requests.RequestException, jwt.PyJWTError, ValueError) as error:
            logger.warning("issuer_unreachable", issuer=issuer.name, error=str(error))
    if key_name in known.by_name:
        return known.by_name[key_name]
    if not known.by_name:
        raise IssuerUnavailableError(f"The keys of {issuer.name} cannot be had right now.", retryable=True)
    raise UnauthenticatedError(f"This token was signed with a key that {issuer.name} does not have.")


def _fetch(issuer: Issuer) -> JsonObject:
    url = issuer.jwks_url
    if not url:
        reported = _get(issuer.issuer.rstrip("/") + DISCOVERY)
        if reported.get("issuer") != issuer.issuer:
            raise ValueError(f"it calls itself {reported.get('issuer')!r}")
        url = str(reported["jwks_uri"])
    result = jwt.PyJWKSet.from_dict(_get(url))
    return {key.key_id: key.key for key in result.keys if key.key_id and key.key_type != "oct"}


def _get(url: str) -> JsonObject:
    with requests.get(url, timeout=TIMEOUT_S, stream=True) as answer:
        answer.raise_for_status()
        body = answer.raw.read(LARGEST_ANSWER + 1, decode_content=True)
        if len(body) > LARGEST_ANSWER:
            raise ValueError("its answer is too long")
        answer._content = body  # so that requests decodes what was read
        result = answer.json()
    if not isinstance(result, dict):
        raise TypeError("its answer is no object")
    return result


def _hashable(entry: Mapping[str, Any]) -> JsonObject:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in entry.items()}


@lru_cache(maxsize=4)
def _configured(entries: tuple[tuple[tuple[str, Any], ...], ...]) -> dict[str, Issuer]:
    result = {}
    for entry in entries:
        issuer = Issuer(**dict(entry))
        if unknown := set(issuer.scopes) - {scope.value for scope in ACCOUNT_KEY_SCOPES}:
            raise ValueError(f"TOKEN_ISSUERS: {issuer.name} may not have {', '.join(sorted(unknown))}.")
        result[issuer.issuer] = issuer
    return result
