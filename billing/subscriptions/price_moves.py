"""Moving running plans to the price that replaced theirs: each at the end of a period, after a notice.

A plan that ends, waits, is on trial, is paused or unpaid, or changes to something else, is moved when that is over. The
hourly job goes on until nobody is left, and then archives the old price at Stripe.

A price may be replaced again meanwhile. Plans go where the last move leads; where the price that they have is on sale
again, they stay, and what was planned for them is taken back.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from django.db import transaction
from django.db.models import Q, QuerySet

from billing.catalogue import publishing
from billing.errors import BillingError
from billing.models import Price, PriceMove, Subscription
from billing.notifications import domain_events
from billing.subscriptions import plan_changes
from credits.calendar import month_boundary

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
    """Move every plan at `from_price`, from now on; an earlier move from it is over. (The job does it: `run`.)"""
    with transaction.atomic():
        Price.objects.select_for_update().get(pk=from_price.pk)
        PriceMove.objects.filter(from_price=from_price, ended_at=None).update(ended_at=now)
        return PriceMove.objects.create(
            from_price=from_price, to_price=to_price, notice_days=notice_days, actor=actor, created_at=now
        )


def is_needed(price: Price) -> bool:
    """Whether Stripe must still know a price as active: a plan has it, or is to get it."""
    return _billed_by(price).exists() or PriceMove.objects.filter(to_price=price, ended_at=None).exists()


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
    for move in PriceMove.objects.filter(ended_at=None).select_related("from_price__plan", "to_price").order_by("pk"):
        target, problem = _target(move), ""
        for subscription in _to_plan(move, target, now=now):
            try:
                plan_changes.move_price(account=subscription.account, from_price=move.from_price, price=target, now=now)
                planned += 1
            except BillingError as error:
                problem = f"{subscription.stripe_subscription_id}: {error}"
                logger.warning(
                    "price_move_failed", subscription_id=subscription.stripe_subscription_id, error=str(error)
                )
        if target is not None:
            _announce(move, target, now=now)
        is_over = not problem and (target is None or not _billed_by(move.from_price).exists())
        PriceMove.objects.filter(pk=move.pk).update(problem=problem, ended_at=now if is_over else None)
        if is_over and target is not None and not is_needed(move.from_price):
            publishing.retire(move.from_price)
    return planned


def progress(move: PriceMove) -> MoveProgress:
    here = plans_at(move.from_price)
    planned = here.exclude(next_price=None).count()
    done = Subscription.objects.filter(price=move.to_price, started_at__lt=move.created_at, ended_at=None).count()
    return MoveProgress(left=here.filter(next_price=None).count(), planned=planned + done)


def _target(move: PriceMove) -> Price | None:
    """Where a move leads by now: on from price to price while those were moved away from, too. None: they stay."""
    if Price.objects.filter(pk=move.from_price_id, is_active=True).exists():
        return None
    price, seen = move.to_price, {move.from_price_id}
    while price.pk not in seen:
        seen.add(price.pk)
        further = PriceMove.objects.filter(from_price=price).order_by("-pk").select_related("to_price").first()
        if price.is_active or further is None:
            return price
        price = further.to_price
    return None


def _to_plan(move: PriceMove, target: Price | None, *, now: datetime) -> list[Subscription]:
    """The plans whose next price is to be set, or taken back."""
    here = plans_at(move.from_price).select_related("account").order_by("pk")
    # What an operator planned for them leads to a price that replaced theirs; what the customer chose is on sale.
    ours = Q(next_price__moves_here__from_price=move.from_price) | Q(next_price__replaces=move.from_price)
    wrong = here.filter(ours)
    if target is None:
        return list(wrong.distinct())
    notice, announced_at = timedelta(days=move.notice_days), move.announced_at or now
    movable = here.filter(status=STATUS.ACTIVE, next_price=None, pending_price=None, is_paused=False)
    # Whoever came after the announcement was told when they came.
    in_time = [row for row in movable if row.current_period_end >= max(announced_at, row.started_at) + notice]
    return [*wrong.exclude(next_price=target).distinct(), *in_time]


def _announce(move: PriceMove, target: Price, *, now: datetime) -> None:
    """Mail those whose move is not planned yet that it comes: the notice counts from then. Once for each plan."""
    waiting = plans_at(move.from_price).filter(next_price=None).select_related("price__plan")
    if move.announced_at is not None:
        waiting = waiting.filter(started_at__gt=move.announced_at)
    else:
        PriceMove.objects.filter(pk=move.pk).update(announced_at=now)
    for subscription in waiting:
        at = _last_at_old(subscription.current_period_end, move.from_price, now + timedelta(days=move.notice_days))
        domain_events.price_announced(subscription, target, move=move.pk, at=at, now=now)


def coming(subscription: Subscription) -> tuple[Price, datetime] | None:
    """The price that was announced to a plan and is not planned yet, and when it counts at the earliest."""
    move = PriceMove.objects.filter(from_price=subscription.price_id, ended_at=None).exclude(announced_at=None).first()
    target = _target(move) if move is not None and subscription.next_price_id is None else None
    if move is None or move.announced_at is None or target is None or subscription.cancel_at_period_end:
        return None
    noticed = max(move.announced_at, subscription.started_at) + timedelta(days=move.notice_days)
    return target, _last_at_old(subscription.current_period_end, subscription.price, noticed)


def _billed_by(price: Price) -> QuerySet[Subscription]:
    """Whoever is, or may again be, billed by a price."""
    over = (STATUS.CANCELED, STATUS.INCOMPLETE_EXPIRED)
    named = Q(price=price) | Q(next_price=price) | Q(pending_price=price)
    return Subscription.objects.filter(named, ended_at=None).exclude(status__in=over)


def _last_at_old(period_end: datetime, price: Price, noticed: datetime) -> datetime:
    """The end of the last period at the old price."""
    end, number = period_end, 0
    while end < noticed:
        number += price.months or 1
        end = month_boundary(period_end, number, "UTC")
    return end
