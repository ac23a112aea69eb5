"""Writing down what happened, in the transaction in which it did."""

import uuid
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction

from outbox import doorbell
from outbox.models import OutboxEvent

# How long the doorbell has before the sweep looks for itself.
GRACE = timedelta(seconds=15)


def publish(
    *,
    name: str,
    key: str,
    data: dict[str, Any],
    now: datetime,
    account_id: uuid.UUID | None = None,
    happened_at: datetime | None = None,
) -> bool:
    """Keep an event until everybody who subscribed to it was told. False when its key was kept before.

    `data` is JSON and holds all that is to be told: nobody looks things up later, when they have changed.
    """
    event = OutboxEvent(
        name=name,
        key=key,
        account_id=account_id,
        data=data,
        happened_at=happened_at or now,
        created_at=now,
        next_attempt_at=now + GRACE,
    )
    with transaction.atomic():
        OutboxEvent.objects.bulk_create([event], ignore_conflicts=True)
        is_new = OutboxEvent.objects.filter(pk=event.pk).exists()
        if is_new:
            transaction.on_commit(lambda: _ring(str(event.pk)))
    return is_new


def _ring(event_id: str) -> None:
    from outbox import tasks

    doorbell.ring(tasks.relay_event, event_id=event_id)
