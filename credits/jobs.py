"""What beat does for everybody: the same settling that happens when a wallet is touched, only earlier.

A job posts what is due and missing. Two beats, none for three days, or a stop in the middle change nothing:
each wallet is settled in a transaction of its own, and one that is being used is left to its user.
"""

import uuid
from collections.abc import Callable, Iterator
from datetime import datetime

from django.db.models import QuerySet

from credits import settling
from credits.models import Allowance, Wallet

BATCH = 500


def reset_daily_credits(*, now: datetime) -> int:
    """Settle every account whose new day has begun; answers how many."""
    return _settle_each(_with_due_allowances(Allowance.Period.DAY, now), now=now)


def refill_monthly_credits(*, now: datetime) -> int:
    """Settle every account that is due a month's credits; answers how many."""
    return _settle_each(_with_due_allowances(Allowance.Period.MONTH, now), now=now)


def expire_credits(*, now: datetime) -> int:
    """Settle every account in which time has changed anything; answers how many."""
    return _settle_each(Wallet.objects.filter(next_due_at__lte=now).values_list("account_id", flat=True), now=now)


JOBS: dict[str, Callable[..., int]] = {
    "reset_daily_credits": reset_daily_credits,
    "refill_monthly_credits": refill_monthly_credits,
    "expire_credits": expire_credits,
}


def _with_due_allowances(period: Allowance.Period, now: datetime) -> QuerySet[Allowance, uuid.UUID]:
    due = Allowance.objects.filter(period=period, next_at__lte=now, ended_at=None)
    return due.values_list("account_id", flat=True)


def _settle_each(due: QuerySet[Allowance, uuid.UUID] | QuerySet[Wallet, uuid.UUID], *, now: datetime) -> int:
    return sum(settling.settle_if_free(account_id=account_id, now=now) for account_id in _in_batches(due))


def _in_batches(due: QuerySet[Allowance, uuid.UUID] | QuerySet[Wallet, uuid.UUID]) -> Iterator[uuid.UUID]:
    """Account ids in order, a batch at a time, so that a million due accounts are no memory."""
    ordered = due.order_by("account_id").distinct()
    batch = list(ordered[:BATCH])
    while batch:
        yield from batch
        batch = list(ordered.filter(account_id__gt=batch[-1])[:BATCH])
