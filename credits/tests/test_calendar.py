"""Days and months as calendars have them: every zone, every anchor, two beats, and days on which nothing ran."""

import calendar as months
import os
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from pytest_django import Settings

from accounts.models import Account
from credits import allowances, audit, jobs
from credits.calendar import day_at, first_instant, month_boundary
from credits.models import Allowance, Grant, Source

ZONES = ["Europe/Amsterdam", "Africa/Cairo", "Asia/Beirut", "America/Havana", "Australia/Lord_Howe"]
# A year of beats takes a while: in `make test` in the zone without a midnight, in all five as nightly (ALL_ZONES=1).
ZONES_OF_BEATS = ZONES if os.environ.get("ALL_ZONES") else ["Africa/Cairo"]
ANCHOR_DAYS = [1, 15, 29, 30, 31]
START = datetime(2027, 1, 1, 12, tzinfo=UTC)
DAYS = 400
SILENT = {40, 41, 42, 118, 119, 120, 300, 301, 302}  # no job runs on these days; 118 is Cairo's day without a midnight


def oracle_first_instant(day: date, zone: str) -> datetime:
    """The first minute at which somebody in `zone` writes this date, found by looking at each."""
    tz = ZoneInfo(zone)
    instant = datetime(day.year, day.month, day.day, tzinfo=UTC) - timedelta(hours=15)
    while instant.astimezone(tz).date() != day:
        instant += timedelta(hours=1)
    instant -= timedelta(hours=1)
    while instant.astimezone(tz).date() != day:
        instant += timedelta(minutes=1)
    return instant


def oracle_month(anchor: datetime, count: int, zone: str) -> datetime:
    """`count` months after the anchor: its day, or the month's last one."""
    local = anchor.astimezone(ZoneInfo(zone))
    year, month = local.year, local.month
    for _ in range(count):
        year, month = (year + 1, 1) if month == 12 else (year, month + 1)
    day = min(local.day, months.monthrange(year, month)[1])
    return datetime(year, month, day, local.hour, local.minute, tzinfo=ZoneInfo(zone)).astimezone(UTC)


@pytest.mark.parametrize("zone", ZONES)
def test_a_day_begins_at_its_first_instant(zone: str) -> None:
    for number in range(DAYS):
        day = date(2027, 1, 1) + timedelta(days=number)
        assert first_instant(day, zone) == oracle_first_instant(day, zone)
        noon = datetime(day.year, day.month, day.day, 12, tzinfo=ZoneInfo(zone))
        assert day_at(noon, zone).date == day


def test_a_midnight_that_does_not_exist_is_the_hour_after_it() -> None:
    begins = first_instant(date(2027, 4, 30), "Africa/Cairo")

    assert begins.astimezone(ZoneInfo("Africa/Cairo")).isoformat() == "2027-04-30T01:00:00+03:00"


def test_the_31st_stays_the_31st() -> None:
    anchor = datetime(2027, 1, 31, 12, tzinfo=UTC)

    result = [month_boundary(anchor, index, "UTC").date() for index in range(14)]

    assert [day.day for day in result] == [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31, 31, 29]


@pytest.mark.parametrize("zone", ZONES_OF_BEATS)
def test_four_hundred_days_of_beats_give_what_the_calendar_says(db: None, settings: Settings, zone: str) -> None:
    settings.IDLE_AFTER_DAYS = 2 * DAYS
    account = Account.objects.create(name=zone, time_zone=zone, created_at=START)
    tz = ZoneInfo(zone)
    allowances.start(
        account=account,
        source=Source.FREE,
        source_key="daily",
        amount=3,
        period=Allowance.Period.DAY,
        anchor=START,
        now=START,
    )
    anchors = {}
    for day in ANCHOR_DAYS:
        anchors[day] = datetime(2026, 12, day, 10, 30, tzinfo=tz).astimezone(UTC)
        allowances.start(
            account=account,
            source=Source.FREE,
            source_key=f"month-{day}",
            amount=day,
            period=Allowance.Period.MONTH,
            anchor=anchors[day],
            zone=zone,
            now=START,
        )

    moments = [START]
    for number in range(DAYS):
        hours = () if number in SILENT else (1, 13)
        moments += [START + timedelta(days=number, hours=hour) for hour in hours]
    for moment in moments[1:]:
        for _beat in range(2):
            for job in (jobs.reset_daily_credits, jobs.refill_monthly_credits, jobs.expire_credits):
                job(now=moment)

    end = moments[-1]
    dates = sorted({moment.astimezone(tz).date() for moment in moments})
    expected = [(oracle_first_instant(day, zone), oracle_first_instant(day + timedelta(days=1), zone)) for day in dates]
    daily = Grant.objects.filter(allowance__source_key="daily").order_by("effective_at")
    assert list(daily.values_list("effective_at", "expires_at")) == expected
    for day, anchor in anchors.items():
        begun = []
        while (begins := oracle_month(anchor, len(begun), zone)) <= end:
            begun.append((begins, oracle_month(anchor, len(begun) + 1, zone)))
        monthly = Grant.objects.filter(allowance__source_key=f"month-{day}").order_by("effective_at")
        assert list(monthly.values_list("effective_at", "expires_at")) == begun
    assert list(audit.all_disagreements()) == []
