"""The product as a deployment runs it, each process one that a test may kill: for the tests of faults."""

import http.client
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from sandbox import environment
from sandbox.data_folder import DataFolder
from sandbox.environment import Ports
from sandbox.postgres import Postgres, binaries
from sandbox.redis_server import Redis
from tests.conftest import ROOT, clean_environment, free_port

START_TIMEOUT_S = 60

SEED = """
from accounts import keys
from accounts.models import Account
from common import clock
from credits import ledger
from credits.models import Source

account = Account.objects.create(name="Rich")
ledger.grant(account_id=account.pk, amount=1_000_000, source=Source.BONUS, source_key="seed", now=clock.now())
key = keys.create_key(
    account=account, name="test", scopes=list(keys.ACCOUNT_KEY_SCOPES), created_by=None, now=clock.now()
)
print(key.secret)
"""


@dataclass
class Service:
    """PostgreSQL and Redis of its own, with fsync on, and one account with a key and a million credits."""

    place: DataFolder
    postgres: Postgres
    redis: Redis
    ports: Ports
    variables: dict[str, str]
    key: str = ""
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @classmethod
    def start(
        cls, folder: Path, stack: ExitStack, *, tables: Path, postgres_settings: tuple[str, ...] = ()
    ) -> "Service":
        """Start the servers, make the tables (of a dump), and open the account. Everything ends with the stack."""
        place = DataFolder.at(folder)
        postgres = stack.enter_context(Postgres(place, settings=postgres_settings))
        postgres.create_database()
        redis = stack.enter_context(Redis(place))
        ports = Ports(free_port(), free_port())
        built = environment.build(place, ports, database_url=postgres.url(), redis_url=redis.url)
        variables = {name: value for name, value in built.items() if name not in os.environ} | clean_environment()
        service = cls(place, postgres, redis, ports, variables | {name: built[name] for name in _OURS if name in built})
        stack.callback(service.kill_all)
        load_dump(tables, postgres.url())
        service.key = service.manage("shell", "-v", "0", "-c", SEED).strip().splitlines()[-1]
        return service

    def manage(self, *arguments: str) -> str:
        """What a management command prints; it must succeed."""
        command = [sys.executable, "manage.py", *arguments]
        result = subprocess.run(
            command, cwd=ROOT, env=self.variables, capture_output=True, text=True, check=False, timeout=120
        )
        assert result.returncode == 0, result.stderr
        return result.stdout

    def run(self, *command: str) -> subprocess.Popen[bytes]:
        """Start a process of the product in its own session."""
        with (self.place.data / "processes.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", *command],
                cwd=ROOT,
                env=self.variables,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.processes.append(process)
        return process

    def run_web(self) -> subprocess.Popen[bytes]:
        """gunicorn as the Procfile has it, answering, in the place of one that still runs."""
        for earlier in self.processes:
            if "gunicorn" in earlier.args and earlier.poll() is None:
                earlier.send_signal(signal.SIGQUIT)  # with its workers: a killed one leaves them listening
                earlier.wait(20)
        process = self.run("gunicorn", "-c", "config/gunicorn.py", "--log-level", "warning")
        self.wait_for("/healthz")
        return process

    def run_stripe(self) -> subprocess.Popen[bytes]:
        """The local Stripe, delivering its webhooks to gunicorn."""
        return self.run(
            "sandbox.local_stripe", "--port", str(self.ports.stripe), "--state", str(self.place.stripe),
            "--clock", str(self.place.clock), "--webhook-url", f"{self.ports.base_url}/api/webhooks/stripe",
            "--webhook-secret", self.variables["STRIPE_WEBHOOK_SECRETS"],
        )  # fmt: skip

    def control(self, path: str, **values: Any) -> None:
        """Move the local Stripe."""
        request = urllib.request.Request(
            f"{self.ports.stripe_url}/_sandbox/{path}", json.dumps(values).encode(), method="POST"
        )
        urllib.request.urlopen(request, timeout=30).close()

    def run_worker(self, *options: str) -> subprocess.Popen[bytes]:
        return self.run("celery", "--app", "config", "worker", "--loglevel", "WARNING", *options)

    def kill_all(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait()

    def wait_for(self, path: str) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                with closing(self.connect()) as client:
                    if client.ask("GET", path)[0] == http.client.OK:
                        return
            except OSError:
                pass
            assert time.monotonic() < deadline, (self.place.data / "processes.log").read_text()[-2000:]
            time.sleep(0.05)

    def connect(self) -> "Client":
        return Client(self)

    def query(self, text: str, *arguments: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.postgres.url()) as connection:
            return connection.execute(text, arguments).fetchall()


# What clean_environment() takes away and a process of this service needs.
_OURS = (
    "DATABASE_URL", "REDIS_URL", "STRIPE_API_BASE", "STRIPE_SECRET_KEY", "STRIPE_WEBHOOK_SECRETS", "SANDBOX",
    "SECRET_KEY", "BASE_URL", "DJANGO_SETTINGS_MODULE", "EMAIL_URL", "LOG_LEVEL", "PORT", "HOST", "CLOCK_FILE",
    "BROKER_FOLDER", "ALLOWED_HOSTS", "DEBUG", "BEAT_SCHEDULE_FILE", "PYTHONWARNINGS",
)  # fmt: skip


def load_dump(dump: Path, url: str) -> None:
    """Fill a new database from a plain dump."""
    psql = [str(binaries() / "psql"), "--quiet", "--set", "ON_ERROR_STOP=1", "--file", str(dump), url]
    subprocess.run(psql, check=True, stdout=subprocess.DEVNULL)


class Client:
    """One caller with a connection that it keeps, as an AI app has."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._connection = http.client.HTTPConnection("127.0.0.1", service.ports.web, timeout=30)

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any, dict[str, str]]:
        """The status, the JSON and the headers. Raises OSError or HTTPException when there was no answer."""
        sent = {"Authorization": f"Bearer {self._service.key}", "Content-Type": "application/json"} | headers
        self._connection.request(method, path, json.dumps(body) if body is not None else None, sent)
        answer = self._connection.getresponse()
        return answer.status, json.loads(answer.read() or b"null"), dict(answer.headers)

    def spend(self, key: str) -> tuple[int, Any, dict[str, str]]:
        return self.ask("POST", "/api/v1/credits/spend", {"amount": 1}, **{"Idempotency-Key": key})

    def close(self) -> None:
        self._connection.close()
