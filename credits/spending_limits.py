"""Spending limits: how many credits one API key, or one member with the keys they made, may spend in a day and a month.

The database counts and refuses inside the spend itself (credits/sql/limit_refusal.sql, count_use.sql).
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection, transaction
from django.db.models import BigIntegerField, F, Q, QuerySet, Sum, Value
from django.db.models.functions import Coalesce, Greatest, Least

from accounts import keys
from accounts.models import ApiKey
from credits import locks
from credits.calendar import month_at, next_day
from credits.errors import InvalidAmountError, SpendingLimitReachedError
from credits.models import Hold, SpendingLimit, Transaction, Wallet

DAY, MONTH = "day", "month"


@dataclass(frozen=True, kw_only=True)
class LimitUse:
    """What was used of a limit in its day or month; `percent` is the warning that was crossed, if one was."""

    subject: str
    period: str
    limit: int
    used: int
    resets_at: datetime
    is_hard: bool
    percent: int | None = None

    @property
    def left(self) -> int:
        return max(0, self.limit - self.used)


def set_limit(
    *,
    account_id: uuid.UUID,
    subject: str,
    actors: Sequence[str],
    per_day: int | None,
    per_month: int | None,
    is_hard: bool = True,
    now: datetime,
) -> None:
    """Limit what `actors` (the ledger's names: `key_…`, `user:…`) spend together; without a number, no longer.

    What they spent in the running day and month counts. A second call replaces the first. Raises InvalidAmountError.
    """
    for amount in (per_day, per_month):
        if amount is not None and amount < 1:
            raise InvalidAmountError(amount)
    with transaction.atomic():
        wallet = locks.lock_wallet(account_id)
        if per_day is None and per_month is None:
            SpendingLimit.objects.filter(account_id=account_id, subject=subject).delete()
        else:
            limit = SpendingLimit.objects.filter(account_id=account_id, subject=subject).first()
            limit = limit or SpendingLimit(account_id=account_id, subject=subject)
            limit.actors = sorted({*actors})
            limit.per_day, limit.per_month, limit.is_hard = per_day, per_month, is_hard
            _begin(limit, wallet, now=now)
            limit.day_used = _spent_since(limit, _moment(limit.day_started_at))
            limit.month_used = _spent_since(limit, _moment(limit.month_started_at))
            limit.save()
        wallet.has_spending_limits = SpendingLimit.objects.filter(account_id=account_id).exists()
        wallet.save(update_fields=["has_spending_limits"])


def set_key_limit(key: ApiKey, *, per_day: int | None, per_month: int | None, is_hard: bool, now: datetime) -> None:
    """Limit an account's key, with those that it follows and that follow it. Raises InvalidAmountError."""
    assert key.account_id is not None  # noqa: S101 - a service key spends for all accounts
    with transaction.atomic():
        # First the lock: a key that is made meanwhile finds the limit (`count_new_key`).
        locks.lock_wallet(key.account_id)
        limit = limit_of_key(key, now=now)
        set_limit(
            account_id=key.account_id,
            subject=limit.subject if limit else key.public_id,
            actors=[*(limit.actors if limit else []), *(each.public_id for each in keys.rotations_of(key))],
            per_day=per_day,
            per_month=per_month,
            is_hard=is_hard,
            now=now,
        )


def set_member_limit(
    account_id: uuid.UUID, user_id: int, *, per_day: int | None, per_month: int | None, is_hard: bool, now: datetime
) -> None:
    """Limit what a member spends for an account, together with the keys that they made. Raises InvalidAmountError."""
    subject = member_subject(user_id)
    with transaction.atomic():
        locks.lock_wallet(account_id)
        made = ApiKey.objects.filter(account_id=account_id, created_by=user_id)
        set_limit(
            account_id=account_id,
            subject=subject,
            actors=[subject, *(key.public_id for key in made)],
            per_day=per_day,
            per_month=per_month,
            is_hard=is_hard,
            now=now,
        )


def member_subject(user_id: int) -> str:
    """As what the ledger knows a member."""
    return f"user:{user_id}"


def limit_of_key(key: ApiKey, *, now: datetime) -> SpendingLimit | None:
    """The limit of a key, which it may share with the one that it followed."""
    limits = of_account(key.account_id, now=now) if key.account_id else {}
    return next((row for subject, row in limits.items() if is_of_key(row) and key.public_id in row.actors), None)


def is_of_key(limit: SpendingLimit) -> bool:
    """Whether it is a key's, not a member's."""
    return limit.subject.startswith("key_")


def count_new_key(*, key: ApiKey, follows: ApiKey | None, **_kwargs: object) -> None:
    """A new key counts for the limit of who made it, and for that of the key which it follows."""
    if key.account_id is None:
        return
    subjects = [member_subject(key.created_by_id)] if key.created_by_id else []
    with transaction.atomic():
        locks.lock_wallet(key.account_id)
        if follows is not None:
            of_key = SpendingLimit.objects.filter(account_id=key.account_id, actors__contains=[follows.public_id])
            subjects += [limit.subject for limit in of_key if is_of_key(limit)]
        add_actor(account_id=key.account_id, subjects=subjects, actor=key.public_id)


def add_actor(*, account_id: uuid.UUID, subjects: Sequence[str], actor: str) -> None:
    """Let a new key count for limits that there are: its maker's, and that of the key which it follows."""
    with transaction.atomic():
        locks.lock_wallet(account_id)
        limits = SpendingLimit.objects.filter(account_id=account_id, subject__in=subjects)
        for limit in limits.exclude(actors__contains=[actor]):
            limit.actors = sorted({*limit.actors, actor})
            limit.save(update_fields=["actors"])


def of_account(account_id: uuid.UUID, *, now: datetime) -> dict[str, SpendingLimit]:
    """The account's limits by whose they are, their counts as of now."""
    result = {}
    for limit in SpendingLimit.objects.filter(account_id=account_id):
        if _is_over(limit.day_ends_at, now):
            limit.day_used = 0
        if _is_over(limit.month_ends_at, now):
            limit.month_used = 0
        result[limit.subject] = limit
    return result


def begin_periods(*, account_id: uuid.UUID, now: datetime) -> None:
    """Begin the next day and month of the account's limits, where the last ones are over."""
    with transaction.atomic():
        wallet = locks.lock_wallet(account_id)
        for limit in SpendingLimit.objects.filter(account_id=account_id):
            _begin(limit, wallet, now=now)
            limit.save(
                update_fields=[
                    "day_used",
                    "month_used",
                    "day_started_at",
                    "day_ends_at",
                    "month_started_at",
                    "month_ends_at",
                ]
            )


def give_back(wallet: Wallet, actor: str, taken_at: datetime, amount: int, *, now: datetime) -> None:
    """What an actor took at `taken_at` came back, and counts no longer. The caller holds the wallet's lock."""
    if not wallet.has_spending_limits:
        return
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT credits_count_use(%s, %s, %s, %s, %s)", [wallet.account_id, [actor], -amount, taken_at, now]
        )


