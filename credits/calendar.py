"""Days and months as a customer's calendar has them. Pure: instants and zones in, instants out.

A local midnight may not exist (Cairo, 30 April 2027: 00:00 becomes 01:00) or exist twice; a date starts
at its first instant, whatever the clock on the wall says then. Months are counted from the anchor,
never from the month before, so that 31 January gives 28 February and then 31 March.
"""

import calendar
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

# Days are 23 hours at the shortest; a customer who moves through time zones gets no second day's credits sooner.
SHORTEST_DAY = timedelta(hours=20)


@dataclass(frozen=True)
class Day:
    """A calendar date in some zone, from its first instant to the next date's."""

    date: date
    starts_at: datetime
    ends_at: datetime


def day_at(instant: datetime, zone: str) -> Day:
    """The day that `instant` falls in, for somebody in `zone`."""
    today = instant.astimezone(ZoneInfo(zone)).date()
    return Day(today, first_instant(today, zone), first_instant(today + timedelta(days=1), zone))


def next_day(last_start: datetime | None, now: datetime, zone: str) -> Day:
    """The day that follows the one begun at `last_start`: today in `zone`, but not before 20 hours have passed.

    `starts_at` may be later than `now`: then it is too soon.
    """
    today = day_at(now, zone)
    if last_start is None:
        return today
    return Day(today.date, max(today.starts_at, last_start + SHORTEST_DAY), today.ends_at)


def first_instant(day: date, zone: str) -> datetime:
    """When `day` begins in `zone`, in UTC."""
    # For a midnight that does not exist, fold=0 reads the clock as before the jump: the jump itself.
    return datetime.combine(day, time.min, ZoneInfo(zone)).astimezone(UTC)


def month_at(instant: datetime, zone: str) -> tuple[datetime, datetime]:
    """The first instants of the calendar month that `instant` falls in, and of the next one, for somebody in `zone`."""
    first = instant.astimezone(ZoneInfo(zone)).date().replace(day=1)
    following = (first + timedelta(days=31)).replace(day=1)
    return first_instant(first, zone), first_instant(following, zone)


def month_boundary(anchor: datetime, index: int, zone: str) -> datetime:
    """The instant `index` months after `anchor`, on the anchor's day or the month's last one."""
    local = anchor.astimezone(ZoneInfo(zone))
    months = local.year * 12 + local.month - 1 + index
    year, month = divmod(months, 12)
    day = min(local.day, calendar.monthrange(year, month + 1)[1])
    moved = datetime.combine(date(year, month + 1, day), local.time(), ZoneInfo(zone))
    return moved.astimezone(UTC)
