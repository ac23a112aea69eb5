"""What time brings to a wallet: expiries and refills, posted when due and never twice.

Whoever touches a wallet settles it first, so balances are right even when no job has run for days.
"""

import uuid
from datetime import datetime

from django.db import transaction
from django.db.models import Min

from credits import locks, posting
from credits.calendar import SHORTEST_DAY, day_at, month_boundary
from credits.models import Allowance, Grant, Wallet


def settle(*, account_id: uuid.UUID, now: datetime) -> None:
    """Bring the account's wallet up to `now`. A repeated call changes nothing."""
    with transaction.atomic():
        settle_locked(locks.wallet(account_id), now=now)


def settle_if_free(*, account_id: uuid.UUID, now: datetime) -> bool:
    """Like `settle`, but leaves a wallet alone that somebody else is working on; says whether it did it."""
    with transaction.atomic():
        wallet = locks.due_wallet(account_id, now=now)
        if wallet is None:
            return False
        settle_locked(wallet, now=now)
        return True


def settle_locked(wallet: Wallet, *, now: datetime) -> None:
    """Settle a wallet whose lock the caller holds."""
    if wallet.next_due_at is None or wallet.next_due_at > now:
        return
    _expire(wallet, now=now)
    for allowance in _running(wallet).filter(next_at__lte=now).select_related("account").order_by("next_at", "id"):
        refill(wallet, allowance, now=now)
    # A month that nobody touched was given late and is over already.
    _expire(wallet, now=now)
    note_next_due(wallet)


def refill(wallet: Wallet, allowance: Allowance, *, now: datetime) -> None:
    """Give what the allowance owes up to `now`; the caller holds the wallet's lock."""
    if allowance.period == Allowance.Period.DAY:
        _refill_day(wallet, allowance, now=now)
    else:
        _refill_months(wallet, allowance, now=now)
    allowance.save(update_fields=["next_index", "next_at", "last_day_start"])


def note_next_due(wallet: Wallet) -> None:
    """Store the earliest moment at which time itself will change this wallet."""
    expiry = _open_grants(wallet).aggregate(at=Min("expires_at"))["at"]
    refill_at = _running(wallet).aggregate(at=Min("next_at"))["at"]
    wallet.next_due_at = min(filter(None, (expiry, refill_at)), default=None)
    wallet.save(update_fields=["next_due_at"])


def _expire(wallet: Wallet, *, now: datetime) -> None:
    due = list(_open_grants(wallet).filter(expires_at__lte=now).order_by("expires_at", "id"))
    if due:
        posting.expire_grants(wallet, due, now=now)


def _refill_day(wallet: Wallet, allowance: Allowance, *, now: datetime) -> None:
    """Today's credits, and today's only: days that nobody used are not piled up."""
    today = day_at(now, allowance.account.time_zone)
    starts_at = today.starts_at
    if allowance.last_day_start is not None:
        # Somebody who travels east reaches the next date early: not before 20 hours have passed.
        starts_at = max(starts_at, allowance.last_day_start + SHORTEST_DAY)
    if starts_at > now:
        allowance.next_at = starts_at
        return
    allowance.last_day_start = today.starts_at
    allowance.next_at = today.ends_at
    _give(wallet, allowance, allowance.refill_key(today.date.isoformat()), today.starts_at, today.ends_at, now=now)


def _refill_months(wallet: Wallet, allowance: Allowance, *, now: datetime) -> None:
    """Every month that has begun and was not given yet, in order, however late."""
    starts_at = _month_start(allowance)
    while starts_at is not None and starts_at <= now:
        index = allowance.next_index
        allowance.next_index += 1
        ends_at = _month_end(allowance, index)
        source_key = allowance.source_key if allowance.periods == 1 else allowance.refill_key(str(index))
        paid_minor = _share(allowance, index)
        _give(wallet, allowance, source_key, starts_at, ends_at, paid_minor=paid_minor, now=now)
        starts_at = _month_start(allowance)
    allowance.next_at = starts_at


def _month_start(allowance: Allowance) -> datetime | None:
    """When the next month of the allowance begins; None when all that was promised has been given."""
    if allowance.periods is not None and allowance.next_index >= allowance.periods:
        return None
    starts_at = month_boundary(allowance.anchor, allowance.next_index, allowance.zone)
    return None if allowance.paid_until is not None and starts_at >= allowance.paid_until else starts_at


def _month_end(allowance: Allowance, index: int) -> datetime:
    """When period `index` ends: at the next boundary, but what was paid for lasts as long as it was paid for."""
    if allowance.paid_until is not None and allowance.periods == index + 1:
        return allowance.paid_until
    ends_at = month_boundary(allowance.anchor, index + 1, allowance.zone)
    return ends_at if allowance.paid_until is None else min(ends_at, allowance.paid_until)


def _share(allowance: Allowance, index: int) -> int:
    """What was paid for period `index`, in minor units; the shares of all periods add up to the whole."""
    if allowance.periods is None:
        return 0
    paid, periods = allowance.paid_minor, allowance.periods
    return paid * (index + 1) // periods - paid * index // periods


def _give(
    wallet: Wallet,
    allowance: Allowance,
    source_key: str,
    starts_at: datetime,
    ends_at: datetime,
    *,
    now: datetime,
    paid_minor: int = 0,
) -> None:
    if Grant.objects.filter(account_id=wallet.account_id, source_key=source_key).exists():
        return
    grant = Grant(
        account_id=wallet.account_id,
        source=allowance.source,
        source_key=source_key,
        amount=allowance.amount,
        priority=allowance.priority,
        effective_at=starts_at,
        expires_at=ends_at,
        paid_minor=paid_minor,
        currency=allowance.currency,
        allowance=allowance,
    )
    posting.add_grant(wallet, grant, now=now)


def _open_grants(wallet: Wallet):  # type: ignore[no-untyped-def]
    return Grant.objects.filter(account_id=wallet.account_id, is_open=True)


def _running(wallet: Wallet):  # type: ignore[no-untyped-def]
    return Allowance.objects.filter(account_id=wallet.account_id, ended_at=None)