def give_back_spend(wallet: Wallet, spent: Transaction, amount: int, *, left: int, now: datetime) -> None:
    """A part of a spend came back, of which `left` could: what it took beyond its hold, last, comes back first."""
    if spent.hold is None:
        give_back(wallet, spent.actor, spent.created_at, amount, now=now)
        return
    beyond = min(amount, max(0, left - min(-spent.amount, spent.hold.amount)))
    give_back(wallet, spent.hold.actor, spent.created_at, beyond, now=now)
    give_back(wallet, spent.hold.actor, spent.hold.created_at, amount - beyond, now=now)


def refusal(account_id: uuid.UUID, actor: str, amount: int, *, now: datetime) -> SpendingLimitReachedError | None:
    """The refusal of the first hard limit that does not allow this actor so much now."""
    uses = [use for limit in _of_actor(account_id, actor) if limit.is_hard for use in uses_of(limit)]
    over = [use for use in uses if use.used + amount > use.limit]
    if not over:
        return None
    # (The one that lasts longest: after it there is more.)
    use = max(over, key=lambda each: each.resets_at)
    return SpendingLimitReachedError(
        period=use.period, limit=use.limit, used=use.used, resets_at=use.resets_at, now=now
    )


def uses_of(limit: SpendingLimit) -> list[LimitUse]:
    """What was used of a limit, in its day and its month."""
    numbers = (
        (DAY, limit.per_day, limit.day_used, limit.day_ends_at),
        (MONTH, limit.per_month, limit.month_used, limit.month_ends_at),
    )
    return [
        LimitUse(
            subject=limit.subject,
            period=period,
            limit=most,
            used=used,
            resets_at=_moment(ends_at),
            is_hard=limit.is_hard,
        )
        for period, most, used, ends_at in numbers
        if most is not None
    ]


