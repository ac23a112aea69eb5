"""Recurring allowances, credits that come by themselves: free ones each day or month, a plan's each month."""

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction

from django.db import transaction
from django.db.models import Max, Min, Q, QuerySet, Sum

from accounts.models import Account
from common.public_ids import new_id
from credits import locks, posting, settling, spending_order
from credits.calendar import month_boundary
from credits.models import Allowance, Grant, Source, Wallet
from credits.money import FREE, Money

# In the source key of what an upgrade adds to a period, where it has no other.
TOP_UP = ":to:"
# Of a grant that ends as it begins: two periods at the same instant are never both there for somebody to see.
SHORTEST = timedelta(microseconds=1)


@dataclass(frozen=True, kw_only=True)
class Running:
    """One period of an allowance, while it runs."""

    given: int
    left: int  # that goes with the period
    ends_at: datetime | None


def start(
    *,
    account: Account,
    source: Source,
    source_key: str,
    amount: int,
    period: Allowance.Period,
    anchor: datetime,
    now: datetime,
    series: str = "",
    zone: str = "",
    paid: Money = FREE,
    periods: int | None = None,
    paid_until: datetime | None = None,
    priority: int | None = None,
    rollover: Allowance.Rollover = Allowance.Rollover.NONE,
    rollover_limit: int | None = None,
    grace: timedelta = timedelta(0),
) -> Allowance:
    """Start an allowance of `amount` credits each `period`, counted from `anchor`, and give what is due at once.

    A repeated call (by `source_key`) answers the first allowance and changes nothing. `paid` is for all
    `periods` together. Months need a `zone` for their calendar; days follow the account's own. What is not used
    rolls over within a `series`: the allowances of one subscription, one for each invoice. Where two of a series
    overlap (somebody changed from months to years in the middle of one), the later one takes over. For `grace` after
    `paid_until`, what is left of the last period lives on: until the next allowance of the series, or `end_grace`.
    """
    with transaction.atomic():
        wallet = locks.lock_wallet(account.pk)
        settling.settle_locked(wallet, now=now)
        if known := Allowance.objects.filter(account=account, source_key=source_key).first():
            return known
        allowance = Allowance.objects.create(
            id=new_id(),
            account=account,
            source=source,
            source_key=source_key,
            series=series or source_key,
            amount=amount,
            period=period,
            priority=spending_order.PRIORITY[source] if priority is None else priority,
            anchor=anchor,
            zone=zone or (account.time_zone if period == Allowance.Period.MONTH else ""),
            paid_until=paid_until,
            paid_minor=paid.minor,
            currency=paid.currency,
            periods=periods,
            rollover=rollover,
            rollover_limit=rollover_limit,
            next_at=anchor,
            grace_s=int(grace.total_seconds()),
            created_at=now,
        )
        _take_over(allowance)
        wallet.touched_on = now.date()
        wallet.save(update_fields=["touched_on"])
        settling.store_next_due(wallet)
        # Gives what is due; an allowance for a time that is over already (a payment that arrived late) ends here too.
        settling.settle_locked(wallet, now=now)
        allowance.refresh_from_db()
        return allowance


