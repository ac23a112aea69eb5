"""Celery's side of usage."""

from celery import shared_task

from accounts import clock
from usage import rolling


@shared_task
def roll_up_usage() -> None:
    """Sum what was used, so that pages of usage are quick."""
    rolling.roll_up_usage(now=clock.now())
