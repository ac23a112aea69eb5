"""Queueing work for Celery's workers, by a task's name: whoever asks for work does not import who does it."""

import structlog
from celery import current_app
from kombu.exceptions import OperationalError

logger = structlog.get_logger(__name__)


def enqueue(task: str, **arguments: str) -> None:
    """Have a worker run `task` (such as `billing.tasks.top_up`) now. When Redis is away, a sweep does it later."""
    try:
        current_app.send_task(task, kwargs=arguments)
    except OperationalError:
        logger.warning("queue_unreachable", task=task, **arguments)
