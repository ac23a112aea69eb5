"""Celery's side of billing: each task is one call of a function that is tested without Celery."""

from datetime import timedelta

import structlog
from celery import shared_task
from kombu.exceptions import OperationalError

from accounts import clock
from billing import inbox, reconciliation

logger = structlog.get_logger(__name__)

BUSY_PAUSE_S = 1
# Stripe itself tries a webhook for three days; a week leaves room for a long weekend.
RECONCILED = timedelta(days=7)


@shared_task
def process_event(*, event_id: str) -> None:
    """Act on one event of the inbox; wait a moment when its customer is being worked on."""
    state = inbox.process(event_id=event_id, now=clock.now())
    if state == inbox.STATE.RECEIVED:
        process_event.apply_async(kwargs={"event_id": event_id}, countdown=BUSY_PAUSE_S)


@shared_task
def sweep_inbox() -> None:
    """Take up the events that nobody has processed though it is time."""
    for event_id in inbox.due(now=clock.now()):
        process_event.delay(event_id=event_id)


@shared_task
def reconcile() -> None:
    """Mend what webhooks did not tell of the last days, and log as an error what cannot be mended."""
    now = clock.now()
    since = now - RECONCILED
    found = list(reconciliation.differences(since=since))
    mended = [row for row in found if reconciliation.mend(row, now=now)]
    if mended:
        logger.warning("reconciliation_mended", count=len(mended), objects=[row.object_id for row in mended])
    for row in found:
        if row not in mended:
            logger.error("reconciliation_differs", kind=row.kind, object_id=row.object_id, problem=row.problem)


def ring(event_id: str) -> None:
    """Tell a worker of a new event. When Redis is away, the sweep finds the event later."""
    try:
        process_event.delay(event_id=event_id)
    except OperationalError:
        logger.warning("doorbell_unreachable", event_id=event_id)
