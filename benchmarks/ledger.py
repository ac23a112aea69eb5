"""python -m benchmarks.ledger: how fast credits are spent, against the physical limit and against other ways.

One embedded PostgreSQL with fsync on, 10,000 accounts. Each contender is measured in turn, round after round, with
1, 4 and 16 clients, spread over all accounts and all on one; then once more on top of millions of rows of history.
What is printed are ratios of this one run: medians of the rounds.

  ours         credits.ledger.spend, from Python processes
  function     pgbench calling the same function: no Python
  bare         pgbench's two statements of the same kind, an UPDATE and an INSERT in one transaction: the limit
  usual        an ORM loop under select_for_update, as such things are usually written (benchmarks/usual)
  hordak       django-hordak's transfer
"""

import argparse
import multiprocessing
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
from tqdm import tqdm

from sandbox import environment
from sandbox.data_folder import DataFolder
from sandbox.environment import Ports
from sandbox.postgres import Postgres, binaries

ACCOUNTS = 10_000
CLIENTS = (1, 4, 16)
NAMESPACE = uuid.UUID("00000000-0000-7000-8000-000000000000")
HISTORY_CHUNK = 250_000
NOBODY = Ports(8000, 12111)  # nothing is served

BARE = """
\\set number random(1, {accounts})
BEGIN;
UPDATE bare_wallet SET balance = balance - 1 WHERE number = :number;
INSERT INTO bare_change (number, amount, key, created_at) VALUES (:number, -1, gen_random_uuid(), now());
COMMIT;
"""
FUNCTION = """
\\set number random(1, {accounts})
SELECT outcome FROM credits_spend(
    ('00000000-0000-7000-8000-' || lpad(to_hex(:number::int), 12, '0'))::uuid, uuidv7(), 1, gen_random_uuid()::text,
    '\\x00', 'message', 1, '', '{{}}', 'bench', now(), NULL, 'seller');
"""

Contender = Callable[[int, bool, float], float]


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.ledger", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=3, help="of each measurement (default: 3)")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each (default: 3)")
    parser.add_argument("--history", type=int, default=5_000_000, help="rows for the second half (default: 5000000)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tegoed-bench-") as folder:
        place = DataFolder.at(folder)
        with Postgres(place, settings=["shared_buffers=512MB", "max_wal_size=4GB"]) as postgres:
            postgres.create_database()
            prepare(place, postgres)
            context = multiprocessing.get_context("spawn")
            with context.Pool(max(CLIENTS), initializer=_set_up, initargs=[dict(os.environ)]) as pool:
                pool.map(_warm_up, range(max(CLIENTS)), chunksize=1)
                contenders = _contenders(pool, postgres, folder)
                empty = _measure(contenders, options.seconds, options.rounds, "no history")
                _print("No history", empty)
                _add_history(postgres, options.history)
                full = _measure(contenders, options.seconds, options.rounds, "with history")
                _print(f"{options.history:,} rows of history", full)
            _print_growth(empty, full)


def prepare(place: DataFolder, postgres: Postgres, *, redis_url: str = "", ports: Ports = NOBODY) -> None:
    """The tables of all contenders, with a rich wallet for each account; and Django set up in this process."""
    os.environ |= environment.build(place, ports, database_url=postgres.url(), redis_url=redis_url)
    os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.settings"
    os.environ.pop("CLOCK_FILE")
    print("Preparing the databases.", file=sys.stderr)
    manage = [sys.executable, "manage.py", "migrate", "--run-syncdb", "--verbosity", "0"]
    subprocess.run(manage, check=True, env=os.environ)
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        connection.execute(SCHEMA.format(accounts=ACCOUNTS))
        connection.execute("VACUUM ANALYZE")
    _set_up(dict(os.environ))
    from hordak.models import Account as HordakAccount

    HordakAccount.objects.create(name="Bank", code="0", type="AS", currencies=["EUR"])
    for number in range(1, 21):  # its tree makes each account dear to add; twenty show what a transfer costs
        HordakAccount.objects.create(name=str(number), code=str(number), type="AS", currencies=["EUR"])


