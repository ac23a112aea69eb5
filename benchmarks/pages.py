"""python -m benchmarks.pages: how long customers' pages take to make, with a million transactions in the database.

One customer has a fifth of them in the last thirty days; usage is rolled up first, as the worker does, and then not.
Printed is each page's time as a part of what is allowed (100 ms, at the 95th percentile), its size, and its queries.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from typing import Any

from tqdm import tqdm

from sandbox import demo, environment
from sandbox.data_folder import DataFolder
from sandbox.environment import Ports

PAGES = [
    "/dashboard", "/credits", "/credits/why", "/billing", "/usage", "/usage?by=member", "/usage?days=90&by=model",
    "/transactions", "/transactions?type=spend&feature=image", "/keys", "/team", "/settings", "/example-ai", "/pricing",
]  # fmt: skip
ALLOWED_S = 0.1
ALLOWED_BYTES = 100_000
CHUNK = 100_000
OTHERS = 400

WRITE = """
WITH fresh AS (
    SELECT uuidv7(-make_interval(secs => random() * 2592000)) AS id, i,
           CASE WHEN i %% 5 = 0 THEN %(account)s::uuid ELSE others.ids[1 + i %% %(others)s] END AS account_id
    FROM generate_series(%(start)s::int, %(start)s::int + %(count)s::int - 1) i,
         (SELECT array_agg(id) AS ids FROM accounts_account WHERE kind = 'external') others
)
INSERT INTO credits_transaction (id, account_id, kind, amount, balance_after, debt_change, idempotency_key,
    fingerprint, feature, quantity, description, metadata, actor, created_at, usage)
SELECT id, account_id, 'spend', -1, 1, 0, 'h' || i, '\\x00', CASE WHEN i %% 20 < 15 THEN 'message' ELSE 'image' END,
       1, '', '{}', 'user:' || i %% 4, uuid_extract_timestamp(id),
       jsonb_build_object('model', 'm' || i %% 3, 'input_tokens', 9)
FROM fresh
"""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pages", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="transactions (default: 1000000)")
    parser.add_argument("--rounds", type=int, default=60, help="of each page (default: 60)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tegoed-bench-") as folder:
        place, ports = DataFolder.at(folder), Ports(8765, 8766)
        with demo.servers(place) as result:
            variables = environment.build(place, ports, database_url=result.owner_url, redis_url=result.redis_url)
            seed = ["--data", folder, "--port", str(ports.web), "--stripe-port", str(ports.stripe)]
            subprocess.run([sys.executable, "-m", "sandbox.seed", *seed], env=variables, check=True)
            os.environ.update(variables)
            _measure(place, options.rows, options.rounds)


def _measure(place: DataFolder, rows: int, rounds: int) -> None:
    import django

    django.setup()
    from django.conf import settings
    from django.test.utils import setup_test_environment

    setup_test_environment()
    settings.LOGGING_CONFIG = None
    from accounts.models import User
    from common.public_ids import parse_id
    from usage import rollup

    account = parse_id("acc", json.loads(place.demo.read_text())["customer"]["account"])
    _write(account, rows)
    customer = User.objects.get(email="customer@example.com")
    _print("Not rolled up", _times(customer, rounds))
    began = time.perf_counter()
    rollup.roll_up(account, upto=uuid.UUID(int=(1 << 128) - 1))
    print(f"\nRolling up {rows // 5} rows: {time.perf_counter() - began:.1f} s here")
    _print("Rolled up", _times(customer, rounds))


def _write(account: uuid.UUID, rows: int) -> None:
    from django.db import connection

    from accounts.models import Account

    Account.objects.bulk_create(Account(kind=Account.Kind.EXTERNAL, name=f"b{number}") for number in range(OTHERS))
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = 0")
        for start in tqdm(range(0, rows, CHUNK), unit_scale=CHUNK, unit="row"):
            cursor.execute(
                WRITE, {"account": account, "others": OTHERS, "start": start, "count": min(CHUNK, rows - start)}
            )
        cursor.execute("ANALYZE")


def _times(customer: Any, rounds: int) -> dict[str, tuple[list[float], int, int]]:
    from django.db import connection
    from django.test import Client

    visitor = Client()
    visitor.force_login(customer, backend="allauth.account.auth_backends.AuthenticationBackend")
    result = {}
    for page in PAGES:
        visitor.get(page)  # what is read once a process
        counted: list[str] = []

        def count(execute: Any, sql: str, *given: Any) -> Any:
            counted.append(sql)  # noqa: B023 - called at once
            return execute(sql, *given)

        with connection.execute_wrapper(count):
            answer = visitor.get(page)
        assert answer.status_code == 200, (page, answer.status_code)  # noqa: PLR2004, S101 - HTTP
        times = []
        for _ in range(rounds):
            began = time.perf_counter()
            visitor.get(page)
            times.append(time.perf_counter() - began)
        result[page] = (times, len(answer.content), len(counted))
    return result


def _print(title: str, found: dict[str, tuple[list[float], int, int]]) -> None:
    print(f"\n{title}: parts of what is allowed ({ALLOWED_S * 1000:.0f} ms, {ALLOWED_BYTES // 1000} kB)\n")
    print(f"{'':42}{'median':>8}{'p95':>8}{'size':>8}{'queries':>9}")
    for page, (times, size, queries) in found.items():
        p95 = statistics.quantiles(times, n=20)[-1]
        print(
            f"{page:42}{statistics.median(times) / ALLOWED_S:8.2f}{p95 / ALLOWED_S:8.2f}"
            f"{size / ALLOWED_BYTES:8.2f}{queries:9}"
        )


if __name__ == "__main__":
    main()
