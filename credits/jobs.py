"""What beat does for everybody: the same settling that happens when a wallet is touched, only earlier.

A job posts what is due and missing. Two beats, none for three days, or a stop in the middle change nothing: each
wallet is settled in a transaction of its own, and one that is being used is left to its user. Who stays away for
IDLE_AFTER_DAYS is left alone until they come back, so that a million accounts are not a million writes each midnight;
what was paid for is settled on time for everybody, since the books must show it.
"""

import uuid
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from itertools import chain
from typing import Any

import structlog
from django.conf import settings
from django.db.models import Q, QuerySet

from credits import settling
from credits.models import Allowance, Grant, Hold, Source, Wallet

logger = structlog.get_logger(__name__)

BATCH = 500

Watch = Callable[[Iterable[uuid.UUID]], Iterable[uuid.UUID]]
Job = Callable[..., int]


class JobFailedError(RuntimeError):
    """Some accounts could not be settled; the log names them, the others are done."""


def reset_daily_credits(*, now: datetime, watch: Watch = iter) -> int:
    """Settle the active accounts whose new day has begun; answers how many."""
    due = _active(now).filter(_has_due(Allowance.Period.DAY, now))
    return _settle_each(watch(_accounts(due)), now=now)


def refill_monthly_credits(*, now: datetime, watch: Watch = iter) -> int:
    """Settle the accounts that are due a month of what they paid for, and the active ones' free month."""
    due = Allowance.objects.filter(period=Allowance.Period.MONTH, next_at__lte=now)
    paid = _accounts(due.exclude(source=Source.FREE))
    free = _accounts(_active(now).filter(_has_due(Allowance.Period.MONTH, now)))
    return _settle_each(watch(chain(paid, free)), now=now)


def expire_credits(*, now: datetime, watch: Watch = iter) -> int:
    """Settle the accounts in which anything but free credits has expired, and the active ones in any case."""
    over = _accounts(Grant.objects.filter(is_open=True, expires_at__lte=now).exclude(source=Source.FREE))
    return _settle_each(watch(chain(over, _accounts(_active(now)))), now=now)


def lapse_holds(*, now: datetime, watch: Watch = iter) -> int:
    """Settle the accounts with holds that nobody captured or released in time."""
    lapsed = Hold.objects.filter(status=Hold.Status.OPEN, expires_at__lte=now)
    return _settle_each(watch(_accounts(lapsed)), now=now)


JOBS: dict[str, Job] = {
    "reset_daily_credits": reset_daily_credits,
    "refill_monthly_credits": refill_monthly_credits,
    "expire_credits": expire_credits,
    "lapse_holds": lapse_holds,
}


def _active(now: datetime) -> QuerySet[Wallet]:
    """The wallets that somebody used lately and in which something is due."""
    since = now.date() - timedelta(days=settings.IDLE_AFTER_DAYS)
    return Wallet.objects.filter(touched_on__gte=since, next_due_at__lte=now)


def _has_due(period: Allowance.Period, now: datetime) -> Q:
    return Q(account__allowances__period=period, account__allowances__next_at__lte=now)


def _settle_each(accounts: Iterable[uuid.UUID], *, now: datetime) -> int:
    """Settle one account after the other. Raises JobFailedError in the end when some could not be."""
    result, failed = 0, 0
    for account_id in accounts:
        try:
            result += settling.settle_if_free(account_id=account_id, now=now)
        except Exception:
            failed += 1
            logger.exception("settling_failed", account_id=str(account_id))
    if failed:
        raise JobFailedError(f"{failed} accounts could not be settled; {result} were.")
    return result


def _accounts(due: QuerySet[Any]) -> Iterator[uuid.UUID]:
    """Account ids in order, a batch at a time, so that a million due accounts are no memory."""
    ordered = due.order_by("account_id").values_list("account_id", flat=True).distinct()
    batch = list(ordered[:BATCH])
    while batch:
        yield from batch
        batch = list(ordered.filter(account_id__gt=batch[-1])[:BATCH])
