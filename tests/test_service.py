"""What happens to those who are being served: while workers are renewed, tables changed, connections used up."""

import http.client
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest
import redis

from common.live_streams import MOST_OF_ONE
from tests.service import Client, Service

pytestmark = pytest.mark.xdist_group("service")

CALLERS = 8
RENEWALS = 3
# `SERVICE_REQUESTS=10000` for the figure in docs/decisions.md.
REQUESTS = int(os.environ.get("SERVICE_REQUESTS", "600"))
WORKER_KILLS = int(os.environ.get("SERVICE_KILLS", "3"))


@pytest.fixture(scope="module")
def service(tables: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with ExitStack() as stack:
        yield Service.start(tmp_path_factory.mktemp("service"), stack, tables=tables)


@dataclass
class Load:
    """Callers that spend one credit after the other, and retry on a new connection, with the same key, when cut."""

    service: Service
    name: str
    answered: set[str] = field(default_factory=set)
    refused: list[int] = field(default_factory=list)
    cut: int = 0
    longest_s: float = 0.0
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> "Load":
        self._threads = [threading.Thread(target=self._call, args=[number]) for number in range(CALLERS)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def wait_for(self, answers: int) -> None:
        deadline = time.monotonic() + 120
        while len(self.answered) < answers:
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def _call(self, caller: int) -> None:
        with closing(self.service.connect()) as client:
            self._call_over(client, caller)

    def _call_over(self, client: Client, caller: int) -> None:
        number = 0
        while not self._stop.is_set():
            key = f"{self.name}-{caller}-{number}"
            started = time.monotonic()
            try:
                status, _, _ = client.spend(key)
            except (OSError, http.client.HTTPException):
                self.cut += 1
                client.close()
                continue  # the same key once more
            self.longest_s = max(self.longest_s, time.monotonic() - started)
            if status == http.client.CREATED:
                self.answered.add(key)
                number += 1
            else:
                self.refused.append(status)

    def spent(self) -> set[str]:
        rows = self.service.query("SELECT idempotency_key FROM credits_transaction WHERE kind = 'spend'")
        return {key for (key,) in rows if key.startswith(f"{self.name}-")}


def test_worker_restart_under_load_answers_every_call(service: Service) -> None:
    """A new release: SIGHUP renews the workers, SIGTERM lets them finish what they have begun."""
    web = service.run_web()
    with Load(service, "drain") as load:
        for renewal in range(RENEWALS):
            load.wait_for(REQUESTS * (renewal + 1) // (RENEWALS + 1))
            web.send_signal(signal.SIGHUP)
        load.wait_for(REQUESTS)
        load._stop.set()  # each caller has one call under way
        web.send_signal(signal.SIGTERM)
        assert web.wait(40) == 0

    assert load.refused == []
    assert len(load.answered) >= REQUESTS
    assert load.spent() == load.answered  # nothing was done without an answer
    assert load.cut <= CALLERS * (RENEWALS + 1)  # a kept connection that ends while it is idle


SLOW = [
    b"POST /api/v1/credits/spend HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n\r\n{",  # a body that drips
    b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nX-",  # a head that does
    b"POST /accounts/login/ HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
    b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\nGET /healthz HT",  # the next one, behind a whole one
    b"POST /api/credits/use HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 00000000000000000000100\r\n\r\n{",
    b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\n" + b"".join(b"X-%d: %s\r\n" % (n, b"a" * 8_000) for n in range(9)),
    b"POST /api/credits/use HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n0\r\n\r\n",
    b"",
]


def test_slow_clients_hold_no_thread(service: Service) -> None:
    """Many more of them than there are threads; each sends a byte now and then."""
    web = service.run_web()
    with ExitStack() as stack:
        lines = [stack.enter_context(socket.create_connection(("127.0.0.1", service.ports.web))) for _ in range(60)]
        for number, line in enumerate(lines):
            line.sendall(SLOW[number % len(SLOW)])
        for _ in range(10):
            for line in lines[::3]:
                with suppress(OSError):
                    line.send(b"a")
            with closing(service.connect()) as client:
                client._connection.timeout = 5
                assert client.ask("GET", "/healthz")[0] == http.client.OK
    web.send_signal(signal.SIGTERM)
    assert web.wait(40) == 0


def test_clients_that_do_not_read_hold_no_thread(service: Service) -> None:
    """Each asks for more than the kernel keeps for it, and takes none of it; others send "close", and do not."""
    web = service.run_web()
    large = (
        b"GET /static/drf_spectacular_sidecar/swagger-ui-dist/swagger-ui-bundle.js HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    )
    last = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
    with ExitStack() as stack:
        for number in range(60):
            line = stack.enter_context(socket.socket())
            line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            line.connect(("127.0.0.1", service.ports.web))
            line.sendall(large * 12 if number % 2 else last)
        for _ in range(10):
            with closing(service.connect()) as client:
                client._connection.timeout = 5
                assert client.ask("GET", "/healthz")[0] == http.client.OK
    with closing(http.client.HTTPConnection("127.0.0.1", service.ports.web, timeout=20)) as reading:
        reading.request("GET", large.split()[1].decode())
        answer = reading.getresponse()
        assert (answer.status, len(answer.read()) > 1_000_000) == (http.client.OK, True)
    web.send_signal(signal.SIGTERM)
    assert web.wait(40) == 0


def test_a_request_in_pieces_is_one_request(service: Service) -> None:
    """As proxies and clients send them: split anywhere, two at once, in chunks, asking first, too large."""
    web = service.run_web()

    def say(*pieces: bytes, answers: int = 1) -> bytes:
        with socket.create_connection(("127.0.0.1", service.ports.web), timeout=10) as line:
            for piece in pieces:
                line.sendall(piece)
                time.sleep(0.05)
            received = b""
            while received.count(b"HTTP/1.1 ") < answers and (more := line.recv(65_536)):
                received += more
            return received

    body = json.dumps({"amount": 1, "description": "x" * 200}).encode()
    head = (
        f"POST /api/v1/credits/spend HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {service.key}\r\n"
        "Content-Type: application/json\r\n"
    ).encode()
    whole = head + b"Idempotency-Key: piece-%d\r\nContent-Length: " + str(len(body)).encode() + b"\r\n\r\n" + body

    assert b" 201 " in say(*(whole % 1)[:300].partition(b"Host"), (whole % 1)[300:])
    assert say((whole % 2) + (whole % 3)[:40], (whole % 3)[40:], answers=2).count(b" 201 ") == 2
    chunked = head + b"Idempotency-Key: piece-4\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = f"{len(body):x}\r\n".encode() + body + b"\r\n0\r\n\r\n"
    assert b"HTTP/1.1 4" in say(chunked, chunk) or b" 201 " in say(chunked, chunk)
    asking = head + b"Idempotency-Key: piece-5\r\nExpect: 100-continue\r\nContent-Length: "
    received = say(asking + str(len(body)).encode() + b"\r\n\r\n", body, answers=2)
    assert received.startswith(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert b" 413 " in say(head + b"Content-Length: 99999999\r\n\r\n")
    assert b" 400 " in say(b"nonsense\r\n\r\n")
    assert b" 400 " in say(head + b"Content-Length: 00000000000000000000100\r\n\r\n{")
    assert b" 400 " in say(head + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
    assert b" 431 " in say(head + b"X: " + b"a" * 70_000)
    web.send_signal(signal.SIGTERM)
    assert web.wait(40) == 0


def test_listeners_hold_no_thread_and_hear_each_change(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """More listeners than the process has threads; one that went away; one too many of an account."""
    monkeypatch.setitem(service.variables, "WEB_CONCURRENCY", "1")
    monkeypatch.setitem(service.variables, "WEB_THREADS", "2")
    web = service.run_web()
    ask = f"GET /api/v1/credits/stream HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {service.key}\r\n\r\n"

    def hear(line: socket.socket, until: bytes) -> bytes:
        received = b""
        while until not in received and (more := line.recv(65_536)):
            received += more
        return received

    with ExitStack() as stack:
        lines = []
        for _ in range(MOST_OF_ONE + 1):
            line = stack.enter_context(socket.create_connection(("127.0.0.1", service.ports.web), timeout=10))
            line.sendall(ask.encode())
            assert b"text/event-stream" in hear(line, b'"available":')
            lines.append(line)
        assert hear(lines[0], b"0\r\n\r\n").endswith(b"0\r\n\r\n")  # the oldest was closed
        lines[1].close()

        with closing(Client(service)) as caller:
            status, spent, _ = caller.spend("live")
        assert status == 201

        for line in lines[2:]:
            assert f'"changed":"{spent["id"]}"'.encode() in hear(line, spent["id"].encode())
        web.send_signal(signal.SIGTERM)
        assert hear(lines[2], b"0\r\n\r\n").endswith(b"0\r\n\r\n")
    assert web.wait(40) == 0


def test_a_table_is_changed_while_credits_are_spent(service: Service) -> None:
    """The last migration of the ledger taken back and done again, under load, behind a reader that will not end."""
    web = service.run_web()
    reader = psycopg.connect(service.postgres.url())
    reader.execute("SELECT 1 FROM credits_wallet")  # an open transaction: a migration of this table must wait
    release = threading.Thread(target=_let_through, args=[service, reader])
    try:
        with Load(service, "migrate") as load:
            load.wait_for(100)
            release.start()
            service.manage("shell", "-v", "0", "-c", ALTER)
            count = len(load.answered)
            load.wait_for(count + 100)
    finally:
        release.join()
        web.terminate()
        web.wait(40)

    assert load.refused == []
    assert load.longest_s < 2.5  # the lock timeout, and a little
    assert load.spent() == load.answered


def _let_through(service: Service, reader: psycopg.Connection) -> None:
    """End the reader once somebody waits for it, and has had to step aside."""
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'ALTER TABLE%%' AND wait_event_type = 'Lock'"
    try:
        _eventually(lambda: service.query(waiting) != [(0,)])
        time.sleep(1.5)
    finally:
        reader.close()


# A migration as any: it goes through our migrate command's way of waiting.
ALTER = """
from unittest.mock import patch
from django.core.management.commands import migrate as original
from django.db import connection, transaction
from billing.management.commands import migrate

tries = []
def change(self, *args, **options):
    tries.append(1)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("ALTER TABLE credits_wallet ADD COLUMN extra bigint NOT NULL DEFAULT 0")
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("ALTER TABLE credits_wallet DROP COLUMN extra")

with patch.object(original.Command, "handle", change):
    migrate.Command().handle(database="default")
assert len(tries) > 1, "nobody was in the way"
"""


def test_no_free_database_connection_is_503_with_retry_after(tables: Path, tmp_path: Path) -> None:
    with ExitStack() as stack:
        service = Service.start(tmp_path / "small", stack, tables=tables, postgres_settings=("max_connections=12",))
        service.run_web()
        taken = list(_take_all(service.postgres.url()))

        with closing(service.connect()) as client:
            started = time.monotonic()
            status, problem, headers = client.spend("full")
            took_s = time.monotonic() - started
            for connection in taken:
                connection.close()

            assert (status, problem["code"], headers["Retry-After"]) == (503, "unavailable", "1")
            assert took_s < 5
            _eventually(lambda: client.spend("full")[0] == http.client.CREATED)


def test_a_worker_killed_while_it_gives_credits_gives_each_once(service: Service) -> None:
    """Hundreds of accounts have a new month; the worker's process is killed again and again while it fills them."""
    service.manage("shell", "-v", "0", "-c", MANY_DUE)
    worker = service.run_worker("--concurrency", "1")
    kills = 0
    while kills < WORKER_KILLS and _given(service) < ACCOUNTS:
        before = _given(service)
        _eventually(lambda before=before: _given(service) > before)  # type: ignore[misc]
        for child in _children(worker.pid):
            os.kill(child, signal.SIGKILL)  # Celery hands the task to the next one
            kills += 1
    _eventually(lambda: _given(service) == ACCOUNTS)
    worker.kill()

    assert kills >= WORKER_KILLS
    twice = service.query("SELECT account_id FROM credits_grant WHERE source = 'plan' GROUP BY 1 HAVING count(*) > 1")
    assert (_given(service), twice) == (ACCOUNTS, [])
    assert "0 disagreements" in service.manage("audit_ledger")


def test_worker_killed_while_fulfilling_grants_exactly_once(service: Service) -> None:
    """Thirty customers pay; the worker that fulfils it is killed, and what rings it is emptied, time and again."""
    for process in (service.run_stripe(), service.run_web()):
        assert process.poll() is None
    service.manage("stripe_bootstrap", "--preset", "demo")
    for session_id in service.manage("shell", "-v", "0", "-c", THIRTY_CHECKOUTS).split():
        service.control(f"checkout/{session_id}/complete", outcome="success")
    _eventually(
        lambda: service.query("SELECT count(*) FROM billing_inboxevent WHERE type LIKE 'checkout%%'") == [(30,)]
    )

    for _ in range(WORKER_KILLS // 2):
        worker = service.run_worker("--concurrency", "2")
        service.manage("shell", "-v", "0", "-c", "from billing.tasks import sweep_inbox as t; t.delay()")
        time.sleep(0.3)
        for process in (*_children(worker.pid), worker.pid):
            os.kill(process, signal.SIGKILL)
        worker.wait()
        redis.Redis.from_url(service.redis.url).flushall()  # PostgreSQL is the queue; Redis only rings

    worker = service.run_worker("--concurrency", "2")
    service.manage("shell", "-v", "0", "-c", WORK_OFF)
    worker.kill()
    bought = service.query("SELECT account_id, count(*) FROM credits_grant WHERE source = 'purchase' GROUP BY 1")
    assert [count for _, count in bought] == [1] * 30
    assert service.query("SELECT status, count(*) FROM billing_order GROUP BY 1") == [("completed", 30)]
    assert "0 disagreements" in service.manage("audit_ledger")


THIRTY_CHECKOUTS = """
from common import clock
from accounts.models import Account
from billing.catalogue import price_list
from billing.checkout import purchases
price = price_list.find_price(item="credits-20")
for number in range(30):
    account = Account.objects.create(name=f"buyer-{number}", email=f"buyer-{number}@example.com")
    order = purchases.start_checkout(
        account=account, price=price, quantity=1, idempotency_key="k", actor="test", now=clock.now()
    ).order
    print(order.stripe_session_id)
"""
# The killed workers' events wait out their pauses; the sweep would come by later.
WORK_OFF = """
import time
from common import clock
from billing.webhooks import inbox
from billing.models import InboxEvent
waiting = InboxEvent.objects.filter(next_attempt_at__isnull=False)
for _ in range(60):
    for event_id in waiting.values_list("event_id", flat=True):
        inbox.replay(event_id=event_id, now=clock.now())
    if not waiting.exists():
        break
    time.sleep(0.2)
"""

ACCOUNTS = max(300, 10 * WORKER_KILLS)
MANY_DUE = f"""
from datetime import timedelta
from common import clock
from accounts.models import Account
from credits import allowances
from credits.models import Allowance, Source
from credits.tasks import refill_monthly_credits
now = clock.now()
for account in Account.objects.bulk_create(Account(name=f"due-{{n}}") for n in range({ACCOUNTS})):
    allowances.start(
        account=account, source=Source.PLAN, source_key="plan", period=Allowance.Period.MONTH, amount=10,
        anchor=now - timedelta(minutes=1), paid_until=now + timedelta(days=20), now=now - timedelta(days=1),
    )
refill_monthly_credits.delay()
"""


def _take_all(url: str) -> Iterator[psycopg.Connection]:
    """Connections until there are no more."""
    with suppress(psycopg.OperationalError):
        while True:
            yield psycopg.connect(url)


def _given(service: Service) -> int:
    return int(service.query("SELECT count(*) FROM credits_grant WHERE source = 'plan'")[0][0])


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _eventually(is_so: Callable[[], bool], within_s: float = 60) -> None:
    deadline = time.monotonic() + within_s
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)
