"""Accounts of the seller's app (`ext:…`): opened, described and changed by its backend."""

from datetime import datetime
from typing import Any

from django.db import transaction

from accounts import opening
from accounts.errors import AccountExistsError, AccountHasLoginError
from accounts.models import Account

# What somebody who signs in says of themselves.
OWN = ("name", "email")


def create(*, subject: str, fields: dict[str, Any], now: datetime) -> Account:
    """Open the account of an app's user, with what is known of them. Raises AccountExistsError."""
    with transaction.atomic():
        account, is_new = opening.open_external(subject=subject, now=now, about=fields)
        if not is_new:
            raise AccountExistsError(account.public_id)
        return account


def update(*, account: Account, fields: dict[str, Any]) -> Account:
    """Change what is known of an account. Mails go to its new address from now on; Stripe gets them within a minute.

    Raises AccountHasLoginError for the name or address of somebody who signs in by themselves.
    """
    with transaction.atomic():
        current = Account.objects.select_for_update(no_key=True).get(pk=account.pk)
        changed = [name for name, value in fields.items() if getattr(current, name) != value]
        if set(changed) & set(OWN) and current.kind != Account.Kind.EXTERNAL:
            raise AccountHasLoginError("Name and address are theirs to change, on the settings page.")
        for name in changed:
            setattr(current, name, fields[name])
        if changed:
            current.save(update_fields=changed)
    return current
