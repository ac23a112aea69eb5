"""python -m benchmarks.http: spends over HTTP, and what a request's time goes to.

One spend a request through gunicorn as deployed, with a token and with a key, against two bare Django views without
any middleware: one that calls the same SQL, and one that spends by an ORM loop. Interleaved; printed are ratios of the
medians. Then, in one process, how a request's time is divided.
"""

import argparse
import io
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections import defaultdict
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from tqdm import tqdm

from benchmarks import ledger
from benchmarks.line import connected
from sandbox import environment
from sandbox.data_folder import DataFolder
from sandbox.environment import Ports
from sandbox.postgres import Postgres
from sandbox.redis_server import Redis

CLIENTS = 4
REQUESTS_OF_BREAKDOWN = 3_000


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.http", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=4, help="of each measurement (default: 4)")
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each (default: 5)")
    parser.add_argument("--port", type=int, default=8765)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tegoed-bench-") as folder:
        place = DataFolder.at(folder)
        with Postgres(place) as postgres, Redis(place) as redis:
            postgres.create_database()
            ports = Ports(options.port, options.port + 1)
            os.environ |= environment.build(place, ports, database_url=postgres.url(), redis_url=redis.url)
            ledger.prepare(place, postgres, redis_url=redis.url, ports=ports)
            os.environ["REQUESTS_PER_MINUTE_PER_ACCOUNT"] = os.environ["REQUESTS_PER_MINUTE_PER_KEY"] = "9999999"
            secrets = keys_of_clients()
            rates = _measure(options.port, secrets, options.seconds, options.rounds)
            _print(rates)
            _print_breakdown(_break_down(secrets[0]))


def keys_of_clients() -> list[str]:
    """An API key for each client's own account."""
    from accounts import keys
    from accounts.models import Account
    from common import clock

    how: dict[str, Any] = {"name": "b", "scopes": keys.ACCOUNT_KEY_SCOPES, "created_by": None, "now": clock.now()}
    accounts = [Account.objects.get(pk=ledger.account(number)) for number in range(1, CLIENTS + 1)]
    return [keys.create_key(account=account, **how).secret for account in accounts]


def tokens_of_clients() -> list[str]:
    """A fresh token for each client's own account."""
    from accounts import keys, tokens
    from common import clock

    lasts = timedelta(seconds=tokens.LONGEST_S)
    return [
        tokens.issue(
            account_id=ledger.account(number),
            scopes=keys.ACCOUNT_KEY_SCOPES,
            actor="key_b",
            lasts=lasts,
            now=clock.now(),
        ).text
        for number in range(1, CLIENTS + 1)
    ]


def _measure(port: int, secrets: list[str], seconds: float, rounds: int) -> dict[str, float]:
    contenders = {
        "token": ("config.settings", "/api/v1/credits/spend"),
        "key": ("config.settings", "/api/v1/credits/spend"),
        "same SQL": ("benchmarks.bare.settings", "/same-sql"),
        "ORM loop": ("benchmarks.bare.settings", "/orm-loop"),
    }
    result: dict[str, list[float]] = defaultdict(list)
    with tqdm(total=rounds * len(contenders), unit="measurement") as progress:
        for _ in range(rounds):
            for name, (settings, path) in contenders.items():
                bearers = tokens_of_clients() if name == "token" else secrets
                result[name].append(_serve(settings, port, path, bearers, seconds))
                progress.update()
    return {name: statistics.median(rates) for name, rates in result.items()}


def _serve(settings: str, port: int, path: str, bearers: list[str], seconds: float) -> float:
    command = [sys.executable, "-m", "gunicorn", "-c", "config/gunicorn.py", "--log-level", "error"]
    server = subprocess.Popen(command, env={**os.environ, "DJANGO_SETTINGS_MODULE": settings})
    try:
        work = [(port, path, bearer, number + 1, seconds) for number, bearer in enumerate(bearers)]
        with multiprocessing.get_context("spawn").Pool(CLIENTS) as pool:
            return sum(pool.starmap(drive, work)) / seconds
    finally:
        server.terminate()
        server.wait()


