"""Celery's side of the console."""

import uuid

from celery import shared_task

from common import clock
from console import alert_rules, bulk_grants
from console.models import BulkGrant


@shared_task
def run_bulk_grant(*, bulk_id: str) -> None:
    """Grant the rows of a file that somebody started."""
    bulk_grants.run(uuid.UUID(bulk_id), now=clock.now())


@shared_task
def sweep_bulk_grants() -> None:
    """Go on with those whose worker was stopped, or that were never queued."""
    for row in BulkGrant.objects.filter(state=BulkGrant.State.RUNNING):
        bulk_grants.run(row.pk, now=clock.now())


@shared_task
def watch_business() -> None:
    """Alert when a number passes its threshold; resolve when it is back."""
    alert_rules.evaluate(now=clock.now())
