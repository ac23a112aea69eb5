"""Why is the balance what it is? Grant by grant: what it gave, to what, what expired, what is set aside, what is left.

The past is shown as it was: what time brought counts from when it was due, also where it was posted later because
nobody had looked. (Daily credits of days on which nobody looked were never posted, and are not shown.)
"""

import uuid
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, DateTimeField, F, Max, Min, Q, QuerySet, Sum
from django.db.models.functions import Coalesce

from credits import settling, spending_order
from credits.models import Entry, Grant, Hold, HoldLot, Transaction

Kind = Transaction.Kind

# Lots that were used up or over for longer than this are left out unless they are asked for.
RECENT = timedelta(days=30)


@dataclass(frozen=True, kw_only=True)
class Use:
    """What some of a lot's credits went to (or came back from): one line for each kind and feature."""

    kind: str
    feature: str
    times: int
    credits: int  # positive when they came, negative when they left
    first_at: datetime
    latest_at: datetime


@dataclass(frozen=True, kw_only=True)
class LotStory:
    """One grant and what became of it. granted + returned - spent - expired - taken_back = remaining + held."""

    grant: Grant
    granted: int
    spent: int
    returned: int
    expired: int
    taken_back: int  # with the money, by an operator, or for a debt
    held: int
    remaining: int
    uses: tuple[Use, ...]


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """A balance at one moment. available = the sum of what remains of the lots; posted = available + held."""

    at: datetime
    available: int
    held: int
    debt: int
    lots: tuple[LotStory, ...]

    @property
    def posted(self) -> int:
        return self.available + self.held


def explain_balance(
    *, account_id: uuid.UUID, now: datetime, at: datetime | None = None, since: datetime | None = None
) -> Explanation:
    """The account's balance at `at` (now, if not given) and the lots it is made of, in the order of drawing.

    Lots that were over before `since` (30 days before `at`, if not given) are left out: nothing remains of them.
    """
    settling.settle(account_id=account_id, now=now)
    at = min(at or now, now)
    holds = _held(account_id, at)
    grants = _lived_between(account_id, since or at - RECENT, at, holds)
    uses = _uses(account_id, grants, at)
    stories = [_story(grant, uses[grant.pk], holds.get(grant.pk, 0)) for grant in grants]
    stories.sort(key=lambda story: spending_order.key(story.grant))
    return Explanation(
        at=at,
        available=sum(story.remaining for story in stories),
        held=sum(story.held for story in stories),
        debt=_debt(account_id, at),
        lots=tuple(stories),
    )


def _lived_between(account_id: uuid.UUID, since: datetime, at: datetime, held: Collection[uuid.UUID]) -> list[Grant]:
    """The grants that had begun by `at` and were not over before `since`; those with held credits in any case."""
    begun = Grant.objects.filter(account_id=account_id, effective_at__lte=at).select_related("allowance")
    not_over = Q(expires_at=None) | Q(expires_at__gt=since)
    result = begun.filter(not_over | Q(pk__in=list(held)))
    used_up_long_ago = (
        Entry.objects.filter(account_id=account_id, grant__in=result.filter(is_open=False))
        .values("grant_id")
        .annotate(latest=Max(_moment("transaction__")))
        .filter(latest__lt=since)
        .values_list("grant_id", flat=True)
    )
    return list(result.exclude(pk__in=list(used_up_long_ago)))


def _uses(account_id: uuid.UUID, grants: list[Grant], at: datetime) -> dict[uuid.UUID, list[Use]]:
    rows = (
        _until(Entry.objects.filter(account_id=account_id, grant__in=grants), "transaction__", at)
        .values("grant_id", "transaction__kind", "transaction__feature")
        .annotate(times=Count("*"), credits=Sum("amount"), first=Min("moment"), latest=Max("moment"))
        .order_by("latest")
    )
    result: dict[uuid.UUID, list[Use]] = defaultdict(list)
    for row in rows:
        result[row["grant_id"]].append(
            Use(
                kind=row["transaction__kind"],
                feature=row["transaction__feature"],
                times=row["times"],
                credits=row["credits"],
                first_at=row["first"],
                latest_at=row["latest"],
            )
        )
    return result


def _held(account_id: uuid.UUID, at: datetime) -> dict[uuid.UUID, int]:
    """What was set aside at `at`, by grant."""
    open_then = Hold.objects.filter(account_id=account_id, created_at__lte=at, expires_at__gt=at).filter(
        Q(ended_at=None) | Q(ended_at__gt=at)
    )
    lots = HoldLot.objects.filter(hold__in=open_then).values_list("grant_id").annotate(Sum("amount"))
    return dict(lots.values_list("grant_id", "amount__sum"))


def _debt(account_id: uuid.UUID, at: datetime) -> int:
    changes = _until(Transaction.objects.filter(account_id=account_id).exclude(debt_change=0), "", at)
    return changes.aggregate(total=Sum("debt_change"))["total"] or 0


def _until(rows: "QuerySet[Entry] | QuerySet[Transaction]", to_transaction: str, at: datetime) -> "QuerySet[Any]":
    """The rows whose moment is not after `at`."""
    return rows.annotate(moment=_moment(to_transaction)).filter(moment__lte=at)


def _moment(to_transaction: str) -> Coalesce:
    """When a transaction counts from: when it was due, else when it was posted."""
    return Coalesce(F(f"{to_transaction}due_at"), F(f"{to_transaction}created_at"), output_field=DateTimeField())


def _story(grant: Grant, uses: list[Use], held: int) -> LotStory:
    def total(*kinds: Kind) -> int:
        return sum(use.credits for use in uses if use.kind in kinds)

    return LotStory(
        grant=grant,
        granted=total(Kind.GRANT),
        spent=-total(Kind.SPEND),
        returned=total(Kind.REVERSE),
        expired=-total(Kind.EXPIRE),
        taken_back=-total(Kind.REVOKE, Kind.RESTORE, Kind.ADJUST, Kind.DEBT),
        held=held,
        remaining=sum(use.credits for use in uses) - held,
        uses=tuple(uses),
    )
