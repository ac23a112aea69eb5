"""Celery's side of usage."""

from celery import shared_task

from common import clock
from usage import rollup


@shared_task
def roll_up_usage() -> None:
    """Sum what was used, so that pages of usage are quick."""
    rollup.roll_up_usage(now=clock.now())