SCHEMA = """
INSERT INTO accounts_account (id, kind, name, email, time_zone, language, created_at)
    SELECT ('00000000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, 'external', n, '', 'UTC', 'en', now()
    FROM generate_series(1, {accounts}) n;
INSERT INTO credits_wallet (account_id, balance, held, debt, cap_used, low_threshold)
    SELECT id, 1000000000, 0, 0, 0, 5 FROM accounts_account;
INSERT INTO credits_grant (id, account_id, source, source_key, amount, remaining, priority, effective_at, paid_minor,
                           currency, is_top_up)
    SELECT id, id, 'purchase', 'bench', 1000000000, 1000000000, 50, now(), 0, '', false FROM accounts_account;
CREATE TABLE bare_wallet (number int PRIMARY KEY, balance bigint NOT NULL) WITH (fillfactor = 50);
CREATE TABLE bare_change (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, number int NOT NULL,
                          amount bigint NOT NULL, key uuid NOT NULL UNIQUE, created_at timestamptz NOT NULL);
INSERT INTO bare_wallet SELECT n, 1000000000 FROM generate_series(1, {accounts}) n;
INSERT INTO usual_wallet SELECT id, 1000000000 FROM accounts_account;
INSERT INTO usual_lot (wallet_id, remaining) SELECT id, 1000000000 FROM accounts_account;
"""


def _contenders(pool: Any, postgres: Postgres, folder: str) -> dict[str, Contender]:
    def python(name: str) -> Contender:
        def run(clients: int, is_hot: bool, seconds: float) -> float:
            starts_at = time.time() + 0.5
            work = [(name, is_hot, starts_at, seconds, number) for number in range(clients)]
            counts: list[int] = pool.starmap(_spend_for, work, chunksize=1)
            return sum(counts) / seconds

        return run

    def pgbench(text: str) -> Contender:
        def run(clients: int, is_hot: bool, seconds: float) -> float:
            script = Path(folder) / "script.sql"
            script.write_text(text.format(accounts=1 if is_hot else ACCOUNTS))
            command = [
                str(binaries() / "pgbench"),
                *("-n", "-c", str(clients), "-j", str(min(clients, 4)), "-T", str(max(1, round(seconds)))),
                *("-f", str(script), "-M", "prepared", postgres.url()),
            ]
            result = subprocess.run(command, capture_output=True, text=True, check=True)
            rate = re.search(r"tps = ([\d.]+)", result.stdout)
            return float(rate.group(1)) if rate else 0.0

        return run

    return {
        "ours": python("ours"),
        "function": pgbench(FUNCTION),
        "bare": pgbench(BARE),
        "usual": python("usual"),
        "hordak": python("hordak"),
    }


def _set_up(variables: dict[str, str]) -> None:
    os.environ |= variables
    import django

    django.setup()


def _warm_up(_worker: int) -> None:
    """Connect, and have every statement prepared; long enough that each worker does it once."""
    for spend in (_ours, _usual, _hordak):
        spend(1)
    time.sleep(5)


def _spend_for(name: str, is_hot: bool, starts_at: float, seconds: float, worker: int) -> int:
    """In a worker process: spend for some seconds; how many times."""
    spend = {"ours": _ours, "usual": _usual, "hordak": _hordak}[name]
    chance = random.Random(f"{worker}{starts_at}")  # noqa: S311 - no secret
    time.sleep(max(0.0, starts_at - time.time()))
    ends_at, result = starts_at + seconds, 0
    while time.time() < ends_at:
        spend(1 if is_hot else chance.randint(1, ACCOUNTS))
        result += 1
    return result


def _ours(number: int) -> None:
    from common import clock
    from credits import ledger

    ledger.spend(
        account_id=account(number),
        amount=1,
        idempotency_key=uuid.uuid4().hex,
        feature="message",
        quantity=1,
        now=clock.now(),
    )


def _usual(number: int) -> None:
    from benchmarks.usual import models

    models.spend(account=account(number), amount=1, key=uuid.uuid4().hex)


def _hordak(number: int) -> None:
    from django.db import transaction
    from hordak.models import Account as HordakAccount
    from moneyed import Money

    with transaction.atomic():
        bank = HordakAccount.objects.get(code="0")
        other = HordakAccount.objects.get(code=str(number % 20 + 1))
        other.transfer_to(bank, Money(1, "EUR"))