def change(
    *,
    account_id: uuid.UUID,
    series: str,
    amount: int,
    now: datetime,
    source_key: str = "",
    paid: Money = FREE,
    period_ends_at: datetime | None = None,
    since: datetime | None = None,
) -> bool:
    """From now on the series gives `amount` credits a period. False when the series gives nothing at the moment.

    More than before: the difference to what this period gave comes at once and goes with it; where it is paid for
    the rest of the period only, `since` then, that part of it. Less: from the next period on. So a customer who goes
    up and down and up again has had one period's credits of the dearest plan, no more. A repeated call changes
    nothing. `paid` is for the difference, which is granted under `source_key`; with `period_ends_at`, only if the
    period that is running is the one that ends then.
    """
    with transaction.atomic():
        wallet = locks.lock_wallet(account_id)
        settling.settle_locked(wallet, now=now)
        allowance = _current(account_id, series, now)
        if allowance is None:
            return False
        if period_ends_at is not None and allowance.paid_until != period_ends_at:
            return True  # received after its period: what it added would be over
        # Looked up by its key: a caller that waited for the lock may have an earlier `now` than who held it.
        if source_key and Grant.objects.filter(account_id=account_id, source_key=source_key).exists():
            return True
        given = _given_this_period(allowance, now)
        more = _added(allowance, given, amount, since)
        if given is not None and more > 0:
            later = _paid_for_later(allowance, given, since, paid.minor)
            this_period = Money(paid.minor - later, paid.currency)
            _top_up(
                wallet, allowance, given, amount, more=more, source_key=source_key, paid=this_period, later=later,
                now=now,
            )  # fmt: skip
            allowance.added_minor += later
            allowance.currency = allowance.currency or (paid.currency if later else "")
        if given is None or more >= 0:
            allowance.amount, allowance.next_amount = amount, None
        else:
            allowance.next_amount = amount
        allowance.save(update_fields=["amount", "next_amount", "added_minor", "currency"])
        settling.store_next_due(wallet)
        return True


def added_by_change(*, account_id: uuid.UUID, series: str, amount: int, since: datetime, now: datetime) -> int:
    """How many credits `change` would give at once, if it were paid for the rest of the period since then."""
    allowance = _current(account_id, series, now)
    given = _given_this_period(allowance, now) if allowance else None
    return max(0, _added(allowance, given, amount, since)) if allowance and given else 0


def paid_until(*, account_id: uuid.UUID, series: str, now: datetime) -> datetime | None:
    """Until when the allowance of a series that holds now was paid; None without one."""
    allowance = _current(account_id, series, now)
    return allowance.paid_until if allowance else None


def withhold(*, account_id: uuid.UUID, source_key: str, amount: int, now: datetime) -> None:
    """Of each period that this allowance has still to give, take `amount` credits back at once: their money went back.

    A repeated call changes nothing.
    """
    with transaction.atomic():
        wallet = locks.lock_wallet(account_id)
        settling.settle_locked(wallet, now=now)
        promise = Allowance.objects.filter(account_id=account_id, source_key=source_key)
        promise.exclude(withheld=amount).update(withheld=amount)


def amount_of(account_id: uuid.UUID, source_key: str) -> int:
    """How many credits a period an allowance gives; 0 for none."""
    rows = Allowance.objects.filter(account_id=account_id, source_key=source_key)
    return rows.values_list("amount", flat=True).first() or 0


def is_replaced(*, account_id: uuid.UUID, series: str, since: datetime) -> bool:
    """Whether a later allowance of the series has begun than one that began then."""
    return Allowance.objects.filter(account_id=account_id, series=series, anchor__gt=since).exists()


def source_key_of(*, account_id: uuid.UUID, series: str, paid_until: datetime) -> str:
    """The source key of the allowance of a series that was paid until then; empty for none."""
    rows = Allowance.objects.filter(account_id=account_id, series=series, paid_until=paid_until)
    return rows.order_by("-anchor").values_list("source_key", flat=True).first() or ""


def running(*, account_id: uuid.UUID, series: str, now: datetime) -> Running | None:
    """What a series gave for the period that is running, and what of it is left and will be gone; None without one."""
    allowance = _current(account_id, series, now)
    given = _given_this_period(allowance, now) if allowance else None
    if given is None:
        return None
    going = Grant.objects.filter(account_id=account_id, allowance__series=series, is_open=True, expires_at__gt=now)
    return Running(
        given=given.amount, left=going.aggregate(total=Sum("remaining"))["total"] or 0, ends_at=given.ends_at
    )


def pause(*, account_id: uuid.UUID, series: str, now: datetime) -> None:
    """Give nothing more until `resume`; what was given stays until it expires. A second call changes nothing."""
    with transaction.atomic():
        wallet = locks.lock_wallet(account_id)
        settling.settle_locked(wallet, now=now)
        _of_series(account_id, series).filter(paused_at=None).update(paused_at=now, next_at=None)
        settling.store_next_due(wallet)


