"""Opening accounts: a user's own at sign-up, and one for an app's user on first sight."""

import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import transaction

from accounts import pseudonyms
from accounts.mailboxes import mailbox_of
from accounts.models import Account, ExternalIdentity, Membership, User
from accounts.signals import account_opened, account_proven

LONGEST_NAME = 150  # of an account; another system's id may be longer


def personal_account(*, user: User, now: datetime, is_claimed: bool = False) -> Account:
    """The account that is the user's own, opened on the first call; later calls answer the same one.

    `is_claimed`: at this moment, somebody signs up with an address that they have not proven.
    """
    if account := _personal_account_of(user):
        return account
    with transaction.atomic():
        # The user's row is the lock: of two first calls, the second finds what the first opened.
        User.objects.select_for_update().get(pk=user.pk)
        if account := _personal_account_of(user):
            return account
        # A mailbox has its free credits once: a stranger who only claims an address must not take them.
        is_proven = not (is_claimed and settings.ACCOUNT_EMAIL_VERIFICATION == "mandatory")
        mailbox = mailbox_of(user.email) if is_proven else ""
        account = Account.objects.create(name=user.name, email=user.email, mailbox=mailbox, created_at=now)
        Membership.objects.create(account=account, user=user, role=Membership.Role.OWNER, is_personal=True)
        account_opened.send(sender=Account, account=account, now=now, is_proven=is_proven)
        return account


def prove(*, user: User, now: datetime) -> None:
    """The user has shown that the address is theirs: give the account what waits for that. Safe to repeat."""
    account = personal_account(user=user, now=now)
    with transaction.atomic():
        waiting = Account.objects.select_for_update(no_key=True).filter(pk=account.pk, mailbox="", closed_at=None)
        if waiting.update(mailbox=mailbox_of(user.email)):
            account.refresh_from_db()
            account_proven.send(sender=Account, account=account, now=now)


def restore(*, account_id: uuid.UUID, email: str, name: str, now: datetime) -> Account:
    """An account that is gone, recreated with the id that it had, as of `now`; with a user of that address.

    The account of somebody who has signed up with the address meanwhile is answered instead. Without an address, as of
    an app's user, it is nobody's yet.
    """
    email = email.strip().lower()
    with transaction.atomic():
        known = User.objects.filter(email=email).first() if email else None
        if known is not None and (own := _personal_account_of(known)):
            return own
        kind = Account.Kind.PERSONAL if email else Account.Kind.EXTERNAL
        account = Account.objects.create(
            id=account_id, kind=kind, name=name[:LONGEST_NAME], email=email, created_at=now
        )
        if email:
            user = known or User.objects.create_user(email, name=name[:LONGEST_NAME], date_joined=now)
            Membership.objects.create(account=account, user=user, role=Membership.Role.OWNER, is_personal=True)
        # What is free waits until the address is proven: by signing in.
        account_opened.send(sender=Account, account=account, now=now, is_proven=not email)
        return account


def external_account(*, subject: str, now: datetime) -> Account:
    """The account of an app's user, opened on the first call; later calls answer the same one."""
    return open_external(subject=subject, now=now)[0]


def open_external(*, subject: str, now: datetime, about: Mapping[str, Any] | None = None) -> tuple[Account, bool]:
    """The account of an app's user, and whether this call opened it: then with what is known `about` them."""
    if account := find_external_account(subject):
        return account, False
    with transaction.atomic():
        known = {"name": subject[:LONGEST_NAME], **(about or {})}
        account = Account.objects.create(kind=Account.Kind.EXTERNAL, created_at=now, **known)
        _, is_new = ExternalIdentity.objects.get_or_create(issuer="", subject=subject, defaults={"account": account})
        if is_new:
            account_opened.send(sender=Account, account=account, now=now, is_proven=True)
            return account, True
        # Another call opened it at this very moment; ours is taken back.
        transaction.set_rollback(True)
    return Account.objects.get(external_identities__issuer="", external_identities__subject=subject), False


def find_external_account(subject: str) -> Account | None:
    """The account known by another system's `subject`, if there is one."""
    names = pseudonyms.names_of(subject)
    return Account.objects.filter(external_identities__issuer="", external_identities__subject__in=names).first()


def find_account(account_id: uuid.UUID) -> Account | None:
    """The account with this key, if there is one."""
    return Account.objects.filter(pk=account_id).first()


def is_open(account_id: uuid.UUID) -> bool:
    """Whether there is such an account, and it was not closed."""
    return Account.objects.filter(pk=account_id, closed_at=None).exists()


def _personal_account_of(user: User) -> Account | None:
    return Account.objects.filter(memberships__user=user, memberships__is_personal=True).first()
