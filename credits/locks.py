"""The one lock of the ledger: an account's wallet row."""

import uuid
from datetime import datetime

from django.db import transaction

from credits.models import Wallet


def lock_wallet(account_id: uuid.UUID) -> Wallet:
    """The account's wallet, locked until the surrounding transaction ends; opened when there is none yet."""
    locked = Wallet.objects.select_for_update().filter(account_id=account_id).first()
    if locked is None:
        open_wallet(account_id)
        locked = Wallet.objects.select_for_update().get(account_id=account_id)
    return locked


def lock_due_wallet(account_id: uuid.UUID, *, now: datetime) -> Wallet | None:
    """The account's wallet, locked, if time has changed it and nobody else is at it."""
    due = Wallet.objects.filter(account_id=account_id, next_due_at__lte=now)
    return due.select_for_update(skip_locked=True).first()


def open_wallet(account_id: uuid.UUID) -> None:
    """Make sure that there is a wallet row; of two first calls, one makes it."""
    with transaction.atomic():
        Wallet.objects.bulk_create([Wallet(account_id=account_id)], ignore_conflicts=True)