def crossed(account_id: uuid.UUID, name: str) -> LimitUse | None:
    """The use that `limit:<id>:<period>:<percent>` names, as the database's function answers it."""
    _, number, period, percent = name.split(":")
    limit = SpendingLimit.objects.filter(account_id=account_id, pk=number).first()
    uses = [use for use in (uses_of(limit) if limit else []) if use.period == period]
    return LimitUse(**{**vars(uses[0]), "percent": int(percent)}) if uses else None


def _of_actor(account_id: uuid.UUID, actor: str) -> list[SpendingLimit]:
    return list(SpendingLimit.objects.filter(account_id=account_id, actors__contains=[actor]).order_by("pk"))


def _begin(limit: SpendingLimit, wallet: Wallet, *, now: datetime) -> None:
    """Begin the day and the month, where the last ones are over. Moving through time zones begins none sooner."""
    zone = wallet.account.time_zone
    if _is_over(limit.day_ends_at, now):
        day = next_day(limit.day_started_at, now, zone)
        if day.starts_at > now:
            limit.day_ends_at = day.starts_at  # somebody went east: a little longer
        else:
            ended_at, limit.day_started_at, limit.day_ends_at = limit.day_ends_at, day.starts_at, day.ends_at
            limit.day_used = _spent_in_both(limit, day.starts_at, ended_at)
    if _is_over(limit.month_ends_at, now):
        ended_at = limit.month_ends_at
        limit.month_started_at, limit.month_ends_at = month_at(now, zone)
        limit.month_used = _spent_in_both(limit, limit.month_started_at, ended_at)


def _spent_in_both(limit: SpendingLimit, starts_at: datetime, ended_at: datetime | None) -> int:
    """What counts in a new period of what was spent in the one before: nothing, unless somebody went west."""
    return _spent_since(limit, starts_at) if ended_at is not None and starts_at < ended_at else 0


def _is_over(ends_at: datetime | None, now: datetime) -> bool:
    return ends_at is None or ends_at <= now


def _moment(value: datetime | None) -> datetime:
    assert value is not None  # noqa: S101 - a limit that is stored has begun
    return value


def _spent_since(limit: SpendingLimit, since: datetime) -> int:
    """What the actors of a limit spent or hold since then, less what was given back of it.

    Of a capture, what was held counts since it was held, for who held it, and the rest since the capture.
    """
    spends = Transaction.objects.filter(account_id=limit.account_id, kind=Transaction.Kind.SPEND)
    plain = spends.filter(hold=None, actor__in=limit.actors, created_at__gte=since)
    captures = spends.filter(hold__actor__in=limit.actors)
    held = captures.filter(hold__created_at__gte=since).annotate(
        part=Least(-F("amount"), F("hold__amount"), output_field=BigIntegerField())
    )
    beyond = captures.filter(created_at__gte=since).annotate(
        part=Greatest(-F("amount") - F("hold__amount"), Value(0), output_field=BigIntegerField())
    )
    counted = spends.filter(Q(pk__in=plain.values("pk")) | Q(pk__in=held.values("pk")))
    back = _sum(Transaction.objects.filter(account_id=limit.account_id, reverses__in=counted))
    holds = Hold.objects.filter(
        account_id=limit.account_id, created_at__gte=since, actor__in=limit.actors, status=Hold.Status.OPEN
    )
    return max(0, -_sum(plain) + _sum(held, "part") + _sum(beyond, "part") - back + _sum(holds))


def _sum(rows: QuerySet[Any], field: str = "amount") -> int:
    return int(rows.aggregate(total=Coalesce(Sum(field), 0))["total"])
