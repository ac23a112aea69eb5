"""The ledger's rules a second time, in plain Python over lists, sharing no code with the real thing.

Slow, obvious, in memory: what the stateful test holds the ledger to.
"""

import calendar
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

PRIORITY = {"free": 10, "plan": 30, "bonus": 40, "adjustment": 40, "purchase": 50}
PAID = {"plan", "purchase"}
TWENTY_HOURS = timedelta(hours=20)


class Refused(Exception):  # noqa: N818 - an answer
    """What the ledger should refuse, by its code."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass
class Lot:
    key: str
    source: str
    amount: int
    remaining: int
    priority: int
    since: datetime
    until: datetime | None
    number: int
    promise: "Promise | None" = None
    expired: int = 0

    def order(self) -> tuple[object, ...]:
        far = datetime.max.replace(tzinfo=UTC)
        return self.priority, self.until or far, self.since, self.number


@dataclass
class Reserved:
    amount: int
    parts: list[tuple[Lot, int]]
    at: datetime
    until: datetime
    state: str = "open"
    cost: int = 0
    captured: int = 0


@dataclass
class Spend:
    at: datetime
    parts: list[tuple[Lot, int]]
    back: dict[int, int] = field(default_factory=dict)


@dataclass
class Promise:
    key: str
    source: str
    amount: int
    period: str
    anchor: datetime
    periods: int | None
    until: datetime | None
    rollover: str
    limit: int | None
    next_amount: int | None = None
    given: int = 0
    next: datetime | None = None
    last_day: datetime | None = None
    dates: set[date] = field(default_factory=set)
    paused: bool = False
    ended: bool = False
    month_given: tuple[datetime, datetime | None, int] | None = None


def midnight(day: date, zone: str) -> datetime:
    return datetime.combine(day, time(), ZoneInfo(zone)).astimezone(UTC)


def months_on(anchor: datetime, count: int, zone: str) -> datetime:
    local = anchor.astimezone(ZoneInfo(zone))
    year, month = local.year, local.month + count
    while month > 12:
        year, month = year + 1, month - 12
    day = min(local.day, calendar.monthrange(year, month)[1])
    return local.replace(year=year, month=month, day=day, fold=0).astimezone(UTC)


class Model:
    """One account."""

    def __init__(self, zone: str) -> None:
        self.zone = zone
        self.lots: list[Lot] = []
        self.holds: list[Reserved] = []
        self.spends: list[Spend] = []
        self.promises: list[Promise] = []
        self.debt = 0
        self.cap: int | None = None
        self.cap_date: date | None = None
        self.cap_start: datetime | None = None
        self.cap_end: datetime | None = None
        self.cap_used = 0
        self.low_at = 5
        self.signals: list[str] = []
        self.count = 0

    # --- what is there --------------------------------------------------------------------------

    @property
    def balance(self) -> int:
        return sum(lot.remaining for lot in self.lots)

    @property
    def held(self) -> int:
        return sum(hold.amount for hold in self.holds if hold.state == "open")

    def next_due(self) -> datetime | None:
        moments = [lot.until for lot in self.lots if lot.remaining and lot.until]
        moments += [hold.until for hold in self.holds if hold.state == "open"]
        moments += [promise.next for promise in self.promises if promise.next and self.runs(promise)]
        return min(moments, default=None)

    def runs(self, promise: Promise) -> bool:
        return not promise.paused and not promise.ended

    # --- operations -----------------------------------------------------------------------------

    def grant(self, source: str, amount: int, until: datetime | None, now: datetime) -> Lot:
        self.settle(now)
        return self._add(Lot("", source, amount, amount, PRIORITY[source], now, until, 0))

    def spend(self, amount: int, now: datetime) -> list[tuple[Lot, int]]:
        self.settle(now)
        self._may_spend(amount, now)
        before = self.balance + self.held
        parts = self._draw(amount, now)
        self.spends.append(Spend(now, parts))
        self._tell(before)
        return parts

    def hold(self, amount: int, until: datetime, now: datetime) -> Reserved:
        self.settle(now)
        self._may_spend(amount, now)
        self.holds.append(Reserved(amount, self._draw(amount, now), now, until))
        return self.holds[-1]

    def capture(self, hold: Reserved, cost: int, now: datetime) -> int:  # noqa: C901
        if hold.state == "captured":
            if hold.cost != cost:
                raise Refused("hold_not_open")
            return hold.captured
        self.settle(now) if hold.state == "open" else None
        if hold.state == "lapsed":
            raise Refused("hold_expired")
        if hold.state == "released":
            raise Refused("hold_not_open")
        before = self.balance + self.held
        wanted, spent, back = min(cost, hold.amount), [], []
        for lot, amount in hold.parts:
            used = min(amount, wanted)
            wanted -= used
            spent += [(lot, used)] if used else []
            back += [(lot, amount - used)] if amount > used else []
        extra = cost - min(cost, hold.amount)
        if extra:
            try:
                self._may_spend(extra, now)
            except Refused:
                extra = 0
        hold.state, hold.cost, hold.captured = "captured", cost, min(cost, hold.amount) + extra
        self._uncount(hold.at, back, now)
        for lot, amount in back:
            lot.remaining += amount
        if extra:
            for lot, amount in self._draw(extra, now):
                known = next((i for i, (other, _) in enumerate(spent) if other is lot), None)
                if known is None:
                    spent.append((lot, amount))
                else:
                    spent[known] = (lot, spent[known][1] + amount)
        self.spends.append(Spend(now, spent))
        self._tell(before)
        self.settle(now)
        self._pay_debt()
        return hold.captured

    def release(self, hold: Reserved, now: datetime) -> None:
        self.settle(now)
        if hold.state == "released":
            return
        if hold.state == "lapsed":
            raise Refused("hold_expired")
        if hold.state == "captured":
            raise Refused("hold_not_open")
        self._give_up(hold, "released", now, now)

    def reverse(self, spend: Spend, amount: int | None, now: datetime) -> None:
        self.settle(now)
        parts = [
            (lot, used - spend.back.get(lot.number, 0))
            for lot, used in sorted(spend.parts, key=lambda part: part[0].order(), reverse=True)
        ]
        left = sum(part for _, part in parts)
        if not left:
            raise Refused("already_reversed")
        wanted = left if amount is None else amount
        if wanted > left:
            raise Refused("reversal_too_large")
        returned = []
        for lot, part in parts:
            if taken := min(part, wanted):
                wanted -= taken
                returned.append((lot, taken))
                spend.back[lot.number] = spend.back.get(lot.number, 0) + taken
        self._uncount(spend.at, returned, now)
        self._put_back(returned, now)

    def revoke(self, lot: Lot, amount: int, rest_is_debt: bool, now: datetime) -> None:
        self.settle(now)
        before = self.balance + self.held
        taken = min(amount, lot.remaining)
        lot.remaining -= taken
        if rest_is_debt:
            self.debt += max(0, amount - taken - lot.expired)
        self._pay_debt()
        self._tell(before)

    def take(self, amount: int, now: datetime) -> None:
        self.settle(now)
        if amount > self.balance:
            raise Refused("insufficient_credits")
        before = self.balance + self.held
        self._draw(amount, now, counts=False)
        self._tell(before)

    def forgive(self, amount: int, now: datetime) -> None:
        self.settle(now)
        if amount > self.debt:
            raise Refused("invalid_amount")
        self.debt -= amount

    def promise(self, promise: Promise, now: datetime) -> None:
        self.settle(now)
        promise.next = promise.anchor
        self.promises.append(promise)
        self.settle(now)

    def change(self, promise: Promise, amount: int, now: datetime) -> None:
        self.settle(now)
        if promise.ended or promise.paused or (promise.until and promise.until <= now):
            return
        current = promise.month_given
        if current and current[1] and current[1] <= now:
            current = None
        if current and amount > current[2]:
            since, until, given = current
            promise.month_given = (since, until, amount)
            lot = Lot("", promise.source, amount - given, 0, PRIORITY[promise.source], now, until, 0, promise)
            lot.remaining = lot.amount
            self._add(lot)
        if current is None or amount >= current[2]:
            promise.amount, promise.next_amount = amount, None
        else:
            promise.next_amount = amount

    def pause(self, promise: Promise, now: datetime) -> None:
        self.settle(now)
        if not promise.ended and not promise.paused:
            promise.paused, promise.next = True, None

    def resume(self, promise: Promise, now: datetime) -> None:
        self.settle(now)
        if promise.ended or not promise.paused:
            return
        promise.paused = False
        if promise.period == "day":
            today = now.astimezone(ZoneInfo(self.zone)).date()
            promise.next = midnight(today + timedelta(days=1), self.zone)
            return
        while (start := self._month(promise)) is not None and start <= now:
            promise.given += 1
        promise.next = self._month(promise)

    def end(self, promise: Promise, keep_paid: bool, now: datetime) -> None:
        self.settle(now)
        if promise.ended:
            return
        promise.rollover = "none"
        if promise.until is None or not keep_paid:
            promise.ended, promise.next = True, None
        for lot in self.lots:
            if lot.promise is promise and lot.until is None:
                lot.until = max(now, promise.until) if promise.until else now
                lot.until = max(lot.until, lot.since + timedelta(seconds=1))
                if promise.month_given and promise.month_given[0] == lot.since:
                    promise.month_given = (lot.since, lot.until, promise.month_given[2])
        self.settle(now)

    # --- time -----------------------------------------------------------------------------------

    def settle(self, now: datetime) -> None:  # noqa: C901
        before = self.balance + self.held
        settled = False
        while True:
            for promise in self.promises:
                if promise.period == "day" and self.runs(promise) and promise.next and promise.next <= now:
                    promise.next = self._day(promise, now)[1]
            at = self.next_due()
            if at is None or at > now:
                break
            settled = True
            for hold in [hold for hold in self.holds if hold.state == "open" and hold.until == at]:
                self._give_up(hold, "lapsed", at, now)
            for lot in self.lots:
                if lot.remaining and lot.until == at:
                    lot.expired += lot.remaining
                    lot.remaining = 0
            for promise in self.promises:
                if self.runs(promise) and promise.next == at:
                    self._refill(promise, now)
        if settled:
            self._tell(before)

    def _refill(self, promise: Promise, now: datetime) -> None:
        if promise.period == "day":
            today, since, until = self._day(promise, now)
            promise.last_day, promise.next = since, until
            if today in promise.dates:
                return
            promise.dates.add(today)
        else:
            since = self._month(promise)
            if since is None:
                promise.next = None
                return
            promise.given += 1
            last = promise.periods == promise.given and promise.until
            until = promise.until if last else months_on(promise.anchor, promise.given, self.zone)
            if promise.until and not last:
                until = min(until, promise.until)
            if promise.rollover != "none":
                until = None
            promise.next = self._month(promise)
        if promise.next_amount is not None:
            promise.amount, promise.next_amount = promise.next_amount, None
        promise.month_given = (since, until, promise.amount)
        lot = Lot(
            "", promise.source, promise.amount, promise.amount, PRIORITY[promise.source], since, until, 0, promise
        )
        self._add(lot)
        if promise.rollover != "none":
            older = sorted(
                (other for other in self.lots if other.promise is promise), key=lambda o: (o.since, o.number)
            )
            room = promise.limit if promise.rollover == "capped" else 10**18
            for other in reversed(older[:-1]):
                other.expired += max(0, other.remaining - room)
                other.remaining = min(other.remaining, room)
                room -= other.remaining

    def _day(self, promise: Promise, now: datetime) -> tuple[date, datetime, datetime]:
        today = now.astimezone(ZoneInfo(self.zone)).date()
        since = midnight(today, self.zone)
        if promise.last_day:
            since = max(since, promise.last_day + TWENTY_HOURS)
        return today, since, midnight(today + timedelta(days=1), self.zone)

    def _month(self, promise: Promise) -> datetime | None:
        if promise.periods is not None and promise.given >= promise.periods:
            return None
        since = months_on(promise.anchor, promise.given, self.zone)
        return None if promise.until and since >= promise.until else since

    # --- pieces ---------------------------------------------------------------------------------

    def _may_spend(self, amount: int, now: datetime) -> None:
        if self.debt:
            raise Refused("account_in_debt")
        if amount > self.balance:
            raise Refused("insufficient_credits")
        if self.cap is None:
            return
        self._cap_day(now)
        paid, left = 0, amount
        for lot in sorted(self.lots, key=Lot.order):
            part = min(left, lot.remaining)
            left -= part
            paid += part if lot.source in PAID else 0
        if self.cap_used + paid > self.cap:
            raise Refused("daily_cap_reached")

    def _cap_day(self, now: datetime) -> None:
        if self.cap_end and self.cap_end > now:
            return
        today = now.astimezone(ZoneInfo(self.zone)).date()
        since, until = midnight(today, self.zone), midnight(today + timedelta(days=1), self.zone)
        if self.cap_start:
            since = max(since, self.cap_start + TWENTY_HOURS)
        if self.cap_date and today <= self.cap_date:
            self.cap_end = until
        elif since > now:
            self.cap_end = since
        else:
            self.cap_date, self.cap_start, self.cap_end, self.cap_used = today, since, until, 0

    def _draw(self, amount: int, now: datetime, *, counts: bool = True) -> list[tuple[Lot, int]]:
        parts = []
        for lot in sorted(self.lots, key=Lot.order):
            if part := min(amount, lot.remaining):
                lot.remaining -= part
                amount -= part
                parts.append((lot, part))
        assert amount == 0
        if counts and self.cap_end and self.cap_end > now:
            self.cap_used += sum(part for lot, part in parts if lot.source in PAID)
        return parts

    def _uncount(self, at: datetime, parts: list[tuple[Lot, int]], now: datetime) -> None:
        if self.cap_start and self.cap_end and self.cap_start <= at and now < self.cap_end:
            self.cap_used = max(0, self.cap_used - sum(part for lot, part in parts if lot.source in PAID))

    def _give_up(self, hold: Reserved, state: str, at: datetime, now: datetime) -> None:
        hold.state = state
        self._uncount(hold.at, hold.parts, now)
        self._put_back(hold.parts, at)

    def _put_back(self, parts: list[tuple[Lot, int]], at: datetime) -> None:
        for lot, part in parts:
            lot.remaining += part
            if lot.until and lot.until <= at:
                lot.remaining -= part
                lot.expired += part
        self._pay_debt()

    def _add(self, lot: Lot) -> Lot:
        self.count += 1
        lot.number = self.count
        self.lots.append(lot)
        self._set_low(lot)
        self._pay_debt()
        return lot

    def _set_low(self, new: Lot) -> None:
        """A fifth of the month's credits or of the largest pack that is not used up, whichever is more; at least 2."""

        def counts(lot: Lot) -> bool:
            is_month = lot.promise is not None and lot.promise.period == "month"
            if lot is new:
                return is_month or lot.source == "purchase"
            return bool(lot.remaining) and (lot.source == "purchase" or (is_month and new.source == "purchase"))

        if counts(new):
            self.low_at = max(2, *(-(-lot.amount // 5) for lot in self.lots if counts(lot)))

    def _pay_debt(self) -> None:
        for lot in sorted(self.lots, key=Lot.order):
            if lot.source in PAID:
                part = min(self.debt, lot.remaining)
                lot.remaining -= part
                self.debt -= part

    def _tell(self, before: int) -> None:
        after = self.balance + self.held
        if before > self.low_at >= after:
            self.signals.append("low")
        if before > 0 == after:
            self.signals.append("empty")