def drive(port: int, path: str, bearer: str, number: int, seconds: float) -> int:
    """One client: a second to warm up, then spends for some seconds; how many."""
    body = json.dumps(
        {"amount": 1} if path.startswith("/api") else {"amount": 1, "account": str(ledger.account(number))}
    )
    with connected(port) as line:
        result, begins = 0, time.monotonic() + 1
        while time.monotonic() < begins + seconds:
            status, answer = line.ask(
                "POST", path, body.encode(), Authorization=f"Bearer {bearer}", Content_Type="application/json",
                Idempotency_Key=uuid.uuid4().hex,
            )  # fmt: skip
            if status != 201:  # noqa: PLR2004 - HTTP
                raise RuntimeError(f"{status}: {answer[:300]!r}")
            result += time.monotonic() >= begins
    return result


def _break_down(key: str) -> dict[str, float]:
    """Milliseconds of a request, by what they go to; each share without those inside it."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
    from rest_framework.views import APIView

    from api import throttling
    from api.authentication import BearerAuthentication
    from api.parsers import StrictJSONParser
    from config.wsgi import application
    from credits.ledger import sql
    from usage.api import spends

    watch = Stopwatch()
    watch.on(APIView, "dispatch", "the view: routing to a method, answering")
    watch.on(BearerAuthentication, "authenticate", "who is it")
    watch.on(throttling, "count", "limits (Redis)")
    watch.on(StrictJSONParser, "parse", "reading JSON")
    watch.on(spends, "checked", "checking the fields")
    watch.on(sql, "_call_once", "the ledger (PostgreSQL)")
    run = watch.timed(application, "Django: its handler, 20 middlewares, the log line")
    for way, bearer in (("with a key", key), ("with a token", tokens_of_clients()[0])):
        for number in range(REQUESTS_OF_BREAKDOWN):
            if number == REQUESTS_OF_BREAKDOWN // 5:
                watch.forget()
            headers = {"HTTP_AUTHORIZATION": f"Bearer {bearer}", "HTTP_IDEMPOTENCY_KEY": uuid.uuid4().hex}
            answer = run(_environ(b'{"amount": 1}') | headers, lambda *_: None)
            answer.close()
        watch.note(way, REQUESTS_OF_BREAKDOWN * 4 // 5)
    return watch.noted


def _environ(body: bytes) -> dict[str, Any]:
    """A request as a server hands it over."""
    return {
        "REQUEST_METHOD": "POST", "PATH_INFO": "/api/v1/credits/spend", "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "80", "CONTENT_LENGTH": str(len(body)), "CONTENT_TYPE": "application/json",
        "wsgi.input": io.BytesIO(body), "wsgi.errors": sys.stderr, "wsgi.url_scheme": "http", "wsgi.version": (1, 0),
        "wsgi.multithread": False, "wsgi.multiprocess": False, "wsgi.run_once": False,
    }  # fmt: skip


class Stopwatch:
    """Adds up the time in functions, each without the time in those that it calls."""

    def __init__(self) -> None:
        self._open: list[float] = []
        self._spent: dict[str, float] = defaultdict(float)
        self.noted: dict[str, float] = {}

    def on(self, owner: Any, name: str, label: str) -> None:
        setattr(owner, name, self.timed(getattr(owner, name), label))

    def timed(self, function: Callable[..., Any], label: str) -> Callable[..., Any]:
        def run(*arguments: Any, **named: Any) -> Any:
            self._open.append(0.0)
            started = time.perf_counter()
            try:
                return function(*arguments, **named)
            finally:
                took = time.perf_counter() - started
                self._spent[label] += took - self._open.pop()
                if self._open:
                    self._open[-1] += took

        return run

    def forget(self) -> None:
        self._spent.clear()

    def note(self, way: str, count: int) -> None:
        self.noted |= {f"{way}|{label}": 1000 * spent / count for label, spent in self._spent.items()}


def _print(rates: dict[str, float]) -> None:
    print(f"\n{os.cpu_count()} cores, {CLIENTS} clients on them; with a token {rates['token']:.0f} spends/s here.\n")
    print(f"{'':14}{'of same SQL':>14}{'of ORM loop':>14}")
    for name, rate in rates.items():
        print(f"{name:14}{rate / rates['same SQL']:14.2f}{rate / rates['ORM loop']:14.2f}")


def _print_breakdown(spent: dict[str, float]) -> None:
    for way in ("with a key", "with a token"):
        parts = {name.partition("|")[2]: ms for name, ms in spent.items() if name.startswith(way)}
        total = sum(parts.values())
        print(f"\nA spend {way}, in one process, without the network: {total:.2f} ms here\n")
        for label, ms in sorted(parts.items(), key=lambda part: -part[1]):
            print(f"{label:52}{ms / total:6.0%}")


if __name__ == "__main__":
    sys.path.insert(0, str(Path.cwd()))
    main()
