"""For how long a balance lasts at the pace of before."""

from datetime import UTC, datetime, timedelta

import pytest

from usage.forecast import LONGEST_DAYS, lasting_days

NOW = datetime(2026, 11, 28, 9, tzinfo=UTC)


def in_days(number: int) -> datetime:
    return NOW + timedelta(days=number)


@pytest.mark.parametrize(
    ("lots", "spent", "days", "lasts"),
    [
        ([(100, None)], 10, 1, 10),
        ([(100, None)], 3, 30, 1000),
        ([(5, None)], 10, 1, 0),
        ([], 1, 1, 0),
        ([(100, in_days(3))], 10, 1, 3),  # the other seventy expire
        ([(30, in_days(2)), (100, None)], 10, 1, 12),  # ten of the thirty expire
        ([(3, in_days(1)), (300, in_days(30))], 9, 30, 30),
        ([(10**9, None)], 1, 30, LONGEST_DAYS),
    ],
)
def test_balance_lasts_as_long_as_its_lots(
    lots: list[tuple[int, datetime | None]], spent: int, days: int, lasts: int
) -> None:
    assert lasting_days(lots, spent, days, now=NOW) == lasts
