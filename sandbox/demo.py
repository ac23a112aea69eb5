"""The whole product on one machine, started and stopped as one: what `make demo` runs."""

import fcntl
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from honcho.manager import Manager

from common.json_types import JsonObject
from sandbox import environment
from sandbox.data_folder import DataFolder
from sandbox.environment import Ports
from sandbox.postgres import RUNTIME, Postgres
from sandbox.redis_server import Redis

READY_TIMEOUT_S = 90
# How the first process ends when everything was asked to stop, and not of itself.
STOPPED = (0, 130, 143, -signal.SIGINT, -signal.SIGTERM)


class DemoError(RuntimeError):
    """The demo cannot start; the text says what to do."""


def run(place: DataFolder, ports: Ports) -> int:
    """Start everything, wait, and stop everything on Ctrl-C or SIGTERM. Answers the exit code."""
    signal.signal(signal.SIGTERM, _stop)
    with _only_one(place):
        for port in (ports.web, ports.stripe):
            _check_free(port)
        with servers(place) as result:
            variables = environment.build(place, ports, database_url=result.runtime_url, redis_url=result.redis_url)
            _say("Preparing the data:")
            _seed(place, ports, variables | {"DATABASE_URL": result.owner_url})
            _say("Starting gunicorn, Celery's workers (payments, jobs, webhooks), beat and the local Stripe.")
            return _run_processes(place, ports, variables)


@dataclass(frozen=True, kw_only=True)
class Servers:
    """Where PostgreSQL is for who migrates and for who runs, and where Redis is."""

    owner_url: str
    runtime_url: str
    redis_url: str


@contextmanager
def servers(place: DataFolder) -> Iterator[Servers]:
    """PostgreSQL and Redis for this sandbox: `DATABASE_URL` and `REDIS_URL` when set, else embedded ones."""
    database_url, redis_url = os.environ.get("DATABASE_URL", ""), os.environ.get("REDIS_URL", "")
    postgres, redis, runtime_url = Postgres(place), Redis(place), database_url
    try:
        if not database_url:
            _say(f"Starting PostgreSQL in {place.postgres}.")
            postgres.__enter__()
            postgres.create_database()
            postgres.create_runtime_role()
            database_url = postgres.url()
            runtime_url = postgres.url(role=RUNTIME)
        if not redis_url:
            redis_url = redis.__enter__().url
            if redis_url:
                _say("Starting Redis.")
            else:
                place.broker.mkdir(exist_ok=True)
                _say("There is no Redis for this machine: Celery's messages are files. Everything works, a bit slower.")
        yield Servers(owner_url=database_url, runtime_url=runtime_url, redis_url=redis_url)
    finally:
        redis.stop()
        postgres.stop()


def _run_processes(place: DataFolder, ports: Ports, variables: dict[str, str]) -> int:
    python = sys.executable
    webhooks = ["--webhook-url", f"{ports.base_url}/api/webhooks/stripe"]
    webhooks += ["--webhook-secret", variables["STRIPE_WEBHOOK_SECRETS"]]
    stripe = ["--port", str(ports.stripe), "--state", str(place.stripe), "--clock", str(place.clock), *webhooks]
    celery = [python, "-m", "celery", "--quiet", "--app", "config"]
    manager = Manager()
    for name, command in {
        "stripe": [python, "-m", "sandbox.local_stripe", *stripe],
        "web": [python, "-m", "gunicorn", "-c", "config/gunicorn.py", "--log-level", "warning"],
        # Payments have a worker of their own, and so has what waits for strangers' servers.
        **{
            name: [
                *celery,
                "worker",
                "-n",
                f"{name}@%h",
                "-Q",
                queues,
                "--pool",
                "threads",
                "--concurrency",
                threads,
                "--without-gossip",
                "--without-mingle",
                "--loglevel",
                "WARNING",
            ]
            for name, queues, threads in (
                ("payments", "payments", "4"),
                ("jobs", "ledger,mail,reports", "4"),
                ("webhooks", "webhooks", "16"),
            )
        },
        "beat": [*celery, "beat", "--loglevel", "WARNING"],
    }.items():
        manager.add_process(name, _quoted(command), env=variables)
    threading.Thread(target=_announce, args=[place, ports], daemon=True).start()
    manager.loop()
    _say("Everything is stopped. The data is kept; `make demo` goes on where this ended.")
    return 0 if manager.returncode in STOPPED else 1


def _announce(place: DataFolder, ports: Ports) -> None:
    """Say where everything is, once it answers."""
    deadline = time.monotonic() + READY_TIMEOUT_S
    while not (_answers(f"{ports.base_url}/readyz") and _answers(f"{ports.stripe_url}/")):
        if time.monotonic() > deadline:
            _say(f"Not ready after {READY_TIMEOUT_S} s; the lines above say why. Ctrl-C stops.")
            return
        time.sleep(0.2)
    _say(_welcome(json.loads(place.demo.read_text()), place))


def _welcome(demo: JsonObject, place: DataFolder) -> str:
    base, customer, operator = demo["base_url"], demo["customer"], demo["operator"]
    return f"""Ready.

  The shop        {base}/
    customer      {customer["email"]}   password {customer["password"]}
  The console     {base}/admin/
    operator      {operator["email"]}   password {operator["password"]}
    support       {demo["support"]["email"]}    password {demo["support"]["password"]}
  The local Stripe, its clock and events
                  {demo["stripe_url"]}/
  The API         {base}/api/v1/docs

  Spend a credit:
    curl -X POST {base}/api/v1/credits/spend -H "Authorization: Bearer {customer["api_key"]}" \\
      -H "Idempotency-Key: first-try" -H "Content-Type: application/json" -d '{{"feature": "message"}}'

  All of this is in {place.demo}. E-mails land in {place.outbox}. Ctrl-C stops everything.
"""


def _seed(place: DataFolder, ports: Ports, variables: dict[str, str]) -> None:
    where = ["--data", str(place.data), "--port", str(ports.web), "--stripe-port", str(ports.stripe)]
    result = subprocess.run([sys.executable, "-m", "sandbox.seed", *where], env=variables, check=False)
    if result.returncode:
        raise DemoError("The data could not be prepared; the lines above say why.")


def _check_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            raise DemoError(f"Port {port} is taken. Choose others: make demo PORT=8010 STRIPE_PORT=12211") from None


@contextmanager
def _only_one(place: DataFolder) -> Iterator[None]:
    with place.lock.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DemoError(f"A demo is running on {place.data} already. Stop it, or choose another DATA.") from None
        yield


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):  # noqa: S310 - our own, on loopback
            return True
    except (urllib.error.URLError, OSError):
        return False


def _quoted(command: list[str]) -> str:
    """honcho runs its commands through a shell; `exec` leaves no shell between it and the process."""
    return f"exec {shlex.join(command)}"


def _stop(_number: int, _frame: object) -> None:
    raise SystemExit(143)


def _say(text: str) -> None:
    print(text, flush=True)
