"""Teams: an account that several people share. Who is in it, with which role, and who was asked to join.

Every change locks the account's row, so that seats are not taken twice and an owner always remains.
"""

import uuid
from collections.abc import Iterable
from datetime import datetime, timedelta

from django.conf import settings
from django.core.signing import BadSignature, Signer
from django.db import transaction
from django.db.models import QuerySet
from django.utils.translation import gettext as _

from accounts.errors import TeamError
from accounts.models import Account, ApiKey, Invitation, Membership, User
from accounts.signals import account_opened, member_invited
from common.public_ids import MalformedIdError, parse_id

Role = Membership.Role

INVITATION_LASTS = timedelta(days=14)
_LINK = Signer(salt="accounts.invitation")


def create_team(*, name: str, owner: User, language: str, time_zone: str, now: datetime) -> Account:
    """A new account for several people, with its first owner. Raises TeamError when they have enough teams."""
    with transaction.atomic():
        # The user's row is the lock: two clicks cannot both be the last team that is allowed.
        User.objects.select_for_update().get(pk=owner.pk)
        owned = Membership.objects.filter(user=owner, role=Role.OWNER, account__kind=Account.Kind.TEAM)
        if owned.filter(account__closed_at=None).count() >= settings.MAX_TEAMS_PER_USER:
            raise TeamError(_("You own %d teams already; that is the most.") % settings.MAX_TEAMS_PER_USER)
        account = Account.objects.create(
            kind=Account.Kind.TEAM,
            name=name,
            email=owner.email,
            language=language,
            time_zone=time_zone,
            created_at=now,
        )
        Membership.objects.create(account=account, user=owner, role=Role.OWNER, created_at=now)
        account_opened.send(sender=Account, account=account, now=now, is_proven=True)
    return account


def is_of(person: User, accounts: Iterable[Account | uuid.UUID]) -> bool:
    """Whether somebody is a member of one of these accounts, was invited to it, or holds a key of it: who leaves a team
    for a minute is still of it."""
    own = list(accounts)
    return (
        person.memberships.filter(account__in=own).exists()
        or Invitation.objects.filter(email=person.email, account__in=own, ended_at=None).exists()
        or ApiKey.objects.filter(created_by=person, account__in=own, revoked_at=None).exists()
    )


def open_invitations(account: Account, *, now: datetime) -> QuerySet[Invitation]:
    """Those that can still be taken, the first to be sent first."""
    return account.invitations.filter(ended_at=None, expires_at__gt=now).order_by("created_at")


def seats_taken(account: Account, *, now: datetime) -> int:
    """Members, and those who were asked to join."""
    members: int = account.memberships.count()
    return members + int(open_invitations(account, now=now).count())


def invite(*, account: Account, email: str, role: str, by: User, seats: int, now: datetime) -> Invitation:
    """Ask somebody to join; who was asked before is sent the question once more. Raises TeamError."""
    email = email.strip().lower()
    with transaction.atomic():
        _lock(account)
        if account.kind != Account.Kind.TEAM or role not in (Role.ADMIN, Role.MEMBER):
            raise TeamError(_("Nobody can be invited to this."))
        if account.memberships.filter(user__email=email).exists():
            raise TeamError(_("%s is a member already.") % email)
        known = account.invitations.filter(email=email, ended_at=None)
        known.filter(expires_at__lte=now).update(ended_at=now)
        if not known.exists() and seats_taken(account, now=now) >= seats:
            raise TeamError(_("All %d seats of your plan are taken. Change the plan, or make room.") % seats)
        invitation, _made = Invitation.objects.update_or_create(
            account=account,
            email=email,
            ended_at=None,
            defaults={
                "role": role,
                "invited_by": by,
                "expires_at": now + INVITATION_LASTS,
                "created_at": now,
            },
        )
        member_invited.send(sender=Invitation, invitation=invitation, now=now)
    return invitation


def withdraw(*, account: Account, invitation_id: uuid.UUID, now: datetime) -> None:
    """Take an invitation back; one that is over stays so."""
    account.invitations.filter(pk=invitation_id, ended_at=None).update(ended_at=now)


def link_of(invitation_id: str) -> str:
    """What the address of an invitation (`inv_...`) ends with: nobody can make one up, and nothing secret is kept."""
    return _LINK.sign(invitation_id)


def find_invitation(link: str, *, now: datetime) -> Invitation | None:
    """The invitation that a link is for, if it can still be taken."""
    try:
        identifier = parse_id("inv", _LINK.unsign(link))
    except (BadSignature, MalformedIdError):
        return None
    result = Invitation.objects.filter(pk=identifier, ended_at=None, expires_at__gt=now, account__closed_at=None)
    return result.select_related("account", "invited_by").first()


def accept(*, invitation: Invitation, user: User, now: datetime) -> Membership:
    """Take the place. A second call answers the first one's membership.

    Raises TeamError when it was sent to somebody else, or is over.
    """
    if user.email != invitation.email:
        raise TeamError(_("This invitation was sent to %s. Sign in with that address to take it.") % invitation.email)
    with transaction.atomic():
        _lock(invitation.account)
        current = Invitation.objects.get(pk=invitation.pk)
        known = Membership.objects.filter(account=invitation.account, user=user).first()
        if known is not None:
            return known
        if current.ended_at is not None or current.expires_at <= now:
            raise TeamError(_("This invitation is over. Ask for a new one."))
        Invitation.objects.filter(pk=current.pk).update(ended_at=now)
        return Membership.objects.create(account=invitation.account, user=user, role=current.role, created_at=now)


def change_role(*, account: Account, membership_id: int, role: str, by: Membership) -> Membership:
    """Give a member another role. Only owners make owners, or change one. Raises TeamError."""
    with transaction.atomic():
        _lock(account)
        member = _member(account, membership_id)
        if role not in Role.values:
            raise TeamError(_("There is no such role."))
        if Role.OWNER in (member.role, role) and by.role != Role.OWNER:
            raise TeamError(_("Only an owner can do that."))
        if role != Role.OWNER:
            _check_an_owner_remains(account, without=member)
        member.role = role
        member.save(update_fields=["role"])
    return member


def remove(*, account: Account, membership_id: int, by: Membership) -> Membership:
    """Take somebody out of the team, or leave it. Raises TeamError."""
    with transaction.atomic():
        _lock(account)
        member = _member(account, membership_id)
        if member.role == Role.OWNER and by.role != Role.OWNER:
            raise TeamError(_("Only an owner can do that."))
        _check_an_owner_remains(account, without=member)
        Membership.objects.filter(pk=member.pk).delete()
    return member


def owned_alone(user: User) -> list[Account]:
    """The open teams that would have no owner without this user."""
    owned = Account.objects.filter(
        kind=Account.Kind.TEAM, closed_at=None, memberships__user=user, memberships__role=Role.OWNER
    )
    others = Membership.objects.filter(role=Role.OWNER).exclude(user=user).values("account")
    return list(owned.exclude(pk__in=others))


def _member(account: Account, membership_id: int) -> Membership:
    member = account.memberships.filter(pk=membership_id).select_related("user").first()
    if member is None:
        raise TeamError(_("That person is not in the team any more."))
    return member


def _check_an_owner_remains(account: Account, *, without: Membership) -> None:
    if not account.memberships.filter(role=Role.OWNER).exclude(pk=without.pk).exists():
        raise TeamError(_("A team needs an owner. Make somebody else one first."))


def _lock(account: Account) -> None:
    Account.objects.select_for_update().get(pk=account.pk)
