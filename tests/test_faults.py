"""Processes killed in the middle: what was acknowledged is in the ledger once, the rest at most once."""

import os
import random
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from sandbox.places import Place
from sandbox.postgres import Postgres
from tests.conftest import ROOT

pytestmark = pytest.mark.xdist_group("faults")

KILLS = 12
KEYS = 2_000
BALANCE = 1_000_000


@dataclass
class Bank:
    """A PostgreSQL of its own, with fsync on, and one account that is rich."""

    postgres: Postgres
    environment: dict[str, str]
    account_id: uuid.UUID

    def query(self, text: str, *arguments: object) -> list[tuple[object, ...]]:
        with psycopg.connect(self.postgres.url()) as connection:
            return connection.execute(text, arguments).fetchall()

    def manage(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "manage.py", *arguments]
        return subprocess.run(
            command, cwd=ROOT, env=self.environment, capture_output=True, text=True, check=False, timeout=120
        )

    def start_spender(self, prefix: str, log: Path) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "tests.spender", str(self.account_id), prefix]
        with log.open("ab") as output:
            return subprocess.Popen(command, cwd=ROOT, env=self.environment, stdout=output)

    def spent_keys(self) -> Counter[object]:
        rows = self.query("SELECT idempotency_key FROM credits_transaction WHERE kind = 'spend'")
        return Counter(key for (key,) in rows)


@pytest.fixture
def bank(tmp_path: Path) -> Iterator[Bank]:
    place = Place.at(tmp_path / "bank")
    with Postgres(place) as postgres:
        postgres.create_database()
        environment = os.environ | {"DATABASE_URL": postgres.url(), "DJANGO_SETTINGS_MODULE": "config.settings"}
        found = Bank(postgres, environment, uuid.uuid4())
        assert found.manage("migrate", "--verbosity", "0").returncode == 0
        give = (
            "import uuid; from accounts import clock; from accounts.models import Account; from credits import ledger;"
            "from credits.models import Source;"
            f"account = Account.objects.create(id=uuid.UUID('{found.account_id}'));"
            f"ledger.grant(account_id=account.pk, amount={BALANCE}, source=Source.BONUS, source_key='t',"
            "now=clock.now())"
        )
        done = found.manage("shell", "-c", give)
        assert done.returncode == 0, done.stderr
        yield found


def heard(log: Path) -> tuple[set[str], set[str]]:
    """The keys that a client tried, and those that it was answered."""
    tried, done = set(), set()
    for line in log.read_text().splitlines():
        word, _, key = line.partition(" ")
        (tried if word == "try" else done).add(key)
    return tried, done


def wait_for(log: Path, keys: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while not log.exists() or log.read_text().count("done") < keys:
        assert process.poll() is None, "the client ended by itself"
        assert time.monotonic() < deadline, "the client does not get on"
        time.sleep(0.01)


def test_a_client_that_is_killed_has_spent_what_it_was_told_and_nothing_twice(bank: Bank, tmp_path: Path) -> None:
    chance = random.Random(20261121)
    tried: set[str] = set()
    done: set[str] = set()
    for number in range(KILLS):
        log = tmp_path / f"client-{number}"
        client = bank.start_spender(f"c{number}", log)
        wait_for(log, KEYS // KILLS + chance.randrange(20), client)
        time.sleep(chance.random() / 100)
        client.send_signal(signal.SIGKILL)
        client.wait()
        tried |= heard(log)[0]
        done |= heard(log)[1]
    time.sleep(0.5)  # a statement that was on its way may still commit

    spent = bank.spent_keys()
    assert len(done) >= KEYS - KILLS
    assert {key for key in done if spent[key] != 1} == set()  # acknowledged: once
    assert {key for key in tried - done if spent[key] > 1} == set()  # not acknowledged: at most once
    assert set(spent) <= tried
    assert bank.query("SELECT balance FROM credits_wallet") == [(BALANCE - sum(spent.values()),)]
    assert bank.manage("audit_ledger").returncode == 0


def test_a_database_that_is_killed_under_load_has_lost_nothing_it_acknowledged(bank: Bank, tmp_path: Path) -> None:
    logs = [tmp_path / f"client-{number}" for number in range(4)]
    clients = [bank.start_spender(f"c{number}", log) for number, log in enumerate(logs)]
    for log, client in zip(logs, clients, strict=True):
        wait_for(log, 50, client)

    for _ in range(2):
        pid = bank.postgres.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        bank.postgres.stop()
        bank.postgres.__enter__()  # starts it again: crash recovery
        before = [log.read_text().count("done") for log in logs]
        for log, client, count in zip(logs, clients, before, strict=True):
            wait_for(log, count + 20, client)  # the clients go on by themselves

    for client in clients:
        client.kill()
        client.wait()
    time.sleep(0.5)
    tried, done = (set().union(*parts) for parts in zip(*map(heard, logs), strict=True))
    spent = bank.spent_keys()
    assert {key for key in done if spent[key] != 1} == set()
    assert {key for key in tried - done if spent[key] > 1} == set()
    assert bank.manage("audit_ledger").returncode == 0
