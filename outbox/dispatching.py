"""Telling the subscribers of an event: each once, again when it failed, given up after about two days."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from django.conf import settings
from django.db.models import F

from outbox.models import OutboxEvent

logger = structlog.get_logger(__name__)

Handler = Callable[[OutboxEvent], None]

FIRST_PAUSE = timedelta(minutes=1)  # longer than any handler takes: until then nobody else dispatches
LONGEST_PAUSE = timedelta(hours=4)
SWEEP_BATCH = 200


@dataclass(frozen=True)
class Subscriber:
    """Who subscribed to the events whose name starts so."""

    label: str
    prefix: str
    handler: Handler


_subscriptions: list[Subscriber] = []


def subscribe(label: str, prefix: str, handler: Handler) -> None:
    """Call `handler` with every event whose name starts with `prefix`. A label that is known changes nothing."""
    if not any(known.label == label for known in _subscriptions):
        _subscriptions.append(Subscriber(label, prefix, handler))


def dispatch(*, event_id: uuid.UUID, now: datetime) -> bool:
    """Call the subscribers that have not had the event; whether all have it now. A failure is recorded, not raised."""
    waiting = OutboxEvent.objects.filter(pk=event_id, next_attempt_at__isnull=False)
    event = waiting.select_related("account").first()
    if event is None:
        return True
    # Whoever moves the next attempt away dispatches; a killed worker costs a pause, not the event.
    ours = waiting.filter(attempts=event.attempts)
    if not ours.update(attempts=F("attempts") + 1, next_attempt_at=now + backoff(event.attempts + 1)):
        return False
    for subscription in _subscriptions:
        if event.name.startswith(subscription.prefix) and subscription.label not in event.handled_by:
            try:
                subscription.handler(event)
            except Exception as error:  # noqa: BLE001 - whatever it was, it is kept, counted and tried again
                return _record_failure(event, subscription.label, error)
            event.handled_by.append(subscription.label)
            OutboxEvent.objects.filter(pk=event.pk).update(handled_by=event.handled_by)
    OutboxEvent.objects.filter(pk=event.pk).update(next_attempt_at=None, error="")
    return True


def due(*, now: datetime) -> list[uuid.UUID]:
    """The events that should have been dispatched by now, oldest first; at most SWEEP_BATCH."""
    rows = OutboxEvent.objects.filter(next_attempt_at__lte=now).order_by("next_attempt_at")
    return list(rows.values_list("pk", flat=True)[:SWEEP_BATCH])


def backoff(attempts: int) -> timedelta:
    """How long to wait after this many attempts: a minute, doubling, at most four hours."""
    doubled: timedelta = FIRST_PAUSE * 2 ** (attempts - 1)
    return min(doubled, LONGEST_PAUSE)


def _record_failure(event: OutboxEvent, label: str, error: Exception) -> bool:
    changes: dict[str, object] = {"error": f"{label}: {type(error).__name__}: {error}"}
    if event.attempts + 1 >= settings.OUTBOX_MAX_ATTEMPTS:
        changes["next_attempt_at"] = None
    OutboxEvent.objects.filter(pk=event.pk).update(**changes)
    logger.warning("event_not_told", name=event.name, key=event.key, attempts=event.attempts + 1, exc_info=error)
    return False
