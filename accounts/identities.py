"""People whom another system knows: opened here on first sight, kept in step, and let go when they are gone there."""

from datetime import datetime

from allauth.account.models import EmailAddress
from django.db import transaction

from accounts import opening, pseudonyms
from accounts.errors import UnauthenticatedError
from accounts.issuers import Person
from accounts.mailboxes import mailbox_of
from accounts.models import Account, ExternalIdentity, User
from accounts.signals import account_opened, account_proven


def account_of(person: Person, *, now: datetime) -> Account:
    """The account of somebody who shows a token, opened on first sight with its user.

    Raises UnauthenticatedError for somebody whom the other system has deleted, who may not sign in here, or who is
    staff: the console's people come in through its own door only.
    """
    result = _identity(person) or _open(person, now=now)
    if result.ended_at is not None:
        raise UnauthenticatedError("This user is gone.")
    if result.user is not None and not result.user.is_active:
        raise UnauthenticatedError("This user may not sign in.")
    if result.user is not None and result.user.is_staff:
        raise UnauthenticatedError("Staff do not sign in with tokens of another system.")
    if _is_proven_now(result, person):
        _prove(result, person, now=now)
    return result.account


def sync_person(person: Person, *, told_at: datetime) -> bool:
    """What the other system says of somebody now. False for what is older than what was received before.

    It says nothing about a login of ours: who has a password here, or is staff, keeps their name and address.
    """
    if _identity(person) is None:
        _open(person, now=told_at)
    with transaction.atomic():
        result = _lock(person)
        if result.ended_at is not None or result.told_at > told_at:
            return False
        result.told_at = told_at
        result.save(update_fields=["told_at"])
        if result.user is not None and _has_own_login(result.user):
            return True
        account, user = result.account, result.user
        account.name = person.name or account.name
        if person.is_email_verified and account.email:
            account.email = person.email
        account.save(update_fields=["name", "email"])
        if user is not None:
            _follow(user, person)
        elif _is_proven_now(result, person):
            _prove(result, person, now=told_at)
    return True


def end(person: Person, *, told_at: datetime, now: datetime) -> None:
    """The other system has deleted somebody: its tokens open nothing here. The ledger stays.

    What the other system made ends with it, keys and user; a login of ours goes on.
    """
    if _identity(person) is None:
        _open(person, now=told_at)  # so that a creation that arrives later is known to be old
    with transaction.atomic():
        result = _lock(person)
        if result.ended_at is not None:
            return
        result.ended_at = now
        result.save(update_fields=["ended_at"])
        if result.user is not None and _has_own_login(result.user):
            return
        result.account.api_keys.filter(revoked_at=None).update(revoked_at=now)
        if result.user is not None:
            User.objects.filter(pk=result.user.pk).update(is_active=False)


def _has_own_login(user: User) -> bool:
    """Whether somebody signs in here by themselves, and not by what another system says of them."""
    return user.is_staff or user.is_superuser or user.has_usable_password()


def _is_proven_now(found: ExternalIdentity, person: Person) -> bool:
    """Whether an account that was opened for a mere claim may have what a proven address has."""
    return person.is_email_verified and found.user is None and not found.account.email


def _prove(found: ExternalIdentity, person: Person, *, now: datetime) -> None:
    with transaction.atomic():
        account = Account.objects.select_for_update(no_key=True).get(pk=found.account_id)
        if account.email or account.closed_at is not None:
            return
        account.email, account.mailbox = person.email, mailbox_of(person.email)
        account.save(update_fields=["email", "mailbox"])
        found.account = account
        account_proven.send(sender=Account, account=account, now=now)


def _identity(person: Person) -> ExternalIdentity | None:
    rows = ExternalIdentity.objects.select_related("account", "user")
    return rows.filter(issuer=person.issuer.issuer, subject__in=pseudonyms.names_of(person.subject)).first()


def _lock(person: Person) -> ExternalIdentity:
    rows = ExternalIdentity.objects.select_for_update(of=("self",)).select_related("account", "user")
    return rows.get(issuer=person.issuer.issuer, subject__in=pseudonyms.names_of(person.subject))


def _open(person: Person, *, now: datetime) -> ExternalIdentity:
    """The identity, its account and its user. Of two calls at once, the second finds what the first opened."""
    if not person.subject:
        raise UnauthenticatedError("This token names no user.")
    is_proven = person.is_email_verified  # (who leaves the claim out has proven no more than who claims a false one)
    with transaction.atomic():
        user = _user_for(person)
        if user is not None:
            account = opening.personal_account(user=user, now=now)
        else:
            # An address that nobody has proven gets no mail, and no free credits of its mailbox.
            proven = person.email if person.is_email_verified else ""
            account = Account.objects.create(name=person.name, email=proven, mailbox=mailbox_of(proven), created_at=now)
        result, is_new = ExternalIdentity.objects.get_or_create(
            issuer=person.issuer.issuer,
            subject=person.subject,
            defaults={"account": account, "user": user, "created_at": now, "told_at": now},
        )
        if is_new:
            if user is None:
                account_opened.send(sender=Account, account=account, now=now, is_proven=is_proven)
            return result
        transaction.set_rollback(True)
    known = _identity(person)
    assert known is not None  # noqa: S101 - somebody else has just made it
    return known


def _user_for(person: Person) -> User | None:
    """A user for a new identity: the one with this e-mail address where both sides have verified it, else a new one.

    None for an address that the other system has not verified: whoever proves it here later would share an account with
    the stranger who only claimed it. None as well where it is somebody's here who has not verified it, or is staff.
    """
    if not person.is_email_verified:
        return None
    known = User.objects.select_for_update().filter(email=person.email).first()
    if known is None:
        user, is_new = User.objects.get_or_create(email=person.email, defaults={"name": person.name})
        if is_new:
            user.set_unusable_password()
            user.save(update_fields=["password"])
            EmailAddress.objects.create(user=user, email=person.email, verified=True, primary=True)
            return user
        known = user
    is_verified_here = EmailAddress.objects.filter(user=known, email=person.email, verified=True).exists()
    return known if is_verified_here and known.is_active and not known.is_staff else None


def _follow(user: User, person: Person) -> None:
    user.name = person.name or user.name
    user.save(update_fields=["name"])
    if not person.email or person.email == user.email or User.objects.filter(email=person.email).exists():
        return
    if person.is_email_verified:
        EmailAddress.objects.filter(user=user, email=user.email).delete()
        user.email = person.email
        user.save(update_fields=["email"])
        EmailAddress.objects.create(user=user, email=person.email, verified=True, primary=True)
