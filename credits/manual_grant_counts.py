"""How much was given by hand, by whom and to whom, in the last day: what limits on giving are counted from.

Credits and money that no payment brought: grants, reversals, forgiven debt, free days, merges, refunds. Counted in
hourly sums, so that a limit costs the same however much was given.
"""

import uuid
from datetime import datetime, timedelta

from django.db import connection, transaction
from django.db.models import Sum

from credits.errors import GrantLimitExceededError
from credits.models import GivenInHour

DAY = timedelta(days=1)
KEEP_FOR = timedelta(days=3)
CREDITS = "credits"  # the unit beside currencies

ADD = """
    INSERT INTO credits_giveninhour AS known (subject, unit, hour, amount) VALUES (%s, %s, %s, %s)
    ON CONFLICT (subject, unit, hour) DO UPDATE SET amount = known.amount + excluded.amount
"""


def count(
    *,
    giver: str,
    account_id: uuid.UUID,
    amount: int,
    most_by_giver: int,
    most_to_account: int,
    now: datetime,
    unit: str = CREDITS,
) -> None:
    """Count a gift against the giver's day and the account's. In the caller's transaction, if there is one.

    Raises GrantLimitExceededError and counts nothing when either sum would exceed its limit. Of two at once, the second
    waits for the first.
    """
    with transaction.atomic():
        # Always in this order, so that two gifts never wait for each other.
        for subject, most in ((f"giver:{giver}", most_by_giver), (f"account:{account_id}", most_to_account)):
            _add(subject, unit, amount, now=now)
            total = _sum(subject, unit, now=now)
            if total > most:
                raise GrantLimitExceededError(limit=most, left=max(0, most - total + amount), unit=unit)


def given_by(giver: str, *, now: datetime, unit: str = CREDITS) -> int:
    """How much somebody gave in the last day without a second person."""
    return _sum(f"giver:{giver}", unit, now=now)


def given_to(account_id: uuid.UUID, *, now: datetime, unit: str = CREDITS) -> int:
    """How much an account was given in the last day without a second person."""
    return _sum(f"account:{account_id}", unit, now=now)


def forget_old(*, now: datetime) -> int:
    """Delete sums that no limit looks at any more; how many."""
    return GivenInHour.objects.filter(hour__lt=now - KEEP_FOR).delete()[0]


def _add(subject: str, unit: str, amount: int, *, now: datetime) -> None:
    with connection.cursor() as cursor:
        cursor.execute(ADD, [subject, unit, now.replace(minute=0, second=0, microsecond=0), amount])


def _sum(subject: str, unit: str, *, now: datetime) -> int:
    # The hour that a day ago falls into counts whole: a window of 24 to 25 hours, never less than a day.
    rows = GivenInHour.objects.filter(subject=subject, unit=unit, hour__gt=now - DAY - timedelta(hours=1))
    return rows.aggregate(total=Sum("amount"))["total"] or 0