def resume(*, account_id: uuid.UUID, series: str, now: datetime) -> None:
    """Go on with the next period that begins after now: those that were paused are not given later."""
    with transaction.atomic():
        wallet = locks.lock_wallet(account_id)
        settling.settle_locked(wallet, now=now)
        for allowance in _of_series(account_id, series).exclude(paused_at=None):
            allowance.paused_at = None
            settling.skip_to(allowance, now=now)
            allowance.save(update_fields=["paused_at", "next_index", "next_at"])
        settling.store_next_due(wallet)


def end(*, account_id: uuid.UUID, series: str, keep_paid: bool, now: datetime) -> None:
    """End the allowances of a series: nothing new is given. A second call changes nothing.

    Periods that were paid for are given yet, if `keep_paid`. What was given stays for its period; what rolled over
    stays as long as what was paid for.
    """
    with transaction.atomic():
        wallet = locks.lock_wallet(account_id)
        settling.settle_locked(wallet, now=now)
        promises = _of_series(account_id, series)
        ends_at = promises.aggregate(at=Max("paid_until"))["at"]
        promises.update(rollover=Allowance.Rollover.NONE, rollover_limit=None)
        stopped = promises.filter(paid_until=None) if keep_paid else promises
        stopped.update(ended_at=now, next_at=None)
        _end_rollover(account_id, series, max(now, ends_at) if ends_at else now)
        settling.store_next_due(wallet)
        settling.settle_locked(wallet, now=now)


def end_grace(*, account_id: uuid.UUID, series: str, now: datetime) -> None:
    """Let what was paid for end when its time does: no period follows, or its payment was refused.

    A second call changes nothing.
    """
    with transaction.atomic():
        wallet = locks.lock_wallet(account_id)
        settling.settle_locked(wallet, now=now)
        for allowance in _of_series(account_id, series).filter(grace_s__gt=0):
            allowance.grace_s = 0
            allowance.save(update_fields=["grace_s"])
            for grant in Grant.objects.filter(allowance=allowance, expires_at__gt=allowance.paid_until):
                grant.expires_at = max(allowance.paid_until or now, grant.effective_at + SHORTEST)
                grant.save(update_fields=["expires_at"])
        settling.store_next_due(wallet)
        settling.settle_locked(wallet, now=now)


def _of_series(account_id: uuid.UUID, series: str) -> QuerySet[Allowance]:
    return Allowance.objects.filter(account_id=account_id, series=series, ended_at=None)


def _take_over(new: Allowance) -> None:
    """End what overlaps with a new allowance where the later of the two begins, whichever arrived first."""
    siblings = _of_series(new.account_id, new.series).exclude(pk=new.pk)
    later = siblings.filter(anchor__gt=new.anchor).aggregate(at=Min("anchor"))["at"]
    if later is not None and (new.paid_until is None or later < new.paid_until):
        new.paid_until = later
        new.save(update_fields=["paid_until"])
    for waiting in siblings.filter(anchor__lt=new.anchor, paid_until__lte=new.anchor, grace_s__gt=0):
        since = int((new.anchor - (waiting.paid_until or new.anchor)).total_seconds())
        if since >= waiting.grace_s:
            continue
        # What it lived on for is here.
        waiting.grace_s = since
        waiting.save(update_fields=["grace_s"])
        for grant in Grant.objects.filter(allowance=waiting, expires_at__gt=new.anchor):
            grant.expires_at = max(new.anchor, grant.effective_at + SHORTEST)
            grant.save(update_fields=["expires_at"])
    for older in siblings.filter(anchor__lte=new.anchor, paid_until__gt=new.anchor):
        older.paid_until = new.anchor
        older.next_at = older.next_at if older.next_at and older.next_at < new.anchor else None
        _carry_over(older, new)
        older.save(update_fields=["paid_until", "next_at", "handed_minor", "handed_at"])
        for grant in Grant.objects.filter(allowance=older, expires_at__gt=new.anchor):
            grant.expires_at = max(new.anchor, grant.effective_at + SHORTEST)
            grant.save(update_fields=["expires_at"])


