"""API keys: made, shown once, looked up by hash, rotated and revoked."""

import hashlib
import secrets
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from django.conf import settings
from django.db.models import Q, QuerySet

from accounts import teams
from accounts.models import Account, ApiKey, Scope, User
from accounts.signals import key_created
from common import prepared_statements
from common.errors import ApiError
from common.public_ids import MalformedIdError, parse_id

PREFIXES = ("tg_live_", "tg_test_")
SECRET_BYTES = 32
PREFIX_LENGTH = 12  # shown in lists, to tell keys apart
ROTATION_OVERLAP = timedelta(hours=24)

# What a customer's own key may do; granting and acting for others stay with service keys.
ACCOUNT_KEY_SCOPES = (Scope.CREDITS_READ, Scope.CREDITS_SPEND, Scope.BILLING_WRITE, Scope.USAGE_READ)
SERVICE_KEY_SCOPES = tuple(Scope)
# What a token may do unless more is asked for by name: it lives in browsers and phones.
TOKEN_SCOPES = (Scope.CREDITS_READ, Scope.USAGE_READ)


# Sent with each request that shows a key: a revoked one stops at once, on every process.
FIND = """SELECT k.id, k.account_id, k.scopes, k.expires_at, k.revoked_at, k.last_used_on, k.grants_approved_at,
                 k.grants_per_day, a.closed_at,
                 k.account_id IS NULL
                     OR (coalesce(maker.is_active, true) AND coalesce(owner.is_active, true)) AS is_owned
          FROM accounts_apikey k
          LEFT JOIN accounts_account a ON a.id = k.account_id
          LEFT JOIN accounts_user maker ON maker.id = k.created_by_id
          LEFT JOIN accounts_membership m ON m.account_id = k.account_id AND m.is_personal
          LEFT JOIN accounts_user owner ON owner.id = m.user_id
          WHERE k.secret_hash = %s"""


@dataclass(frozen=True, kw_only=True)
class KeyLookup:
    """What a request has to know of the key that it shows."""

    id: uuid.UUID
    account_id: uuid.UUID | None
    scopes: list[str]
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_on: date | None
    grants_approved_at: datetime | None
    grants_per_day: int | None
    closed_at: datetime | None  # of its account
    is_owned: bool  # whether who made it, and whose account it is, may still sign in

    @property
    def may(self) -> frozenset[str]:
        """Its scopes; granting only once a second person approved it."""
        if self.grants_approved_at is None:
            return frozenset(self.scopes) - {Scope.CREDITS_GRANT}
        return frozenset(self.scopes)


class TooManyKeysError(ApiError):
    """The account has as many working keys as it may have."""

    code = "too_many_keys"
    title = "Enough keys"
    status_code = 409

    def __init__(self) -> None:
        super().__init__(f"An account has at most {settings.MAX_API_KEYS_PER_ACCOUNT} keys. Revoke one first.")


class KeyApprovalRefusedError(ApiError):
    """A key that grants credits is approved by somebody else than who made it."""

    code = "key_approval_refused"
    title = "This key cannot be approved by you"
    status_code = 403


class KeyNotWorkingError(ApiError):
    """A key that was revoked, or has expired, is not followed by another."""

    code = "key_not_working"
    title = "This key no longer works"
    status_code = 409

    def __init__(self) -> None:
        super().__init__("This key was revoked or has expired. Make a new one.")


@dataclass(frozen=True)
class NewKey:
    """A key and its secret, which exists only here: the database has its hash."""

    key: ApiKey
    secret: str


