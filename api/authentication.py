"""Who calls the API, and for whom: keys, browser sessions, scopes, and the `account` field."""

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import cast

import jwt
from django.conf import settings
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from accounts import identities, issuers, keys, opening, tokens
from accounts.errors import (
    AccountClosedError,
    InsufficientScopeError,
    KeyRevokedError,
    SellerOnlyError,
    UnauthenticatedError,
)
from accounts.models import Account, Scope
from common import clock
from common.errors import FieldProblem, InvalidRequestError, NotFoundError
from common.json_types import JsonObject
from common.public_ids import MalformedIdError, parse_id, public_id
from common.sides import Side

HOW_TO_SEND = "Send an API key as: Authorization: Bearer tg_…"
DOTS_OF_A_TOKEN = 2
EXTERNAL_PREFIX = "ext:"
LONGEST_SUBJECT = 255


@dataclass(frozen=True, kw_only=True)
class Caller:
    """An authenticated API client. DRF keeps it as `request.user`."""

    account: Account | None
    scopes: frozenset[str]
    actor: str  # who did it, for the ledger: `key_...` or `user:...`
    grants_per_day: int | None = None  # of a key that has a limit of its own
    is_approved: bool = False  # a key that was made on the server, or that a second person has approved
    is_token: bool = False  # a token makes no further token: it would never end

    is_authenticated = True

    @property
    def side(self) -> Side:
        """The seller's are service keys alone. A token is the buyer's, whoever made it: it leaves the server."""
        return Side.SELLER if self.account is None and not self.is_token else Side.BUYER

    def account_for(self, named: str, *, now: datetime, is_checked_later: bool = False) -> Account:
        """The account to act for: the caller's own, or the one a service key names.

        Raises InvalidRequestError when the name is missing or unneeded, NotFoundError when there is no such account,
        and AccountClosedError for one that was closed (`is_checked_later`: the ledger refuses it by itself).
        """
        account = self._account_named(named, now=now)
        if "closed_at" not in account.get_deferred_fields():
            is_open = account.closed_at is None
        else:  # a token's: its account was not read
            is_open = is_checked_later or opening.is_open(account.pk)
        if not is_open:
            raise AccountClosedError
        return account

    def _account_named(self, named: str, *, now: datetime) -> Account:
        if self.account is not None:
            if named and named != self.account.public_id:
                raise NotFoundError("There is no such account for this key.")
            return self.account
        if not named:
            raise _account_problem("required", "A service key names the account: acc_… or ext:<your user id>.")
        if named.startswith(EXTERNAL_PREFIX):
            return self._external_account(named.removeprefix(EXTERNAL_PREFIX), now=now)
        try:
            account = opening.find_account(parse_id("acc", named))
        except MalformedIdError:
            raise _account_problem("invalid", "Name an account as acc_… or ext:<your user id>.") from None
        if account is None:
            raise NotFoundError("There is no such account.")
        return account

    def _external_account(self, subject: str, *, now: datetime) -> Account:
        if not subject.isprintable() or not 0 < len(subject) <= LONGEST_SUBJECT:
            raise _account_problem("invalid", f"After ext: come 1 to {LONGEST_SUBJECT} printable characters.")
        if account := opening.find_external_account(subject):
            return account
        if Scope.ACCOUNTS_WRITE not in self.scopes:
            raise NotFoundError("There is no such account, and this key may not open one (accounts:write).")
        return opening.external_account(subject=subject, now=now)


class BearerAuthentication(BaseAuthentication):
    """`Authorization: Bearer …`: an API key (`tg_…`), a token of ours, or one of an issuer that is trusted."""

    def authenticate(self, request: Request) -> tuple[Caller, None] | None:
        scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
        if not scheme:
            return None
        secret = secret.strip()
        if scheme.lower() != "bearer" or not secret.isascii():
            raise UnauthenticatedError(HOW_TO_SEND)
        now = clock.now()
        if secret.count(".") == DOTS_OF_A_TOKEN and not secret.startswith(keys.PREFIXES):
            return _caller_of_token(secret, now=now), None
        return _caller_of_key(secret, now=now), None

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="api"'


class BrowserSessionAuthentication(SessionAuthentication):
    """Our own pages: the signed-in user acts for their personal account, with CSRF protection.

    A guest from an app is no caller: the app is, with its key.
    """

    def authenticate(self, request: Request) -> tuple[Caller, None] | None:
        result = super().authenticate(request)
        if result is None:
            return None
        user = result[0]
        if user.is_guest:
            return None
        account = opening.personal_account(user=user, now=clock.now())
        return Caller(account=account, scopes=frozenset(keys.ACCOUNT_KEY_SCOPES), actor=f"user:{user.pk}"), None


