"""Which days a page is about: the last so many, or from one date to another, in one zone's calendar."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from django.http import QueryDict

from credits.calendar import first_instant

CHOICES_DAYS = (1, 7, 30, 90)
DEFAULT_DAYS = 30
LONGEST_DAYS = 366


@dataclass(frozen=True, kw_only=True)
class Period:
    """Whole days, both included."""

    first: date
    last: date
    zone: str
    days: int | None  # how many there are, where that is what was chosen

    @property
    def since(self) -> datetime:
        return first_instant(self.first, self.zone)

    @property
    def until(self) -> datetime:
        return first_instant(self.last + timedelta(days=1), self.zone)

    @property
    def dates(self) -> list[date]:
        return [self.first + timedelta(days=number) for number in range((self.last - self.first).days + 1)]

    @property
    def before(self) -> "Period":
        """As many days, just before these."""
        length = self.last - self.first + timedelta(days=1)
        return Period(first=self.first - length, last=self.first - timedelta(days=1), zone=self.zone, days=None)

    @property
    def query(self) -> str:
        """The same days, as an address names them."""
        return urlencode({"from": self.first.isoformat(), "to": self.last.isoformat()})


def today(zone: str, *, now: datetime) -> Period:
    """The day that it is in the zone."""
    day = now.astimezone(ZoneInfo(zone)).date()
    return Period(first=day, last=day, zone=zone, days=None)


def yesterday(zone: str, *, now: datetime) -> Period:
    """The zone's day before today."""
    return today(zone, now=now).before


def chosen(query: QueryDict, zone: str, *, now: datetime, choices: Sequence[int] = CHOICES_DAYS) -> Period:
    """The days that an address asks for; what makes no sense is the last thirty."""
    today = now.astimezone(ZoneInfo(zone)).date()
    first, last = _date(query.get("from", "")), _date(query.get("to", "")) or today
    if first is not None and first <= last and (last - first).days < LONGEST_DAYS:
        return Period(first=first, last=last, zone=zone, days=None)
    fields = {str(days): days for days in choices}
    days = fields.get(str(query.get("days")), DEFAULT_DAYS)
    return Period(first=today - timedelta(days=days - 1), last=today, zone=zone, days=days)


def _date(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None
