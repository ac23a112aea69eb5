"""Celery's side of the ledger: each task is one job by its name."""

from dataclasses import asdict

import structlog
from celery import shared_task

from accounts import clock
from credits import audit, jobs

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
    """Check every invariant, and log each disagreement as an error."""
    for row in audit.all_disagreements():
        logger.error("ledger_disagrees", **asdict(row))
