"""The one clock. Views, tasks and commands read it and hand `now` down; the domain never looks at it.

In the sandbox a file holds how many seconds the clock is ahead, so that every process travels together.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from django.conf import settings

_known: tuple[int, timedelta] = (-1, timedelta(0))  # the file's mtime in ns, and what it said


def now() -> datetime:
    """This instant, in UTC; ahead of the wall clock only in the sandbox."""
    instant = datetime.now(UTC)
    return instant + _ahead() if settings.CLOCK_FILE else instant


def _ahead() -> timedelta:
    global _known  # noqa: PLW0603 - a cache of one file, per process
    try:
        modified_ns = Path(settings.CLOCK_FILE).stat().st_mtime_ns
    except FileNotFoundError:
        return timedelta(0)
    if modified_ns != _known[0]:
        _known = modified_ns, timedelta(seconds=int(Path(settings.CLOCK_FILE).read_text() or 0))
    return _known[1]
