"""Celery's side of the outbox."""

import uuid

from celery import shared_task

from common import clock
from outbox import dispatching, webhooks


@shared_task
def dispatch_event(*, event_id: str) -> None:
    """Dispatch one event to its subscribers."""
    dispatching.dispatch(event_id=uuid.UUID(event_id), now=clock.now())


@shared_task
def sweep_outbox() -> None:
    """Take up the events that should have been dispatched by now."""
    for event_id in dispatching.due(now=clock.now()):
        dispatch_event.delay(event_id=str(event_id))


@shared_task
def deliver_webhook(*, delivery_id: str) -> None:
    """One try of one delivery."""
    webhooks.attempt(delivery_id=uuid.UUID(delivery_id), now=clock.now())


@shared_task
def sweep_webhooks() -> None:
    """Take up the deliveries whose next try is due."""
    for delivery_id in webhooks.due(now=clock.now()):
        deliver_webhook.delay(delivery_id=str(delivery_id))
