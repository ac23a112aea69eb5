"""How long the periods of a price are."""

import calendar
from datetime import UTC, datetime

from common.json_types import JsonObject

Row = JsonObject

DAY_S = 86_400


def after(anchor: int, price: Row, count: int) -> int:
    """The instant `count` periods after the anchor, on the anchor's day or the month's last one."""
    recurring = price["recurring"]
    months = {"month": 1, "year": 12}.get(recurring["interval"])
    if months is None:
        days: int = {"day": 1, "week": 7}[recurring["interval"]] * recurring["interval_count"]
        return anchor + days * DAY_S * count
    first = datetime.fromtimestamp(anchor, UTC)
    total = first.year * 12 + first.month - 1 + months * recurring["interval_count"] * count
    year, month = divmod(total, 12)
    day = min(first.day, calendar.monthrange(year, month + 1)[1])
    return int(first.replace(year=year, month=month + 1, day=day).timestamp())


def count_until(anchor: int, instant: int, price: Row) -> int:
    """How many periods after the anchor the first one begins that is not before `instant`."""
    count = 0
    while after(anchor, price, count) < instant:
        count += 1
    return count
