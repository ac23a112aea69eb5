"""python -m benchmarks.soak: mixed load at a part of the peak, for long. Fails on an error, on growth, on a slow tail.

First it looks how much the machine can do; then clients call at 80 % of that, each at its own moments: spends with keys
and tokens, holds that are captured, balances, checks, pages of history. At the end the ledger is audited.
"""

import argparse
import json
import multiprocessing
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

from benchmarks.http import CLIENTS, drive
from benchmarks.line import Line, connected
from benchmarks.web import wait_until_ready
from sandbox import environment
from sandbox.data_folder import DataFolder
from sandbox.environment import Ports
from sandbox.postgres import Postgres
from sandbox.redis_server import Redis

PEAK_S = 5
TOKEN_FOR_S = 300  # tokens are renewed before their ten minutes are over
MOST_GROWTH = 1.2  # of a worker's memory, from after the first tenth to the end
MOST_TAIL = 10  # times the median may the 99th percentile be


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.soak", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=30, help="how long (default: 30)")
    parser.add_argument("--share", type=float, default=0.8, help="of the peak (default: 0.8)")
    parser.add_argument("--port", type=int, default=8765)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tegoed-soak-") as folder:
        place, ports = DataFolder.at(folder), Ports(options.port, options.port + 1)
        with Postgres(place) as postgres, Redis(place) as redis:
            postgres.create_database()
            os.environ |= environment.build(place, ports, database_url=postgres.url(), redis_url=redis.url)
            os.environ.pop("CLOCK_FILE")
            subprocess.run([sys.executable, "manage.py", "migrate", "--verbosity", "0"], env=os.environ, check=True)
            os.environ |= {"REQUESTS_PER_MINUTE_PER_ACCOUNT": "9999999", "REQUESTS_PER_MINUTE_PER_KEY": "9999999"}
            command = [sys.executable, "-m", "gunicorn", "-c", "config/gunicorn.py", "--log-level", "error"]
            server = subprocess.Popen(command, env=os.environ)
            try:
                wait_until_ready(ports)
                problems = _load(server.pid, options)
            finally:
                server.terminate()
                server.wait()
            audit = subprocess.run([sys.executable, "manage.py", "audit_ledger"], env=os.environ, check=False)
    if audit.returncode:
        problems.append("the audit found differences")
    print("\n".join(problems) or "No error, no growth, no slow tail, and the audit is clean.")
    return 1 if problems else 0


def _rich_keys() -> list[str]:
    """A key of a rich account for each client."""
    import django

    django.setup()
    from accounts import keys
    from accounts.models import Account
    from common import clock
    from credits import ledger
    from credits.models import Source

    created, now = [], clock.now()
    for number in range(CLIENTS):
        account = Account.objects.create(name=f"Soak {number}", created_at=now)
        ledger.grant(account_id=account.pk, amount=10**9, source=Source.BONUS, source_key="soak", now=now)
        created.append(
            keys.create_key(
                account=account, name="soak", scopes=keys.ACCOUNT_KEY_SCOPES, created_by=None, now=now
            ).secret
        )
    return created


def _load(server: int, options: argparse.Namespace) -> list[str]:
    keys = _rich_keys()
    with multiprocessing.get_context("spawn").Pool(CLIENTS + 1) as pool:
        work = [(options.port, "/api/v1/credits/spend", key, n + 1, PEAK_S) for n, key in enumerate(keys)]
        peak = sum(pool.starmap(drive, work)) / PEAK_S
        each = options.share * peak / CLIENTS
        print(f"Peak {peak:.0f} spends/s here; {options.minutes:g} minutes at {options.share:.0%}.", flush=True)
        seconds = options.minutes * 60
        loads = pool.starmap_async(_mix, [(options.port, key, n, each, seconds) for n, key in enumerate(keys)])
        time.sleep(seconds / 10)
        before = _memory_of_workers(server)
        result = loads.get()
        after = _memory_of_workers(server)
    waits = sorted(wait for _, told in result for wait in told)
    errors = [error for told, _ in result for error in told]
    cuts = statistics.quantiles(waits, n=100)
    growth = statistics.mean(after) / statistics.mean(before)
    print(f"{len(waits)} calls ({len(waits) / seconds:.0f}/s), {len(errors)} errors; p99 is {cuts[98] / cuts[49]:.1f} "
          f"times the median; a worker's memory {growth:.2f} times that of the first tenth.")  # fmt: skip
    return [
        *errors[:5],
        *(["the tail is slow"] if cuts[98] > MOST_TAIL * cuts[49] else []),
        *(["the workers grow"] if growth > MOST_GROWTH else []),
    ]


def _mix(port: int, key: str, number: int, rate: float, seconds: float) -> tuple[list[str], list[float]]:
    """One client: calls at random moments, `rate` a second on average; what went wrong, and how long each took."""
    chance = random.Random(number)  # noqa: S311 - no secret
    errors: list[str] = []
    waits: list[float] = []
    begun = due = time.monotonic()
    token, token_at = "", -TOKEN_FOR_S * 1.0
    with connected(port) as line:
        while (moment := time.monotonic()) < begun + seconds:
            if moment - token_at > TOKEN_FOR_S:
                token, token_at = _ask(line, key, "POST", "auth/tokens", {})["token"], moment
            due += chance.expovariate(rate)
            if due > moment:
                time.sleep(due - moment)
            started = time.monotonic()
            try:
                _call(line, chance, key if chance.random() < 0.5 else token)  # noqa: PLR2004 - a coin
            except (OSError, ValueError, RuntimeError) as error:
                errors.append(f"{type(error).__name__}: {error}")
            waits.append(time.monotonic() - started)
    return errors, waits


def _call(line: Line, chance: random.Random, bearer: str) -> None:
    kind = chance.choices(["spend", "hold", "balance", "check", "history"], [60, 10, 20, 8, 2])[0]
    if kind == "hold":
        hold = _ask(line, bearer, "POST", "credits/holds", {"amount": 5})
        _ask(line, bearer, "POST", f"credits/holds/{hold['id']}/capture", {"amount": chance.randint(1, 6)})
    elif kind == "spend":
        _ask(line, bearer, "POST", "credits/spend", {"amount": 1, "metadata": {"n": chance.random()}})
    elif kind == "check":
        _ask(line, bearer, "POST", "credits/check", {"amount": 1})
    else:
        _ask(line, bearer, "GET", "credits/balance" if kind == "balance" else "credits/transactions?limit=10")


def _ask(line: Line, bearer: str, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    status, answer = line.ask(
        method, f"/api/v1/{path}", json.dumps(body).encode() if body is not None else b"",
        Authorization=f"Bearer {bearer}", Content_Type="application/json", Idempotency_Key=uuid.uuid4().hex,
    )  # fmt: skip
    if status >= 300:  # noqa: PLR2004 - HTTP
        raise RuntimeError(f"{method} {path}: {status} {answer[:200]!r}")
    result: dict[str, Any] = json.loads(answer)
    return result


def _memory_of_workers(server: int) -> list[int]:
    """Resident kilobytes of each of gunicorn's workers (on Linux)."""
    children = Path(f"/proc/{server}/task/{server}/children").read_text().split()
    lines = [line for pid in children for line in Path(f"/proc/{pid}/status").read_text().splitlines()]
    return [int(line.split()[1]) for line in lines if line.startswith("VmRSS:")]


if __name__ == "__main__":
    sys.path.insert(0, str(Path.cwd()))
    sys.exit(main())