def account(number: int) -> uuid.UUID:
    """The account of this number."""
    return uuid.UUID(int=NAMESPACE.int + number)


def _measure(
    contenders: dict[str, Contender], seconds: float, rounds: int, title: str
) -> dict[tuple[str, int, bool], float]:
    cells = [(clients, is_hot) for clients in CLIENTS for is_hot in (False, True)]
    rates: dict[tuple[str, int, bool], list[float]] = {}
    total = rounds * len(cells) * len(contenders)
    with tqdm(total=total, unit="measurement", desc=title) as progress:
        for _ in range(rounds):
            for clients, is_hot in cells:
                for name, run in contenders.items():
                    rates.setdefault((name, clients, is_hot), []).append(run(clients, is_hot, seconds))
                    progress.update()
    return {cell: statistics.median(found) for cell, found in rates.items()}


def _add_history(postgres: Postgres, rows: int) -> None:
    """Spends of the past, spread over the accounts; one in ten on the hot one."""
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica; SET synchronous_commit = off")
        for start in tqdm(range(0, rows, HISTORY_CHUNK), unit="chunk", desc="adding history"):
            connection.execute(HISTORY, {"start": start, "count": min(HISTORY_CHUNK, rows - start), "n": ACCOUNTS})
        connection.execute("VACUUM ANALYZE")
        connection.execute("CHECKPOINT")


HISTORY = """
WITH fresh AS MATERIALIZED (
    SELECT uuidv7(interval '-1 year') AS id,
           ('00000000-0000-7000-8000-'
            || lpad(to_hex(CASE WHEN i %% 10 = 0 THEN 1 ELSE 1 + i %% %(n)s END), 12, '0'))::uuid AS account_id, i
    FROM generate_series(%(start)s::int, %(start)s::int + %(count)s::int - 1) i
), written AS (
    INSERT INTO credits_transaction (id, account_id, kind, amount, balance_after, debt_change, idempotency_key,
        fingerprint, feature, quantity, description, metadata, actor, created_at)
    SELECT id, account_id, 'spend', -1, 1, 0, 'h' || i, '\\x00', 'message', 1, '', '{}', 'bench', now() FROM fresh
)
INSERT INTO credits_entry (transaction_id, grant_id, account_id, amount)
    SELECT id, account_id, account_id, -1 FROM fresh
"""


def _print(title: str, rates: dict[tuple[str, int, bool], float]) -> None:
    here = f"{os.cpu_count()} cores; `ours` with 4 clients, spread: {rates['ours', 4, False]:.0f} spends/s here"
    print(f"\n{title} ({here})\n")
    heads = ("ours/bare", "ours/function", "function/bare", "ours/usual", "ours/hordak")
    print(f"{'':26}" + "".join(f"{head:>15}" for head in heads))
    for is_hot in (False, True):
        for clients in CLIENTS:
            of = {name: rates[name, clients, is_hot] for name in ("ours", "function", "bare", "usual", "hordak")}
            where = f"{clients:>2} clients, {'one account' if is_hot else 'spread'}"
            print(
                f"{where:26}{of['ours'] / of['bare']:15.2f}{of['ours'] / of['function']:15.2f}"
                f"{of['function'] / of['bare']:15.2f}"
                f"{of['ours'] / of['usual']:15.1f}{of['ours'] / of['hordak']:15.1f}"
            )


def _print_growth(empty: dict[tuple[str, int, bool], float], full: dict[tuple[str, int, bool], float]) -> None:
    print("\nWith history, as a part of the rate without (1.00: flat; the machine's own drift shows in `bare`)\n")
    print(f"{'':26}{'ours':>8}{'bare':>8}")
    for is_hot in (False, True):
        for clients in CLIENTS:
            ours, bare = (
                full[name, clients, is_hot] / max(empty[name, clients, is_hot], 1) for name in ("ours", "bare")
            )
            print(f"{clients:>2} clients, {'one account' if is_hot else 'spread':12}{ours:8.2f}{bare:8.2f}")


if __name__ == "__main__":
    main()
