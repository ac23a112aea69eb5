"""Limits of a wallet: so many paid credits a day, and the moments at which the balance is low or gone."""

import uuid
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import partial

from django.db import transaction
from django.db.models import Max, Q

from credits import locks, signals, spending_limits
from credits.calendar import Day, next_day
from credits.models import PAID, Allowance, Grant, Source, Wallet

# A balance is low when a fifth of what came last is left: of a month's credits, or of a larger pack.
LOW_PART = 5
ALWAYS_LOW = 2

SIGNALS = {"low": signals.balance_low, "empty": signals.balance_exhausted}


def set_daily_cap(*, account_id: uuid.UUID, cap: int | None) -> None:
    """How many paid credits the account's plan lets it spend in a day; None for no limit."""
    with transaction.atomic():
        wallet = locks.lock_wallet(account_id)
        if wallet.daily_cap != cap:
            wallet.daily_cap = cap
            wallet.save(update_fields=["daily_cap"])


def set_overrides(*, account_id: uuid.UUID, daily_cap: int | None, low_threshold: int | None) -> None:
    """An operator's own numbers for one account; None leaves it to the plan and to the last refill."""
    with transaction.atomic():
        wallet = locks.lock_wallet(account_id)
        wallet.daily_cap_override = daily_cap
        wallet.low_threshold_override = low_threshold
        wallet.save(update_fields=["daily_cap_override", "low_threshold_override"])


def set_low_threshold(*, account_id: uuid.UUID, threshold: int | None) -> None:
    """At how many credits the customer wants to be warned that they are few; None leaves it to the last refill."""
    with transaction.atomic():
        wallet = locks.lock_wallet(account_id)
        wallet.low_threshold_override = threshold
        wallet.save(update_fields=["low_threshold_override"])


def freeze(*, account_id: uuid.UUID, now: datetime) -> None:
    """Refuse every spend until `unfreeze`; what comes in still comes in. A second call changes nothing."""
    with transaction.atomic():
        wallet = locks.lock_wallet(account_id)
        wallet.frozen_at = wallet.frozen_at or now
        wallet.save(update_fields=["frozen_at"])


def unfreeze(*, account_id: uuid.UUID) -> None:
    """Let the account spend again. A second call changes nothing."""
    with transaction.atomic():
        wallet = locks.lock_wallet(account_id)
        wallet.frozen_at = None
        wallet.save(update_fields=["frozen_at"])


def close(*, account_id: uuid.UUID, now: datetime) -> None:
    """Refuse every spend and hold from now on: the account was closed. A second call changes nothing."""
    with transaction.atomic():
        wallet = locks.lock_wallet(account_id)
        wallet.closed_at = wallet.closed_at or now
        wallet.save(update_fields=["closed_at"])


def low_threshold(*, account_id: uuid.UUID) -> int | None:
    """What `set_low_threshold` was last set to."""
    return Wallet.objects.filter(account_id=account_id).values_list("low_threshold_override", flat=True).first()


def begin_day(*, account_id: uuid.UUID, now: datetime) -> None:
    """Begin the account's next day of paid credits, if it is time: one for each date, none within 20 hours."""
    with transaction.atomic():
        wallet = locks.lock_wallet(account_id)
        if wallet.cap_day_ends_at is not None and wallet.cap_day_ends_at > now:
            return
        day = next_day(wallet.cap_day_started_at, now, wallet.account.time_zone)
        if wallet.cap_date is not None and day.date <= wallet.cap_date:
            wallet.cap_day_ends_at = day.ends_at  # somebody went west: the same date goes on
        elif day.starts_at > now:
            wallet.cap_day_ends_at = day.starts_at  # somebody went east: a little longer
        else:
            _begin(wallet, day)
        wallet.save(update_fields=["cap_date", "cap_day_started_at", "cap_day_ends_at", "cap_used"])


def give_back(wallet: Wallet, taken_at: datetime, parts: Sequence[tuple[Grant, int]], *, now: datetime) -> None:
    """Credits that were taken at `taken_at` come back: those of today count no longer. The caller holds the lock."""
    if wallet.cap_day_ends_at is None or wallet.cap_day_started_at is None:
        return
    paid = sum(amount for grant, amount in parts if grant.source in PAID)
    if wallet.cap_day_started_at <= taken_at and now < wallet.cap_day_ends_at and paid:
        wallet.cap_used = max(0, wallet.cap_used - paid)
        wallet.save(update_fields=["cap_used"])


def record_refill(wallet: Wallet, grant: Grant) -> None:
    """The last month's credits, or a larger pack that is not used up, decide when the balance is low.

    The caller holds the lock.
    """
    is_month = grant.allowance is not None and grant.allowance.period == Allowance.Period.MONTH
    if not is_month and grant.source != Source.PURCHASE:
        return
    # (A month takes the place of the month before, a pack stands beside it.)
    packs = Q(source=Source.PURCHASE)
    counted = packs if is_month else packs | Q(allowance__period=Allowance.Period.MONTH)
    lots = Grant.objects.filter(counted, account_id=wallet.account_id, is_open=True)
    most = max(grant.amount, lots.aggregate(most=Max("amount"))["most"] or 0)
    wallet.low_threshold = max(ALWAYS_LOW, -(-most // LOW_PART))
    wallet.save(update_fields=["low_threshold"])


def send_limit_signals(account_id: uuid.UUID, crossed: Iterable[str] | None, *, left: int, now: datetime) -> None:
    """Send the signals of the limits that were crossed, once what crossed them is committed."""
    for name in crossed or ():
        if name not in SIGNALS:
            transaction.on_commit(partial(_send_use, account_id, name, now=now))
            continue
        send = partial(SIGNALS[name].send_robust, sender=Wallet, account_id=account_id, credits=left, now=now)
        transaction.on_commit(send)


def send_change_signals(wallet: Wallet, *, before: int, now: datetime) -> None:
    """Send the signals for a change from `before` credits to what there is now."""
    crossed = []
    if before > wallet.low_at >= wallet.posted:
        crossed.append("low")
    if before > 0 == wallet.posted:
        crossed.append("empty")
    send_limit_signals(wallet.account_id, crossed, left=wallet.posted, now=now)


def _send_use(account_id: uuid.UUID, name: str, *, now: datetime) -> None:
    if use := spending_limits.crossed(account_id, name):
        signals.spending_limit_crossed.send_robust(sender=Wallet, account_id=account_id, use=use, now=now)


def _begin(wallet: Wallet, day: Day) -> None:
    wallet.cap_date = day.date
    wallet.cap_day_started_at = day.starts_at
    wallet.cap_day_ends_at = day.ends_at
    wallet.cap_used = 0