class HasScope(BasePermission):
    """Lets a caller through who has the view's `required_scope`; a view without one is refused to all."""

    def has_permission(self, request: Request, view: object) -> bool:
        caller: object = request.user
        if not isinstance(caller, Caller):
            raise UnauthenticatedError(HOW_TO_SEND)
        scope: str = getattr(view, "required_scope")  # noqa: B009 - a view without one is a fault
        if getattr(view, "is_seller_only", False) and caller.side != Side.SELLER and not settings.BUYERS_MAY_UNDO:
            raise SellerOnlyError
        if scope not in caller.scopes:
            raise InsufficientScopeError(f"This key lacks the scope {scope}.", required_scope=scope)
        return True


class IsCaller(BasePermission):
    """Lets anybody through who is somebody."""

    def has_permission(self, request: Request, view: object) -> bool:
        caller: object = request.user
        if not isinstance(caller, Caller):
            raise UnauthenticatedError(HOW_TO_SEND)
        return True


def caller_of(request: Request) -> Caller:
    """Who is calling; HasScope has seen to it that there is somebody."""
    return cast(Caller, request.user)


def account_of(request: Request, *, now: datetime, is_checked_later: bool = False) -> Account:
    """The account that the request acts for: the key's own, or the one that a service key names."""
    body = request.data if isinstance(request.data, dict) else {}
    in_body, in_query = body.get("account"), request.query_params.get("account")
    named = in_body or in_query or ""
    if in_body and in_query and in_body != in_query:
        detail = "The body names another account than the query. Name it once."
        raise InvalidRequestError(FieldProblem(pointer="/account", code="ambiguous", detail=detail))
    if not isinstance(named, str):
        raise InvalidRequestError(FieldProblem(pointer="/account", code="invalid", detail="Send it as text."))
    return caller_of(request).account_for(named, now=now, is_checked_later=is_checked_later)


def _caller_of_key(secret: str, *, now: datetime) -> Caller:
    key = keys.find_key(secret)
    if key is None:
        raise UnauthenticatedError("This key is not known. Make one on the API keys page.")
    if key.revoked_at is not None:
        raise KeyRevokedError("This key was revoked. Make a new one on the API keys page.")
    if key.expires_at and key.expires_at <= now:
        raise KeyRevokedError("This key has expired. Make a new one on the API keys page.")
    if not key.is_owned:
        raise KeyRevokedError("Who this key belongs to can no longer sign in. Make a new one with a working login.")
    keys.record_use(key=key, today=now.date())
    account = Account.from_db(None, ["id", "closed_at"], [key.account_id, key.closed_at]) if key.account_id else None
    return Caller(
        account=account,
        scopes=key.may,
        actor=public_id("key", key.id),
        grants_per_day=key.grants_per_day,
        is_approved=key.grants_approved_at is not None,
    )


def _caller_of_own_token(text: str, *, now: datetime) -> Caller:
    own = tokens.read(text, now=now)
    return Caller(account=_known_account(own.account_id), scopes=own.scopes, actor=own.actor, is_token=True)


def _known_account(account_id: uuid.UUID | None) -> Account | None:
    """An account that there is. The rest of its row is read when somebody asks for it: a spend does not."""
    return Account.from_db(None, ["id"], [account_id]) if account_id is not None else None


def _caller_of_token(text: str, *, now: datetime) -> Caller:
    if tokens.is_verified(text):
        return _caller_of_own_token(text, now=now)
    header, claims = _unverified(text)
    key_name = header.get("kid")
    if not isinstance(key_name, str):
        raise UnauthenticatedError("This token does not name the key that signed it.")
    if claims.get("iss") == settings.BASE_URL:
        return _caller_of_own_token(text, now=now)
    issuer = issuers.configured().get(str(claims.get("iss")))
    if issuer is None:
        raise UnauthenticatedError("Tokens of this issuer are not taken here.")
    person = issuers.verify_token(text, issuer=issuer, key_name=key_name, now=now)
    account = identities.account_of(person, now=now)
    return Caller(account=account, scopes=frozenset(issuer.scopes), actor=account.public_id, is_token=True)


def _unverified(text: str) -> tuple[JsonObject, JsonObject]:
    """What a token says of itself, to find out who has to confirm it."""
    if len(text) > tokens.LARGEST_TOKEN:
        raise UnauthenticatedError("This token is too long.")
    try:
        result = jwt.api_jwt.decode_complete(text, options={"verify_signature": False})
    except (jwt.PyJWTError, RecursionError, ValueError) as error:
        raise UnauthenticatedError("This is no token.") from error
    return result["header"], result["payload"]


def _account_problem(code: str, detail: str) -> InvalidRequestError:
    return InvalidRequestError(FieldProblem(pointer="/account", code=code, detail=detail))
