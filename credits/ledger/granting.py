"""Granting."""

import uuid
from datetime import datetime

from django.db import transaction

from credits import locks, posting, settling, spending_order
from credits.errors import GrantConflictError
from credits.ledger import sql
from credits.ledger.results import GrantResult
from credits.models import Grant, Source, Transaction
from credits.money import FREE, Money


def grant(
    *,
    account_id: uuid.UUID,
    amount: int,
    source: Source,
    source_key: str,
    now: datetime,
    paid: Money = FREE,
    expires_at: datetime | None = None,
    priority: int | None = None,
    description: str = "",
    actor: str = "",
) -> GrantResult:
    """Add `amount` credits as one grant, spendable from `now` until `expires_at`. Paid ones pay a debt first.

    A repeated `source_key` answers the first grant. Raises GrantConflictError when that one was of another
    amount or source, and InvalidAmountError; nothing is changed then.
    """
    sql.check_amount(amount)
    with transaction.atomic():
        wallet = locks.lock_wallet(account_id)
        settling.settle_locked(wallet, now=now)
        if known := Grant.objects.filter(account_id=account_id, source_key=source_key).first():
            if (known.whole, known.source) != (amount, source):
                raise GrantConflictError(f"{source_key} gave {known.whole} credits ({known.source}) before.")
            return GrantResult(grant=known, transaction=_first_of(known), is_replayed=True)
        new = Grant(
            account_id=account_id,
            source=source,
            source_key=source_key,
            amount=amount,
            priority=spending_order.PRIORITY[source] if priority is None else priority,
            effective_at=now,
            expires_at=expires_at,
            paid_minor=paid.minor,
            currency=paid.currency,
        )
        wallet.touched_on = now.date()
        posted = posting.add_grant(wallet, new, now=now, description=description, actor=actor)
        settling.store_next_due(wallet)
        return GrantResult(grant=new, transaction=posted, is_replayed=False)


def _first_of(grant: Grant) -> Transaction:
    """The transaction that made a lot: in the account that it was moved from, if all of it was used there."""
    while grant.amount == 0 and grant.moved_from is not None:
        grant = grant.moved_from
    return Transaction.objects.get(entries__grant=grant, kind=Transaction.Kind.GRANT)
