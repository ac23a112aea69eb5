"""Orders that wait for a payment: providers are asked how it stands, and those that nobody will pay are ended."""

from datetime import datetime, timedelta

import structlog

from billing.checkout import purchases
from billing.errors import BillingError, FulfilmentError
from billing.models import Order
from billing.payments import orders
from billing.stripe import stripe_client

logger = structlog.get_logger(__name__)

LOOK_BACK = timedelta(days=3)
# A callback is there within seconds; after this long we ask.
ASKED_AFTER = timedelta(seconds=30)
# As long as a payment page is open.
OPEN_FOR = timedelta(hours=24)
BATCH = 200


def refresh(*, now: datetime) -> int:
    """Ask the providers that send no events we keep (Stripe's have their inbox) how payments stand; how many ended."""
    waiting = Order.objects.filter(
        status__in=(Order.Status.OPEN, Order.Status.PROCESSING),
        created_at__gt=now - LOOK_BACK,
        created_at__lt=now - ASKED_AFTER,
    )
    ended = 0
    for order in waiting.exclude(provider="stripe").exclude(payment_id=None).order_by("pk")[:BATCH]:
        try:
            ended += not purchases.refresh(order, now=now).is_waiting
        except (BillingError, FulfilmentError) as error:
            logger.warning("order_not_refreshed", order=order.public_id, error=str(error))
    return ended


def close_abandoned(*, now: datetime) -> int:
    """End the orders that nobody will pay any more: card forms that were left, and those whose page never opened.

    (A payment page ends by itself, and Stripe sends an event.) How many were ended.
    """
    left = Order.objects.filter(status=Order.Status.OPEN, stripe_session_id=None, created_at__lt=now - OPEN_FOR)
    closed = 0
    for order in left.exclude(ui=Order.Ui.OFF_SESSION).order_by("pk")[:BATCH]:
        try:
            if order.provider == "stripe" and order.payment_id:
                stripe_client.cancel_payment(order.payment_id)
                closed += not purchases.refresh(order, now=now).is_waiting
            elif not order.payment_id:
                orders.set_payment_status(order, Order.Status.EXPIRED)
                closed += 1
        except (BillingError, FulfilmentError) as error:
            logger.warning("order_not_closed", order=order.public_id, error=str(error))
    return closed
