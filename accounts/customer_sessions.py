"""Customer sessions: a signed link, opened once and soon, lets a user of the seller's app into the hosted pages.

For accounts of the app (`ext:…`), whose users have no login here. The link is not stored; that it was used is.
"""

import secrets
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.core import signing
from django.db import transaction
from django.http import HttpRequest

from accounts.errors import AccountHasLoginError
from accounts.models import Account, Membership, UsedCustomerSession, User
from common.json_types import JsonObject
from common.urls import absolute_url

LINK_FOR = timedelta(minutes=15)
SESSION_FOR = timedelta(hours=1)
# What a link may lead to, and the page that is.
PAGES = {
    "overview": "dashboard", "credits": "credits", "billing": "billing", "usage": "usage",
    "transactions": "transactions",
}  # fmt: skip
RETURN_URL = "customer_session_return"  # in the session: where the app wants them back
SALT = "accounts.customer-session"
NO_MAIL = "guest.invalid"  # a name that no mail reaches (RFC 2606)


class LinkOverError(Exception):
    """This link was opened, is too old, or is none."""


@dataclass(frozen=True, kw_only=True)
class Link:
    """A link, and until when it opens."""

    url: str
    expires_at: datetime


@dataclass(frozen=True, kw_only=True)
class Visit:
    """Who comes in by a link, to which page, and where they return to."""

    user: User
    account: Account
    page: str
    return_url: str


def create_link(account: Account, *, page: str = "overview", return_url: str = "", now: datetime) -> Link:
    """A link into the account's pages. Raises AccountHasLoginError where people sign in by themselves."""
    if account.kind != Account.Kind.EXTERNAL:
        raise AccountHasLoginError("Whoever owns it signs in by themselves. Send them to the sign-in page.")
    until = now + LINK_FOR
    said = {"a": account.pk.hex, "n": secrets.token_hex(16), "p": page, "r": return_url, "e": int(until.timestamp())}
    return Link(url=absolute_url("customer-session", signing.dumps(said, salt=SALT)), expires_at=until)


def open_link(token: str, *, now: datetime) -> Visit:
    """Take a link: once, in its time, for an account that is there. Raises LinkOverError."""
    said = _read(token)
    account = _account_of(said)
    if said is None or account is None or said["e"] < now.timestamp():
        raise LinkOverError
    with transaction.atomic():
        _, is_new = UsedCustomerSession.objects.get_or_create(
            nonce=said["n"], defaults={"account": account, "used_at": now}
        )
        if not is_new:
            raise LinkOverError
        user = _guest_of(account, now=now)
    return Visit(user=user, account=account, page=PAGES.get(said["p"], "dashboard"), return_url=said["r"])


def account_of_link(token: str) -> Account | None:
    """Whose pages a link opens; None for what is none, or for an account that is closed."""
    return _account_of(_read(token))


def _account_of(said: JsonObject | None) -> Account | None:
    return Account.objects.filter(pk=uuid.UUID(said["a"]), closed_at=None).first() if said else None


def _read(token: str) -> JsonObject | None:
    try:
        said: JsonObject = signing.loads(token, salt=SALT)
    except signing.BadSignature:
        return None
    return said


def forget_used(*, before: datetime) -> int:
    """Forget the links that were opened then: they have long been too old to open again. How many."""
    forgotten, _ = UsedCustomerSession.objects.filter(used_at__lt=before).delete()
    return forgotten


def is_guest(request: HttpRequest) -> bool:
    """Whether somebody is here by a customer session."""
    user = getattr(request, "user", None)  # none yet, where a page is answered before anybody is looked for
    return isinstance(user, User) and user.is_guest


def _guest_of(account: Account, *, now: datetime) -> User:
    """The user that stands for the app's user on the pages: made on the first visit. Raises LinkOverError."""
    # Of two first visits, one makes it; and one that waited for the account to be erased makes none.
    if Account.objects.select_for_update(no_key=True).filter(pk=account.pk, closed_at=None).first() is None:
        raise LinkOverError
    known = account.memberships.filter(user__is_guest=True, is_personal=True).select_related("user").first()
    if known is not None:
        return known.user
    # Not to be guessed: whoever signed up with the address would keep the guest out.
    address = f"{account.public_id}.{secrets.token_hex(8)}@{NO_MAIL}"
    user = User.objects.create_user(address, is_guest=True, date_joined=now)
    Membership.objects.create(account=account, user=user, role=Membership.Role.OWNER, is_personal=True, created_at=now)
    return user
