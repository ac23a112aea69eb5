"""Writing one transaction and its entries, under the wallet's lock. Used inside this app only.

The wallet and the grants that are handed in are the caller's own objects: they are changed as the rows are.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from common.public_ids import new_id
from credits import limits, spending_order
from credits.errors import LARGEST_AMOUNT, InvalidAmountError
from credits.models import PAID, Entry, Grant, Transaction, Wallet

AWAITED = "Taken back: their money was given back before"

Parts = Sequence[tuple[Grant, int]]  # what happens to each grant: positive adds, negative takes


def add_grant(
    wallet: Wallet,
    grant: Grant,
    *,
    now: datetime,
    due_at: datetime | None = None,
    description: str = "",
    actor: str = "",
) -> Transaction:
    """Post a new grant: the row itself, its transaction and entry, and the wallet's balance.

    What is awaited of it is taken at once, and then a debt is paid.
    """
    if not 0 < grant.amount <= LARGEST_AMOUNT - wallet.posted:
        raise InvalidAmountError(grant.amount)
    grant.remaining = 0
    grant.save(force_insert=True)
    posted = post(
        wallet,
        Transaction.Kind.GRANT,
        [(grant, grant.amount)],
        now=now,
        due_at=due_at,
        description=description,
        actor=actor,
        # So that a page can say what came without looking at each grant.
        metadata={"source": grant.source, "period": grant.allowance.period if grant.allowance else None},
    )
    limits.record_refill(wallet, grant)
    if grant.awaited:
        revoke_awaited(wallet, [grant], now=now, due_at=due_at)
    if pay_debt(wallet, now=now):
        grant.refresh_from_db(fields=["remaining"])
    return posted


def expire(wallet: Wallet, parts: Parts, *, at: datetime, now: datetime) -> None:
    """Post these credits as gone at `at`: one transaction, an entry each."""
    post(wallet, Transaction.Kind.EXPIRE, [(grant, -amount) for grant, amount in parts], now=now, due_at=at)


def after_return(wallet: Wallet, parts: Parts, *, at: datetime, now: datetime) -> None:
    """What follows when credits went back to grants at `at`: some expire there or are taken, paid ones pay a debt."""
    over = [(grant, amount) for grant, amount in parts if grant.expires_at is not None and grant.expires_at <= at]
    if over:
        expire(wallet, over, at=at, now=now)
    revoke_awaited(wallet, [grant for grant, _ in parts], now=now)
    pay_debt(wallet, now=now)


def revoke_awaited(wallet: Wallet, grants: Sequence[Grant], *, now: datetime, due_at: datetime | None = None) -> None:
    """Credits whose money went back while they were spent or held are taken, now that they are here again."""
    parts = []
    for grant in grants:
        if amount := min(grant.awaited, grant.remaining):
            grant.awaited -= amount
            grant.save(update_fields=["awaited"])
            parts.append((grant, -amount))
    if parts:
        post(wallet, Transaction.Kind.REVOKE, parts, now=now, due_at=due_at, description=AWAITED)


def release_lots(wallet: Wallet, parts: Parts, *, at: datetime, now: datetime) -> None:
    """Put credits that were set aside back on the grants they came from. No entry: they never left."""
    for grant, amount in parts:
        grant.remaining += amount
        grant.save(update_fields=["remaining"])
        wallet.balance += amount
        wallet.held -= amount
    wallet.save(update_fields=["balance", "held"])
    after_return(wallet, parts, at=at, now=now)


def post(
    wallet: Wallet,
    kind: Transaction.Kind,
    parts: Parts,
    *,
    now: datetime,
    due_at: datetime | None = None,
    debt_change: int = 0,
    already_applied: bool = False,
    **about: Any,
) -> Transaction:
    """One transaction with an entry for each part; the wallet follows, and (unless `already_applied`) the grants."""
    amount = sum(part for _, part in parts)
    if not already_applied:
        for grant, part in parts:
            grant.remaining += part
            grant.save(update_fields=["remaining"])
    wallet.balance += amount
    wallet.debt += debt_change
    wallet.save(update_fields=["balance", "debt", "touched_on"])
    posted = Transaction.objects.create(
        id=new_id(),
        account_id=wallet.account_id,
        kind=kind,
        amount=amount,
        balance_after=wallet.balance,
        debt_change=debt_change,
        created_at=now,
        due_at=due_at if due_at != now else None,
        **about,
    )
    Entry.objects.bulk_create(
        Entry(transaction=posted, grant=grant, account_id=wallet.account_id, amount=part) for grant, part in parts
    )
    return posted


def pay_debt(wallet: Wallet, *, now: datetime) -> bool:
    """What was paid for pays what is owed, in the order of spending. Says whether any was paid."""
    if not wallet.debt:
        return False
    paid_for = Grant.objects.filter(account_id=wallet.account_id, is_open=True, source__in=PAID)
    parts = []
    owed = wallet.debt
    for grant in sorted(paid_for, key=spending_order.key):
        if amount := min(owed, grant.remaining):
            parts.append((grant, -amount))
            owed -= amount
    if parts:
        post(wallet, Transaction.Kind.DEBT, parts, debt_change=owed - wallet.debt, now=now)
    return bool(parts)
