"""For which account somebody is here: their own, or a team's that they chose; and what they may do there."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, cast
from zoneinfo import ZoneInfo

from django.contrib.auth.decorators import login_required
from django.db.models import Q
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import render
from django.utils import timezone

from accounts import impersonation, opening
from accounts.models import Account, Membership, User
from common import clock
from credits import selectors

Role = Membership.Role

CHOSEN = "acting_account"  # in the session
ATTRIBUTE = "_acting"
BALANCE = "_acting_balance"

View = Callable[..., HttpResponseBase]


@dataclass(frozen=True, kw_only=True)
class AccountContext:
    """One person in one account, and the accounts that they could change to."""

    membership: Membership
    others: tuple[Account, ...]
    is_looking: bool = False  # staff, who see what the customer sees

    @property
    def account(self) -> Account:
        return self.membership.account

    @property
    def is_admin(self) -> bool:
        """Whether they may buy, and manage keys and members."""
        return self.membership.role in (Role.OWNER, Role.ADMIN)

    @property
    def is_owner(self) -> bool:
        return self.membership.role == Role.OWNER

    @property
    def is_team(self) -> bool:
        return self.account.kind == Account.Kind.TEAM


def account_context(request: HttpRequest) -> AccountContext:
    """Who is here for whom; looked up once a request. A team that they left is their own account again."""
    known: AccountContext | None = getattr(request, ATTRIBUTE, None)
    if known is None:
        known = _found(request)
        setattr(request, ATTRIBUTE, known)
        # Days and moments of the page are the account's own, until `portal.time_zone` puts an end to it.
        timezone.activate(ZoneInfo(known.account.time_zone))
    return known


def current_account(request: HttpRequest) -> Account:
    """The account that the page is about."""
    return account_context(request).account


def current_balance(request: HttpRequest) -> selectors.Balance:
    """What that account has now; looked up once a request, so for pages that change nothing."""
    known: selectors.Balance | None = getattr(request, BALANCE, None)
    if known is None:
        known = selectors.balance(account_id=current_account(request).pk, now=clock.now())
        setattr(request, BALANCE, known)
    return known


def switch_account(request: HttpRequest, account_id: uuid.UUID) -> bool:
    """Go on for another account of one's own; whether it is one."""
    if not _memberships(request).filter(account_id=account_id).exists():
        return False
    request.session[CHOSEN] = str(account_id)
    if hasattr(request, ATTRIBUTE):
        delattr(request, ATTRIBUTE)
    return True


def admins_only(view: View) -> View:
    """For owners and admins of the account; a member is shown whom to ask."""
    return _for(view, lambda who: who.is_admin)


def owners_only(view: View) -> View:
    """For owners of the account."""
    return _for(view, lambda who: who.is_owner)


def _for(view: View, may: Callable[[AccountContext], bool]) -> View:
    @wraps(view)
    def checked(request: HttpRequest, *arguments: Any, **named: Any) -> HttpResponseBase:
        who = account_context(request)
        if may(who):
            return view(request, *arguments, **named)
        owners = who.account.memberships.filter(role=Role.OWNER).select_related("user")
        shown = {"owners": [owner.user for owner in owners]}
        return render(request, "portal/not_for_members.html", shown, status=403)

    return login_required(checked)


def _found(request: HttpRequest) -> AccountContext:
    user = cast(User, request.user)
    if (account := impersonation.impersonated_account(request)) is not None:
        # Never saved: an owner's pages, and portal.impersonation lets nothing be changed on them.
        looked_at = Membership(account=account, user=user, role=Role.OWNER)
        return AccountContext(membership=looked_at, others=(), is_looking=True)
    rows = list(_memberships(request))
    if not any(row.is_personal for row in rows):
        opening.personal_account(user=user, now=clock.now())
        rows = list(_memberships(request))
    chosen = request.session.get(CHOSEN, "")
    here = next((row for row in rows if str(row.account_id) == chosen), None)
    # Their own; one that was merged into another is closed, and they are in that.
    here = here or min(rows, key=lambda row: (row.account.closed_at is not None, not row.is_personal))
    return AccountContext(membership=here, others=tuple(row.account for row in rows if row is not here))


def _memberships(request: HttpRequest) -> Any:
    mine = Membership.objects.filter(Q(account__closed_at=None) | Q(is_personal=True), user=cast(User, request.user))
    return mine.select_related("account").order_by("-is_personal", "account__name")
