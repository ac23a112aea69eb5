"""Having a worker look now, at what a sweep would find by itself later."""

from typing import Any

import structlog
from kombu.exceptions import OperationalError

logger = structlog.get_logger(__name__)


def ring(task: Any, **arguments: str) -> None:
    """Hand `task` to a worker. When Redis is away, that is logged and left to the sweep."""
    try:
        task.delay(**arguments)
    except OperationalError:
        logger.warning("doorbell_unreachable", **arguments)
