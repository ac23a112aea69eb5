"""For how long a balance lasts, when it is spent as before."""

from collections.abc import Sequence
from datetime import datetime, timedelta

Lot = tuple[int, datetime | None]  # credits, and when what is left of them expires

LONGEST_DAYS = 3_650


def lasting_days(lots: Sequence[Lot], spent: int, days: int, *, now: datetime) -> int:
    """Whole days that the lots, in the order in which they are spent, last at `spent` credits in `days` days.

    What expires before it is spent is gone. At most LONGEST_DAYS.
    """
    left = [(credits * days, expires_at) for credits, expires_at in lots]  # (in `days`-ths of a credit)
    for day in range(LONGEST_DAYS):
        at = now + timedelta(days=day)
        left = [(credits, expires_at) for credits, expires_at in left if expires_at is None or expires_at > at]
        if sum(credits for credits, _ in left) < spent:
            return day
        left = _without(left, spent)
    return LONGEST_DAYS


def _without(lots: Sequence[Lot], amount: int) -> list[Lot]:
    result = []
    for credits, expires_at in lots:
        used = min(credits, amount)
        amount -= used
        if credits > used:
            result.append((credits - used, expires_at))
    return result
