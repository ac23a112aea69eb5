"""When each of beat's jobs last ended well, kept in the cache: for whoever wonders whether beat and worker run."""

import time
from collections.abc import Iterator
from typing import Any

from celery import current_app
from django.core.cache import cache

KEPT_S = 7 * 86_400
PREFIX = "job."


def record(*, sender: Any = None, **_kwargs: object) -> None:
    """A task ended well (Celery's task_success)."""
    name = getattr(sender, "name", "")
    if name in _jobs():
        cache.set(f"{PREFIX}{name}", int(time.time()), KEPT_S)


def ages() -> Iterator[tuple[str, int]]:
    """Each job that has run, and how many seconds ago."""
    known = cache.get_many([f"{PREFIX}{name}" for name in _jobs()])
    for key, at in sorted(known.items()):
        yield key.removeprefix(PREFIX).rpartition(".")[2], max(0, int(time.time()) - at)


def _jobs() -> set[str]:
    return {entry["task"] for entry in current_app.conf.beat_schedule.values()}