def _carry_over(older: Allowance, new: Allowance) -> None:
    """What was paid for months that will not come pays for the new ones: the provider has credited it."""
    rest = older.undelivered_minor
    if older.next_at is not None or rest <= 0 or new.currency not in ("", older.currency) or not new.periods:
        return
    older.handed_minor += rest
    older.handed_at = new.created_at
    new.carried_minor += rest
    new.currency = older.currency
    new.save(update_fields=["carried_minor", "currency"])


def _current(account_id: uuid.UUID, series: str, now: datetime) -> Allowance | None:
    """The allowance of a series that holds now."""
    running = _of_series(account_id, series).filter(paused_at=None, anchor__lte=now)
    paid = running.filter(Q(paid_until=None) | Q(paid_until__gt=now))
    return paid.select_related("account").order_by("-anchor", "-id").first()


@dataclass(frozen=True)
class _Period:
    """What an allowance gave for the period that is running: all its grants together."""

    amount: int
    starts_at: datetime
    ends_at: datetime | None


def _given_this_period(allowance: Allowance, now: datetime) -> _Period | None:
    rows = Grant.objects.filter(allowance=allowance, effective_at__lte=now).order_by("-effective_at", "-id")
    first = rows.filter(Q(expires_at=None) | Q(expires_at__gt=now), is_top_up=False).first()
    if first is None:
        return None
    amount = rows.filter(effective_at__gte=first.effective_at).aggregate(total=Sum("amount"))["total"]
    return _Period(amount, first.effective_at, first.expires_at)


def _added(allowance: Allowance, given: _Period | None, amount: int, since: datetime | None) -> int:
    """What a change to `amount` a period adds to the running one; below zero for less than now."""
    if given is None:
        return 0
    if since is None:
        return amount - given.amount
    whole = amount - allowance.amount
    return round(whole * _part_left(allowance, given, since)) if whole > 0 else whole


def _part_left(allowance: Allowance, given: _Period, since: datetime) -> Fraction:
    """The part of the running period that comes after `since`."""
    ends_at = month_boundary(allowance.anchor, allowance.next_index, allowance.zone)
    ends_at = min(ends_at, allowance.paid_until) if allowance.paid_until else ends_at
    microsecond = timedelta(microseconds=1)
    part = Fraction((ends_at - since) // microsecond, (ends_at - given.starts_at) // microsecond)
    return min(Fraction(1), max(Fraction(0), part))


def _paid_for_later(allowance: Allowance, given: _Period, since: datetime | None, paid_minor: int) -> int:
    """What of the price of an upgrade pays for the periods after the running one."""
    to_come = max(0, (allowance.periods or 0) - allowance.next_index)
    part = Fraction(1) if since is None else _part_left(allowance, given, since)
    return int(paid_minor * to_come / (part + to_come)) if to_come else 0


def _top_up(
    wallet: Wallet,
    allowance: Allowance,
    given: _Period,
    amount: int,
    *,
    more: int,
    source_key: str,
    paid: Money,
    later: int,
    now: datetime,
) -> None:
    grant = Grant(
        account_id=allowance.account_id,
        source=allowance.source,
        source_key=source_key or allowance.refill_key(f"{given.starts_at.isoformat()}{TOP_UP}{amount}"),
        amount=more,
        priority=allowance.priority,
        effective_at=now,
        expires_at=given.ends_at,
        allowance=allowance,
        paid_minor=paid.minor,
        currency=paid.currency,
        is_top_up=True,
        deferred_minor=later,
    )
    posting.add_grant(wallet, grant, now=now)


def _end_rollover(account_id: uuid.UUID, series: str, ends_at: datetime) -> None:
    # The empty ones too: a reversal or a hold may give them credits back.
    for grant in Grant.objects.filter(account_id=account_id, allowance__series=series, expires_at=None):
        grant.expires_at = max(ends_at, grant.effective_at + SHORTEST)
        grant.save(update_fields=["expires_at"])
