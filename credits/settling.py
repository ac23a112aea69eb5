"""What time brings to a wallet: expiries, refills and lapsed holds, posted in the order in which they were due.

Whoever touches a wallet settles it first, so balances are right even when no job has run for days; each posting says
when it was due, so that the past can be shown as it was.
"""

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Min, QuerySet

from credits import limits, locks, posting, spending_limits
from credits.calendar import day_at, month_boundary, next_day
from credits.models import Allowance, Grant, Hold, HoldLot, Wallet


def settle(*, account_id: uuid.UUID, now: datetime) -> None:
    """Bring the account's wallet up to `now`. A repeated call changes nothing."""
    with transaction.atomic():
        settle_locked(locks.lock_wallet(account_id), now=now)


def settle_debt(*, account_id: uuid.UUID, now: datetime) -> bool:
    """Let credits that were paid for pay what is owed, and take those that were awaited; says whether any paid."""
    with transaction.atomic():
        wallet = locks.lock_wallet(account_id)
        settle_locked(wallet, now=now)
        posting.revoke_awaited(wallet, list(_open_grants(wallet).filter(awaited__gt=0)), now=now)
        is_paid = posting.pay_debt(wallet, now=now)
        store_next_due(wallet)
        return is_paid


def settle_if_free(*, account_id: uuid.UUID, now: datetime) -> bool:
    """Like `settle`, but leaves a wallet alone that somebody else is working on; says whether it did it."""
    with transaction.atomic():
        wallet = locks.lock_due_wallet(account_id, now=now)
        if wallet is None:
            return False
        settle_locked(wallet, now=now)
        return True


def settle_locked(wallet: Wallet, *, now: datetime) -> None:
    """Settle a wallet whose lock the caller holds."""
    if wallet.next_due_at is None or wallet.next_due_at > now:
        return
    before = wallet.posted
    due = _due(wallet, now)
    while (at := due.next_moment()) is not None and at <= now:
        for hold in due.holds_at(at):
            due.follow(end_hold(wallet, hold, Hold.Status.LAPSED, at=at, now=now), now)
        if at in due.expiries:
            _expire(wallet, at=at, now=now)
            due.expiries.discard(at)
        for allowance in due.allowances_at(at):
            if given := _refill(wallet, allowance, now=now):
                due.follow([given], now)  # a month that nobody touched was given late, and may be over already
    store_next_due(wallet)
    limits.send_change_signals(wallet, before=before, now=now)


def _refill(wallet: Wallet, allowance: Allowance, *, now: datetime) -> Grant | None:
    """Give the allowance's next period, and say when the one after it is due."""
    refill = _refill_day if allowance.period == Allowance.Period.DAY else _refill_month
    given = refill(wallet, allowance, now=now)
    allowance.save(update_fields=["amount", "next_amount", "next_index", "next_at", "last_day_start", "given_minor"])
    return given


def skip_to(allowance: Allowance, *, now: datetime) -> None:
    """Let the allowance go on with the first period that begins after `now`, without giving those before it."""
    if allowance.period == Allowance.Period.DAY:
        allowance.next_at = day_at(now, allowance.account.time_zone).ends_at
        return
    while (starts_at := _month_start(allowance)) is not None and starts_at <= now:
        allowance.next_index += 1
    allowance.next_at = starts_at


def end_hold(wallet: Wallet, hold: Hold, status: Hold.Status, *, at: datetime, now: datetime) -> list[Grant]:
    """End a hold at `at` without a capture: all its credits go back. The caller holds the wallet's lock.

    Answers the grants that they went back to.
    """
    hold.status = status
    hold.ended_at = at
    hold.save(update_fields=["status", "ended_at"])
    lots = HoldLot.objects.filter(hold=hold).select_related("grant").order_by("place")
    parts = [(lot.grant, lot.amount) for lot in lots]
    limits.give_back(wallet, hold.created_at, parts, now=now)
    spending_limits.give_back(wallet, hold.actor, hold.created_at, hold.amount, now=now)
    posting.release_lots(wallet, parts, at=at, now=now)
    return [grant for grant, _ in parts]


