"""People whom another system knows: opened here on first sight, kept in step, and let go when they are gone there."""

from datetime import datetime

from allauth.account.models import EmailAddress
from django.db import transaction

from accounts import opening
from accounts.errors import UnauthenticatedError
from accounts.issuers import Person
from accounts.models import Account, ExternalIdentity, User
from accounts.signals import account_opened

LONGEST_SUBJECT = 255


def account_of(person: Person, *, now: datetime) -> Account:
    """The account of somebody who shows a token, opened on first sight with its user.

    Raises UnauthenticatedError for somebody whom the other system has deleted.
    """
    found = _identity(person) or _open(person, now=now)
    if found.ended_at is not None:
        raise UnauthenticatedError("This user is gone.")
    return found.account


def keep_in_step(person: Person, *, told_at: datetime) -> bool:
    """What the other system says of somebody now. False for what is older than what was heard before."""
    if _identity(person) is None:
        _open(person, now=told_at)
    with transaction.atomic():
        found = _lock(person)
        if found.ended_at is not None or found.told_at > told_at:
            return False
        found.told_at = told_at
        found.save(update_fields=["told_at"])
        account, user = found.account, found.user
        account.name, account.email = person.name or account.name, person.email or account.email
        account.save(update_fields=["name", "email"])
        if user is not None:
            _follow(user, person)
    return True


def end(person: Person, *, told_at: datetime, now: datetime) -> None:
    """The other system has deleted somebody: nothing of theirs opens anything here. The ledger stays."""
    if _identity(person) is None:
        _open(person, now=told_at)  # so that a creation that is told of later is known to be old
    with transaction.atomic():
        found = _lock(person)
        if found.ended_at is not None:
            return
        found.ended_at = now
        found.save(update_fields=["ended_at"])
        found.account.api_keys.filter(revoked_at=None).update(revoked_at=now)
        if found.user is not None:
            User.objects.filter(pk=found.user.pk).update(is_active=False)


def _identity(person: Person) -> ExternalIdentity | None:
    rows = ExternalIdentity.objects.select_related("account", "user")
    return rows.filter(issuer=person.issuer.issuer, subject=person.subject).first()


def _lock(person: Person) -> ExternalIdentity:
    rows = ExternalIdentity.objects.select_for_update(of=("self",)).select_related("account", "user")
    return rows.get(issuer=person.issuer.issuer, subject=person.subject)


def _open(person: Person, *, now: datetime) -> ExternalIdentity:
    """The identity, its account and its user. Of two calls at once, the second finds what the first opened."""
    if not person.subject.isprintable() or not 0 < len(person.subject) <= LONGEST_SUBJECT:
        raise UnauthenticatedError("This token names its user in a way that cannot be kept.")
    with transaction.atomic():
        user = _user_for(person)
        if user is not None:
            account = opening.personal_account(user=user, now=now)
        else:
            account = Account.objects.create(name=person.name, email=person.email, created_at=now)
        found, is_new = ExternalIdentity.objects.get_or_create(
            issuer=person.issuer.issuer,
            subject=person.subject,
            defaults={"account": account, "user": user, "created_at": now, "told_at": now},
        )
        if is_new:
            if user is None:
                account_opened.send(sender=Account, account=account, now=now)
            return found
        transaction.set_rollback(True)
    known = _identity(person)
    assert known is not None  # noqa: S101 - somebody else has just made it
    return known


def _user_for(person: Person) -> User | None:
    """A user for a new identity: the one with this e-mail address where both sides have verified it, else a new one.

    None where the address is somebody's here and one side has not verified it: that would hand an account over.
    """
    if not person.email:
        return None
    known = User.objects.select_for_update().filter(email=person.email).first()
    if known is None:
        user, is_new = User.objects.get_or_create(email=person.email, defaults={"name": person.name[:150]})
        if is_new:
            user.set_unusable_password()
            user.save(update_fields=["password"])
            EmailAddress.objects.create(user=user, email=person.email, verified=person.is_email_verified, primary=True)
            return user
        known = user
    is_verified_here = EmailAddress.objects.filter(user=known, email=person.email, verified=True).exists()
    return known if person.is_email_verified and is_verified_here and known.is_active else None


def _follow(user: User, person: Person) -> None:
    user.name = person.name[:150] or user.name
    user.save(update_fields=["name"])
    if not person.email or person.email == user.email or User.objects.filter(email=person.email).exists():
        return
    if person.is_email_verified:
        EmailAddress.objects.filter(user=user, email=user.email).delete()
        user.email = person.email
        user.save(update_fields=["email"])
        EmailAddress.objects.create(user=user, email=person.email, verified=True, primary=True)
