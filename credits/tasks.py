"""Celery's side of the ledger: each task is one job by its name."""

from dataclasses import asdict
from datetime import datetime

import structlog
from celery import shared_task

from common import clock
from credits import audit, jobs, manual_grant_counts, seal_publishing, seals
from outbox import alerts
from outbox.models import Alert

logger = structlog.get_logger(__name__)


@shared_task
def reset_daily_credits() -> None:
    """Give the day's free credits where a new day has begun."""
    jobs.reset_daily_credits(now=clock.now())


@shared_task
def refill_monthly_credits() -> None:
    """Give the month's credits where an anniversary has come."""
    jobs.refill_monthly_credits(now=clock.now())


@shared_task
def expire_credits() -> None:
    """Post what has expired."""
    jobs.expire_credits(now=clock.now())


@shared_task
def lapse_holds() -> None:
    """Give back what is held longer than it may be."""
    jobs.lapse_holds(now=clock.now())


@shared_task
def seal_ledger() -> None:
    """Append a head over what was added to the ledger, and publish it."""
    now = clock.now()
    try:
        seal_publishing.check_chain()
    except seal_publishing.HeadsFileError as error:
        alerts.raise_alert(Alert.Kind.LEDGER, "tampering", detail=str(error), now=now)
        return
    while (created := seals.seal(now=now)) is not None:
        seal_publishing.publish(created, now=now)


@shared_task
def audit_ledger() -> None:
    """Check every invariant; each disagreement is an error in the log, and together they are one alert."""
    now, result = clock.now(), 0
    manual_grant_counts.forget_old(now=now)
    for result, row in enumerate(audit.all_disagreements(), start=1):  # noqa: B007 - counted
        logger.error("ledger_disagrees", **asdict(row))
    if result:
        detail = f"{result} rows. `manage.py audit_ledger` lists them."
        alerts.raise_alert(Alert.Kind.LEDGER, "ledger", detail=detail, now=now)
    else:
        alerts.resolve(Alert.Kind.LEDGER, subject="ledger", now=now, note="agrees again")
    _verify_seals(now=now)


def _verify_seals(*, now: datetime) -> None:
    """Whether the ledger is as it was sealed. What is not stays an alert until a person has looked."""
    result = 0
    try:
        published = seal_publishing.published_heads()
    except seal_publishing.HeadsFileError as error:
        alerts.raise_alert(Alert.Kind.LEDGER, "tampering", detail=str(error), now=now)
        return
    for result, breach in enumerate(seals.breaches(published=published), start=1):  # noqa: B007 - counted
        logger.error("ledger_tampered", what=breach.what, subject=breach.subject)
    if result:
        detail = f"{result} differences from what was sealed. `manage.py audit_ledger --verify-seals` lists them."
        alerts.raise_alert(Alert.Kind.LEDGER, "tampering", detail=detail, now=now)