def create_key(
    *,
    account: Account | None,
    name: str,
    scopes: Sequence[str],
    created_by: User | None,
    now: datetime,
    expires_at: datetime | None = None,
    grants_per_day: int | None = None,
    follows: ApiKey | None = None,
) -> NewKey:
    """Make a key for `account`, or a service key when there is none; `follows` is the one whose place it takes.

    A service key that somebody made grants credits once a second person approved it; one that was made on the server
    itself (without `created_by`) does so at once.

    Raises TooManyKeysError when the account has reached MAX_API_KEYS_PER_ACCOUNT.
    """
    if account is not None:
        if working_keys(account, now=now).count() >= settings.MAX_API_KEYS_PER_ACCOUNT:
            raise TooManyKeysError
        forbidden = set(scopes) - set(ACCOUNT_KEY_SCOPES)
        if forbidden:
            raise ValueError(f"An account key may not have {', '.join(sorted(forbidden))}.")
    mode = "live" if settings.STRIPE_LIVE_MODE else "test"
    secret = f"tg_{mode}_{secrets.token_urlsafe(SECRET_BYTES).replace('-', 'A').replace('_', 'B')}"
    key = ApiKey.objects.create(
        account=account,
        name=name,
        prefix=secret[:PREFIX_LENGTH],
        last4=secret[-4:],
        secret_hash=_hash(secret),
        scopes=sorted(scopes),
        created_by=created_by,
        created_at=now,
        expires_at=expires_at,
        grants_approved_at=now if created_by is None else None,
        grants_per_day=grants_per_day,
        follows=follows,
    )
    if account is not None:
        key_created.send(sender=ApiKey, key=key, follows=follows, now=now)
    return NewKey(key=key, secret=secret)


def approve_grants(*, key: ApiKey, approved_by: User, now: datetime) -> None:
    """Let a service key grant credits. A second call changes nothing.

    Raises KeyApprovalRefusedError for who made the key, and KeyNotWorkingError.
    """
    if key.is_revoked or (key.expires_at is not None and key.expires_at <= now):
        raise KeyNotWorkingError
    if approved_by.pk == key.created_by_id:
        raise KeyApprovalRefusedError("Somebody else than who made the key approves it.")
    ApiKey.objects.filter(pk=key.pk, grants_approved_at=None).update(
        grants_approved_at=now, grants_approved_by=approved_by
    )


def is_of_member(actor: str, account: Account) -> bool:
    """Whether the key that acts as `actor` was made or approved by somebody of this account (teams.is_of)."""
    try:
        key = ApiKey.objects.filter(pk=parse_id("key", actor)).first()
    except MalformedIdError:
        return False
    people = [key.created_by, key.grants_approved_by] if key else []
    return any(teams.is_of(person, [account]) for person in people if person)


def find_key(secret: str) -> KeyLookup | None:
    """What the key with this secret may do, working or not."""
    row = prepared_statements.fetch_one(FIND, [_hash(secret)])
    return KeyLookup(**row) if row else None


def working_keys(account: Account, *, now: datetime) -> QuerySet[ApiKey]:
    """The keys of an account that are neither revoked nor expired."""
    return account.api_keys.filter(revoked_at=None).filter(_not_expired(now))


def revoke_key(*, key: ApiKey, now: datetime) -> None:
    """Stop a key at once, on every process. A second call changes nothing."""
    ApiKey.objects.filter(pk=key.pk, revoked_at=None).update(revoked_at=now)


def rotate_key(*, key: ApiKey, created_by: User | None, now: datetime) -> NewKey:
    """A new key with the same rights and the same end; the old one works on for ROTATION_OVERLAP.

    Granting is approved again: who rotates a key has its secret.

    Raises KeyNotWorkingError for one that was revoked or has expired, and TooManyKeysError.
    """
    if key.is_revoked or (key.expires_at is not None and key.expires_at <= now):
        raise KeyNotWorkingError
    ends_at = now + ROTATION_OVERLAP
    new = create_key(
        account=key.account,
        name=key.name,
        scopes=key.scopes,
        created_by=created_by,
        expires_at=key.expires_at,
        grants_per_day=key.grants_per_day,
        follows=key,
        now=now,
    )
    ApiKey.objects.filter(pk=key.pk).filter(Q(expires_at=None) | Q(expires_at__gt=ends_at)).update(expires_at=ends_at)
    return new


def rotations_of(key: ApiKey) -> list[ApiKey]:
    """A key with those that it was rotated from, and to."""
    result, waiting = {key.pk: key}, [key]
    while waiting:
        each = waiting.pop()
        near = ApiKey.objects.filter(Q(pk=each.follows_id) | Q(follows=each)).exclude(pk__in=result)
        for other in near:
            result[other.pk] = other
            waiting.append(other)
    return list(result.values())


def record_use(*, key: KeyLookup, today: date) -> None:
    """Remember the day of the last use; at most one write a day, so that the hot path has none."""
    if key.last_used_on != today:
        ApiKey.objects.filter(pk=key.id).update(last_used_on=today)


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def _not_expired(now: datetime) -> Q:
    return Q(expires_at=None) | Q(expires_at__gt=now)
