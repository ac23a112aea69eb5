"""Processes killed in the middle: what was acknowledged is in the ledger once, the rest at most once."""

import os
import random
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from psycopg.types.json import Jsonb

from common.public_ids import new_id
from credits.ledger.sql import STATEMENTS
from sandbox.data_folder import DataFolder
from sandbox.postgres import Postgres, binaries
from tests.conftest import ROOT
from tests.service import load_dump

pytestmark = pytest.mark.xdist_group("faults")

KILLS = int(os.environ.get("CLIENT_KILLS", "4"))  # twelve, nightly
KEYS = 2_000
BALANCE = 1_000_000
CUTS = int(os.environ.get("CONNECTION_CUTS", "300"))  # a thousand, nightly


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
def bank(tables: Path, tmp_path: Path) -> Iterator[Bank]:
    place = DataFolder.at(tmp_path / "bank")
    with Postgres(place) as postgres:
        postgres.create_database()
        environment = os.environ | {"DATABASE_URL": postgres.url(), "DJANGO_SETTINGS_MODULE": "config.settings"}
        bank = Bank(postgres, environment, uuid.uuid4())
        load_dump(tables, postgres.url())
        give = (
            "import uuid; from common import clock; from accounts.models import Account; from credits import ledger;"
            "from credits.models import Source;"
            f"account = Account.objects.create(id=uuid.UUID('{bank.account_id}'));"
            f"ledger.grant(account_id=account.pk, amount={BALANCE}, source=Source.BONUS, source_key='t',"
            "now=clock.now())"
        )
        result = bank.manage("shell", "-c", give)
        assert result.returncode == 0, result.stderr
        yield bank


def heard(log: Path) -> tuple[set[str], set[str]]:
    """The keys that a client tried, and those that it was answered."""
    tried, result = set(), set()
    for line in log.read_text().splitlines():
        word, _, key = line.partition(" ")
        (tried if word == "try" else result).add(key)
    return tried, result


def wait_for(log: Path, keys: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while not log.exists() or log.read_text().count("done") < keys:
        assert process.poll() is None, "the client ended by itself"
        assert time.monotonic() < deadline, "the client does not get on"
        time.sleep(0.01)


def spend_over(connection: psycopg.Connection, account_id: uuid.UUID, key: str) -> str:
    """Spend a credit by the ledger's own statement; how it ended."""
    arguments = [account_id, new_id(), 1, key, b"", "", None, "", Jsonb({}), "", datetime.now(UTC), None, "seller"]
    row = connection.execute(STATEMENTS["credits_spend"], arguments).fetchone()
    assert row is not None
    return str(row[0])


class Cutter:
    """A proxy before the database. After `cut`, the next request still gets through, and its answer does not."""

    def __init__(self, url: str, folder: Path) -> None:
        self._behind = psycopg.conninfo.conninfo_to_dict(url)
        self._folder = Path(tempfile.mkdtemp(prefix="cut-"))
        self.url = f"postgresql://postgres@/{self._behind['dbname']}?host={self._folder}"
        self._is_cut = threading.Event()
        self._listener = socket.socket(socket.AF_UNIX)

    def __enter__(self) -> "Cutter":
        self._listener.bind(str(self._folder / ".s.PGSQL.5432"))
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        shutil.rmtree(self._folder)

    def cut(self) -> None:
        self._is_cut.set()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            server.connect(f"{self._behind['host']}/.s.PGSQL.5432")
            self._is_cut.clear()
            threading.Thread(target=self._carry, args=[client, server], daemon=True).start()

    def _carry(self, client: socket.socket, server: socket.socket) -> None:
        with client, server:
            while True:
                for ready in select.select([client, server], [], [])[0]:
                    try:
                        data = ready.recv(65_536)
                        if not data or (ready is server and self._is_cut.is_set()):
                            return
                        (server if ready is client else client).sendall(data)
                    except OSError:
                        return


def test_killed_client_has_spent_what_was_acknowledged_once(bank: Bank, tmp_path: Path) -> None:
    chance = random.Random(20261121)
    tried: set[str] = set()
    result: set[str] = set()
    for number in range(KILLS):
        log = tmp_path / f"client-{number}"
        client = bank.start_spender(f"c{number}", log)
        wait_for(log, KEYS // KILLS + chance.randrange(20), client)
        time.sleep(chance.random() / 100)
        client.send_signal(signal.SIGKILL)
        client.wait()
        tried |= heard(log)[0]
        result |= heard(log)[1]
    time.sleep(0.5)  # a statement that was on its way may still commit

    spent = bank.spent_keys()
    assert len(result) >= KEYS - KILLS
    assert {key for key in result if spent[key] != 1} == set()  # acknowledged: once
    assert {key for key in tried - result if spent[key] > 1} == set()  # not acknowledged: at most once
    assert set(spent) <= tried
    assert bank.query("SELECT balance FROM credits_wallet") == [(BALANCE - sum(spent.values()),)]
    assert bank.manage("audit_ledger").returncode == 0


def test_connection_cut_after_commit_spends_exactly_once(bank: Bank, tmp_path: Path) -> None:
    """A client that never hears the answer asks again with its key, and gets the first answer."""
    with Cutter(bank.postgres.url(), tmp_path) as cutter, psycopg.connect(bank.postgres.url(), autocommit=True) as sure:
        for number in range(CUTS):
            with psycopg.connect(cutter.url, autocommit=True) as unsure:
                cutter.cut()
                with pytest.raises(psycopg.OperationalError):
                    spend_over(unsure, bank.account_id, f"cut-{number}")
            assert spend_over(sure, bank.account_id, f"cut-{number}") in ("spent", "replayed")

        outcomes = Counter(spend_over(sure, bank.account_id, f"cut-{number}") for number in range(CUTS))
    assert outcomes == {"replayed": CUTS}
    assert bank.query("SELECT balance FROM credits_wallet") == [(BALANCE - CUTS,)]


def test_a_restored_dump_holds_the_same_books(bank: Bank, tmp_path: Path) -> None:
    log = tmp_path / "client"
    client = bank.start_spender("c", log)
    wait_for(log, 200, client)
    client.kill()
    client.wait()
    time.sleep(0.5)
    totals = "SELECT count(*), sum(amount) FROM credits_entry"
    before = bank.query(totals)

    dump = tmp_path / "dump.sql"
    subprocess.run([binaries() / "pg_dump", "--no-owner", "-f", dump, bank.postgres.url()], check=True)
    bank.postgres.create_database("restored")
    restored = bank.postgres.url("restored")
    subprocess.run([binaries() / "psql", "-q", "-v", "ON_ERROR_STOP=1", "-f", dump, restored], check=True)

    with psycopg.connect(restored) as connection:
        assert connection.execute(totals).fetchall() == before
    bank.environment["DATABASE_URL"] = restored
    audited = bank.manage("audit_ledger")
    assert (audited.returncode, "0 disagreements" in audited.stdout) == (0, True)


def test_database_killed_under_load_keeps_acknowledged_spends(bank: Bank, tmp_path: Path) -> None:
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
    tried, result = (set().union(*parts) for parts in zip(*map(heard, logs), strict=True))
    spent = bank.spent_keys()
    assert {key for key in result if spent[key] != 1} == set()
    assert {key for key in tried - result if spent[key] > 1} == set()
    assert bank.manage("audit_ledger").returncode == 0
