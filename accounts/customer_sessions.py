"""Customer sessions: a signed link, opened once and soon, lets a user of the seller's app into the hosted pages.

For accounts of the app (`ext:…`), whose users have no login here. The link is not stored; that it was used is.
"""

import secrets
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.core import signing
from django.db import IntegrityError, transaction
from django.http import HttpRequest

from accounts.errors import AccountHasLoginError
from accounts.models import Account, Membership, UsedCustomerSession, User
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
    try:
        said = signing.loads(token, salt=SALT)
    except signing.BadSignature as error:
        raise LinkOverError from error
    account = Account.objects.filter(pk=uuid.UUID(said["a"]), closed_at=None).first()
    if account is None or said["e"] < now.timestamp():
        raise LinkOverError
    try:
        with transaction.atomic():
            UsedCustomerSession.objects.create(nonce=said["n"], account=account, used_at=now)
            user = _guest_of(account, now=now)
    except IntegrityError as error:
        raise LinkOverError from error
    return Visit(user=user, account=account, page=PAGES.get(said["p"], "dashboard"), return_url=said["r"])


def forget_used(*, before: datetime) -> int:
    """Forget the links that were opened then: they have long been too old to open again. How many."""
    forgotten, _ = UsedCustomerSession.objects.filter(used_at__lt=before).delete()
    return forgotten


def is_guest(request: HttpRequest) -> bool:
    """Whether somebody is here by a customer session."""
    user = getattr(request, "user", None)  # none yet, where a page is answered before anybody is looked for
    return isinstance(user, User) and user.is_guest


def _guest_of(account: Account, *, now: datetime) -> User:
    """The user that stands for the app's user on the pages: made on the first visit."""
    Account.objects.select_for_update(no_key=True).get(pk=account.pk)  # of two first visits, one makes it
    known = account.memberships.filter(user__is_guest=True).select_related("user").first()
    if known is not None:
        return known.user
    user = User.objects.create_user(f"{account.public_id}@{NO_MAIL}", is_guest=True, date_joined=now)
    Membership.objects.create(account=account, user=user, role=Membership.Role.OWNER, is_personal=True, created_at=now)
    return user
