"""Moving running plans to the price that replaced theirs: each at the end of a period, after a notice.

A plan that ends, waits, is on trial, is paused or unpaid, or changes to something else, is moved when that is over. The
hourly job goes on until nobody is left, and then archives the old price at Stripe.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from django.db.models import QuerySet

from billing.catalogue import publishing
from billing.errors import BillingError
from billing.models import Price, PriceMove, Subscription
from billing.subscriptions import plan_changes

logger = structlog.get_logger(__name__)

STATUS = Subscription.Status
# Billed by their price, now or as soon as something is settled.
GOING_ON = (STATUS.TRIALING, STATUS.ACTIVE, STATUS.PAST_DUE, STATUS.UNPAID, STATUS.PAUSED, STATUS.INCOMPLETE)


@dataclass(frozen=True, kw_only=True)
class MoveProgress:
    """How many plans are to be moved still, and how many are or have it planned."""

    left: int
    planned: int


def begin(*, from_price: Price, to_price: Price, notice_days: int, actor: str, now: datetime) -> PriceMove:
    """Move every plan at `from_price`, from now on. (The job does it: `run`.)"""
    return PriceMove.objects.create(
        from_price=from_price, to_price=to_price, notice_days=notice_days, actor=actor, created_at=now
    )


def plans_at(price: Price) -> QuerySet[Subscription]:
    """The plans that go on at a price."""
    return Subscription.objects.filter(price=price, status__in=GOING_ON, ended_at=None, cancel_at_period_end=False)


def moves_first(price: Price, *, notice_days: int, now: datetime) -> datetime | None:
    """When the first plan at a price would be moved, if the move began now; none without plans."""
    ends = plans_at(price).values_list("current_period_end", flat=True)
    moves = [_last_at_old(each, price, now + timedelta(days=notice_days)) for each in ends]
    return min(moves, default=None)


def run(*, now: datetime) -> int:
    """Plan the moves that can be planned now; how many were. One that fails is tried again by the next run."""
    planned = 0
    for move in PriceMove.objects.filter(ended_at=None).select_related("from_price__plan", "to_price"):
        problem = ""
        for subscription in list(_movable(move)):
            try:
                plan_changes.move_price(
                    account=subscription.account, from_price=move.from_price, price=move.to_price, now=now
                )
                planned += 1
            except BillingError as error:
                problem = f"{subscription.stripe_subscription_id}: {error}"
                logger.warning(
                    "price_move_failed", subscription_id=subscription.stripe_subscription_id, error=str(error)
                )
        is_over = not problem and not _stays(move.from_price).exists()
        if is_over:
            publishing.retire(move.from_price)
        PriceMove.objects.filter(pk=move.pk).update(problem=problem, ended_at=now if is_over else None)
    return planned


def progress(move: PriceMove) -> MoveProgress:
    here = plans_at(move.from_price)
    planned = here.filter(next_price=move.to_price).count()
    done = Subscription.objects.filter(price=move.to_price, started_at__lt=move.created_at, ended_at=None).count()
    return MoveProgress(left=here.exclude(next_price=move.to_price).count(), planned=planned + done)


def _movable(move: PriceMove) -> Iterator[Subscription]:
    noticed = move.created_at + timedelta(days=move.notice_days)
    rows = plans_at(move.from_price).filter(
        status=STATUS.ACTIVE, next_price=None, pending_price=None, is_paused=False, current_period_end__gte=noticed
    )
    yield from rows.select_related("account").order_by("pk").iterator()


def _stays(price: Price) -> QuerySet[Subscription]:
    """Whoever is, or may again be, billed by a price."""
    over = (STATUS.CANCELED, STATUS.INCOMPLETE_EXPIRED)
    return Subscription.objects.filter(price=price, ended_at=None).exclude(status__in=over)


def _last_at_old(period_end: datetime, price: Price, noticed: datetime) -> datetime:
    """The end of the last period at the old price."""
    month = timedelta(days=30) * (price.months or 1)
    while period_end < noticed:
        period_end += month
    return period_end
