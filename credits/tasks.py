"""Celery's side of the ledger: each task is one job by its name."""

from dataclasses import asdict

import structlog
from celery import shared_task

from accounts import clock
from credits import audit, jobs
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
def audit_ledger() -> None:
    """Check every invariant; each disagreement is an error in the log, and together they are one alert."""
    now, found = clock.now(), 0
    for found, row in enumerate(audit.all_disagreements(), start=1):  # noqa: B007 - counted
        logger.error("ledger_disagrees", **asdict(row))
    if found:
        detail = f"{found} rows. `manage.py audit_ledger` lists them."
        alerts.raise_alert(Alert.Kind.LEDGER, "ledger", detail=detail, now=now)
    else:
        alerts.resolve(Alert.Kind.LEDGER, "ledger", now=now, note="agrees again")
