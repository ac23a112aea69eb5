"""Writing one transaction and its entries, under the wallet's lock. Used inside this app only."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from accounts.public_ids import new_id
from credits.errors import LARGEST_AMOUNT, InvalidAmountError
from credits.models import Entry, Grant, Transaction, Wallet


def add_grant(wallet: Wallet, grant: Grant, *, now: datetime, description: str = "", actor: str = "") -> Transaction:
    """Post a new grant: the row itself, its transaction and entry, and the wallet's balance."""
    if not 0 < grant.amount <= LARGEST_AMOUNT - wallet.balance:
        raise InvalidAmountError(grant.amount)
    grant.remaining = grant.amount
    grant.save(force_insert=True)
    wallet.balance += grant.amount
    # So that a page can say what came without looking at each grant.
    about = {"source": grant.source, "period": grant.allowance.period if grant.allowance else None}
    posted = _post(
        wallet, Transaction.Kind.GRANT, grant.amount, now=now, description=description, actor=actor, about=about
    )
    Entry.objects.bulk_create([_entry(posted, grant, grant.amount)])
    return posted


def expire_grants(wallet: Wallet, grants: Sequence[Grant], *, now: datetime) -> Transaction:
    """Post what is left of these grants as gone: one transaction, an entry each."""
    gone = sum(grant.remaining for grant in grants)
    wallet.balance -= gone
    posted = _post(wallet, Transaction.Kind.EXPIRE, -gone, now=now)
    Entry.objects.bulk_create([_entry(posted, grant, -grant.remaining) for grant in grants])
    for grant in grants:
        grant.remaining = 0
        grant.save(update_fields=["remaining"])
    return posted


def _post(
    wallet: Wallet,
    kind: Transaction.Kind,
    amount: int,
    *,
    now: datetime,
    description: str = "",
    actor: str = "",
    about: dict[str, Any] | None = None,
) -> Transaction:
    wallet.save(update_fields=["balance"])
    return Transaction.objects.create(
        id=new_id(),
        account_id=wallet.account_id,
        kind=kind,
        amount=amount,
        balance_after=wallet.balance,
        description=description,
        metadata=about or {},
        actor=actor,
        created_at=now,
    )


def _entry(posted: Transaction, grant: Grant, amount: int) -> Entry:
    return Entry(transaction=posted, grant=grant, account_id=posted.account_id, amount=amount)
