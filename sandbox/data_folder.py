"""Where the sandbox keeps its things: one folder, and a short one for sockets."""

import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class DataFolder:
    """The files of one sandbox, below its data folder."""

    data: Path

    @classmethod
    def at(cls, folder: str | Path) -> "DataFolder":
        """The sandbox in `folder`, which is made if it is not there."""
        data = Path(folder).expanduser().resolve()
        data.mkdir(parents=True, exist_ok=True)
        return cls(data)

    @property
    def postgres(self) -> Path:
        return self.data / "postgres"

    @property
    def redis(self) -> Path:
        return self.data / "redis"

    @property
    def sockets(self) -> Path:
        """A folder for unix sockets, whose paths may be no longer than about 100 characters."""
        name = hashlib.sha256(f"{os.getuid()}:{self.data}".encode()).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"tegoed-{name}"

    @property
    def clock(self) -> Path:
        return self.data / "clock"

    @property
    def secrets(self) -> Path:
        return self.data / "secrets.json"

    @property
    def stripe(self) -> Path:
        return self.data / "stripe.sqlite3"

    @property
    def broker(self) -> Path:
        return self.data / "broker"

    @property
    def demo(self) -> Path:
        return self.data / "demo.json"

    @property
    def outbox(self) -> Path:
        """E-mails that would have been sent."""
        return self.data / "mail"

    @property
    def beat_schedule(self) -> Path:
        return self.data / "celerybeat-schedule"

    @property
    def postgres_log(self) -> Path:
        return self.data / "postgres.log"

    @property
    def lock(self) -> Path:
        return self.data / "running.lock"
