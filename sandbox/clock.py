"""The sandbox's clock: the machine's own plus what it was moved ahead, shared by all processes through a file."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path


class SandboxClock:
    """A clock that can be moved ahead; the application reads the same file (`CLOCK_FILE`)."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self.ahead_s())

    def ahead_s(self) -> int:
        """How far ahead of the machine's clock this one is, in seconds."""
        try:
            return int(self._path.read_text() or 0)
        except FileNotFoundError:
            return 0

    def advance(self, seconds: int) -> None:
        """Move ahead. Time does not go back: what was posted would have been posted in the future."""
        if seconds < 0:
            raise ValueError("the clock moves ahead only")
        fresh = self._path.with_suffix(".new")
        fresh.write_text(str(self.ahead_s() + seconds))
        os.replace(fresh, self._path)  # noqa: PTH105 - atomic: no reader sees half a number
