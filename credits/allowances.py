"""Promises of credits that come by themselves: free ones each day or month, a plan's each month."""

import uuid
from datetime import datetime

from django.db import transaction

from accounts.models import Account
from accounts.public_ids import new_id
from credits import locks, settling
from credits.models import PRIORITY, Allowance, Source
from credits.money import FREE, Money


def start(
    *,
    account: Account,
    source: Source,
    source_key: str,
    amount: int,
    period: Allowance.Period,
    anchor: datetime,
    now: datetime,
    zone: str = "",
    paid: Money = FREE,
    periods: int | None = None,
    paid_until: datetime | None = None,
    priority: int | None = None,
) -> Allowance:
    """Promise `amount` credits each `period`, counted from `anchor`, and give what is due at once.

    A repeated call (by `source_key`) answers the first promise and changes nothing. `paid` is for all
    `periods` together. Months need a `zone` for their calendar; days follow the account's own.
    """
    with transaction.atomic():
        wallet = locks.wallet(account.pk)
        settling.settle_locked(wallet, now=now)
        if known := Allowance.objects.filter(account=account, source_key=source_key).first():
            return known
        allowance = Allowance.objects.create(
            id=new_id(),
            account=account,
            source=source,
            source_key=source_key,
            amount=amount,
            period=period,
            priority=PRIORITY[source] if priority is None else priority,
            anchor=anchor,
            zone=zone or (account.time_zone if period == Allowance.Period.MONTH else ""),
            paid_until=paid_until,
            paid_minor=paid.minor,
            currency=paid.currency,
            periods=periods,
            next_at=anchor,
            created_at=now,
        )
        settling.refill(wallet, allowance, now=now)
        settling.note_next_due(wallet)
        # What was promised for a time that is over already (a payment heard of late) ends here.
        settling.settle_locked(wallet, now=now)
        return allowance


def end(*, account_id: uuid.UUID, source_key: str, now: datetime) -> None:
    """Promise no more from now on; what was given stays until it expires. A second call changes nothing."""
    with transaction.atomic():
        wallet = locks.wallet(account_id)
        settling.settle_locked(wallet, now=now)
        Allowance.objects.filter(account_id=account_id, source_key=source_key, ended_at=None).update(
            ended_at=now, next_at=None
        )
        settling.note_next_due(wallet)