def store_next_due(wallet: Wallet) -> None:
    """Store the earliest moment at which time itself will change this wallet."""
    expiry = _open_grants(wallet).aggregate(at=Min("expires_at"))["at"]
    refill_at = _running(wallet).aggregate(at=Min("next_at"))["at"]
    lapse = _open_holds(wallet).aggregate(at=Min("expires_at"))["at"]
    wallet.next_due_at = min(filter(None, (expiry, refill_at, lapse)), default=None)
    wallet.save(update_fields=["next_due_at"])


def _trim_rollover(wallet: Wallet, allowance: Allowance, *, at: datetime, now: datetime) -> None:
    """Of what rolled over in a series, keep as much as the newest allowance allows; the oldest goes first."""
    of_series = Grant.objects.filter(account_id=wallet.account_id, allowance__series=allowance.series)
    latest = of_series.order_by("-effective_at", "-id").first()
    older = [grant for grant in of_series.filter(is_open=True).order_by("-effective_at", "-id") if grant != latest]
    room = sum(grant.remaining for grant in older)
    if allowance.rollover == Allowance.Rollover.CAPPED:
        room = min(room, allowance.rollover_limit or 0)
    over = []
    for grant in older:
        kept = min(grant.remaining, room)
        room -= kept
        if grant.remaining > kept:
            over.append((grant, grant.remaining - kept))
    if over:
        posting.expire(wallet, over, at=at, now=now)


@dataclass
class Due:
    """What is due in a wallet, kept in step while it is being settled."""

    expiries: set[datetime]
    holds: list[Hold]
    allowances: list[Allowance]

    def next_moment(self) -> datetime | None:
        """When the first thing that is still open is due."""
        moments: list[datetime | None] = [*self.expiries]
        moments += [hold.expires_at for hold in self.holds]
        moments += [allowance.next_at for allowance in self.allowances]
        return min((moment for moment in moments if moment is not None), default=None)

    def follow(self, grants: list[Grant], now: datetime) -> None:
        """Credits came to these grants, which may be due themselves."""
        self.expiries |= {grant.expires_at for grant in grants if grant.expires_at and grant.expires_at <= now}

    def holds_at(self, at: datetime) -> list[Hold]:
        """The holds that lapse at this moment, taken out."""
        result = [hold for hold in self.holds if hold.expires_at == at]
        self.holds = [hold for hold in self.holds if hold.expires_at != at]
        return result

    def allowances_at(self, at: datetime) -> list[Allowance]:
        """The allowances that are due at this moment."""
        return [allowance for allowance in self.allowances if allowance.next_at == at]


def _due(wallet: Wallet, now: datetime) -> Due:
    expiring = _open_grants(wallet).filter(expires_at__lte=now).values_list("expires_at", flat=True)
    expiries = {at for at in expiring if at is not None}
    holds = list(_open_holds(wallet).filter(expires_at__lte=now).order_by("expires_at", "id"))
    allowances = list(_running(wallet).filter(next_at__lte=now).select_related("account").order_by("next_at", "id"))
    for allowance in allowances:
        if allowance.period == Allowance.Period.DAY:
            # Days that nobody used are not given: the one that counts is today.
            allowance.next_at = next_day(allowance.last_day_start, now, allowance.account.time_zone).starts_at
            if allowance.next_at > now:  # else its refill stores it
                allowance.save(update_fields=["next_at"])
    return Due(expiries, holds, allowances)


def _expire(wallet: Wallet, *, at: datetime, now: datetime) -> None:
    """Post what is left of the grants that end at this moment as gone."""
    # Read now, not when settling began: what came meanwhile may have paid a debt.
    over = _open_grants(wallet).filter(expires_at__lte=at).order_by("id")
    parts = [(grant, grant.remaining) for grant in over]
    if parts:
        posting.expire(wallet, parts, at=at, now=now)


