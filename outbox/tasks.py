"""Celery's side of the outbox."""

import uuid

from celery import shared_task

from accounts import clock
from outbox import relaying


@shared_task
def relay_event(*, event_id: str) -> None:
    """Tell the subscribers of one event."""
    relaying.relay(event_id=uuid.UUID(event_id), now=clock.now())


@shared_task
def sweep_outbox() -> None:
    """Take up the events that somebody should have been told of by now."""
    for event_id in relaying.due(now=clock.now()):
        relay_event.delay(event_id=str(event_id))
