"""How an order stands."""

from datetime import datetime

from billing.models import Order
from billing.notifications import domain_events
from common.json_types import JsonObject

OVER = (Order.Status.COMPLETED, Order.Status.SETTLED)


def mark_paid(order: Order, facts: JsonObject | None = None, *, now: datetime) -> None:
    """Note that an order is paid, once; what was true then stays, and so does what a person has settled."""
    completed = Order.objects.filter(pk=order.pk).exclude(status__in=OVER)
    if completed.update(status=Order.Status.COMPLETED, completed_at=now, problem="", **(facts or {})):
        order.refresh_from_db()
        domain_events.order_paid(order, now=now)


def set_payment_status(order: Order, status: Order.Status, *, problem: str = "") -> None:
    """Note how a payment stands; what was completed or settled stays so."""
    unfinished = Order.objects.filter(pk=order.pk).exclude(status__in=OVER)
    unfinished.update(status=status, problem=problem)