def _refill_day(wallet: Wallet, allowance: Allowance, *, now: datetime) -> Grant | None:
    """Today's credits, and today's only: days that nobody used are not piled up."""
    day = next_day(allowance.last_day_start, now, allowance.account.time_zone)
    if day.starts_at > now:
        allowance.next_at = day.starts_at
        return None
    allowance.last_day_start = day.starts_at
    allowance.next_at = day.ends_at
    return _grant_period(wallet, allowance, day.date.isoformat(), day.starts_at, day.ends_at, now=now)


def _refill_month(wallet: Wallet, allowance: Allowance, *, now: datetime) -> Grant | None:
    """The next month, if it has begun and is part of the allowance."""
    starts_at = _month_start(allowance)
    given = None
    if starts_at is not None and starts_at <= now:
        index = allowance.next_index
        allowance.next_index += 1
        rolls_over = allowance.rollover != Allowance.Rollover.NONE
        ends_at = None if rolls_over else month_end(allowance, index)
        given = _grant_period(
            wallet, allowance, str(index), starts_at, ends_at, paid_minor=_share(allowance, index), now=now
        )
        if rolls_over and given is not None:
            _trim_rollover(wallet, allowance, at=starts_at, now=now)
    allowance.next_at = _month_start(allowance)
    return given


def _month_start(allowance: Allowance) -> datetime | None:
    """When the next month of the allowance begins; None when the whole allowance has been given."""
    if allowance.periods is not None and allowance.next_index >= allowance.periods:
        return None
    starts_at = month_boundary(allowance.anchor, allowance.next_index, allowance.zone)
    return None if allowance.paid_until is not None and starts_at >= allowance.paid_until else starts_at


def month_end(allowance: Allowance, index: int) -> datetime:
    """When period `index` ends: at the next boundary, but what was paid for lasts as long as it was paid for."""
    if allowance.paid_until is not None and allowance.periods == index + 1:
        return allowance.paid_until + timedelta(seconds=allowance.grace_s)
    ends_at = month_boundary(allowance.anchor, index + 1, allowance.zone)
    return ends_at if allowance.paid_until is None else min(ends_at, allowance.paid_until)


def _share(allowance: Allowance, index: int) -> int:
    """What was paid for period `index`, in minor units: its part of what is not given yet, and all of it at the end."""
    if allowance.periods is None:
        return 0
    return allowance.undelivered_minor // max(1, allowance.periods - index)


def _grant_period(
    wallet: Wallet,
    allowance: Allowance,
    period_name: str,
    starts_at: datetime,
    ends_at: datetime | None,
    *,
    now: datetime,
    paid_minor: int = 0,
) -> Grant | None:
    source_key = allowance.source_key if allowance.periods == 1 else allowance.refill_key(period_name)
    if Grant.objects.filter(account_id=wallet.account_id, source_key=source_key).exists():
        return None
    if allowance.next_amount is not None:
        allowance.amount, allowance.next_amount = allowance.next_amount, None
    withheld = min(allowance.withheld, allowance.amount)
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
        awaited=withheld,
        withheld=withheld,
    )
    allowance.given_minor += paid_minor
    posting.add_grant(wallet, grant, now=now, due_at=starts_at)
    return grant


def _open_grants(wallet: Wallet) -> QuerySet[Grant]:
    return Grant.objects.filter(account_id=wallet.account_id, is_open=True)


def _open_holds(wallet: Wallet) -> QuerySet[Hold]:
    return Hold.objects.filter(account_id=wallet.account_id, status=Hold.Status.OPEN)


def _running(wallet: Wallet) -> QuerySet[Allowance]:
    return Allowance.objects.filter(account_id=wallet.account_id, ended_at=None, paused_at=None)
