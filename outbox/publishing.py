"""Writing down what happened, in the transaction in which it did."""

import uuid
from datetime import datetime, timedelta

from django.db import transaction

from common.json_types import JsonObject
from common.queue import enqueue
from outbox.models import OutboxEvent

# How long a worker has to take a queued event before the sweep does.
GRACE = timedelta(seconds=15)


def publish(
    *,
    name: str,
    key: str,
    data: JsonObject,
    now: datetime,
    account_id: uuid.UUID | None = None,
    happened_at: datetime | None = None,
) -> bool:
    """Store an event until every subscriber has had it. False when its key was kept before.

    `data` is JSON and holds everything that subscribers need: nobody looks things up later, when they have changed.
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
            transaction.on_commit(lambda: enqueue("outbox.tasks.dispatch_event", event_id=str(event.pk)))
    return is_new
