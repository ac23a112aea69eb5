"""Outgoing webhooks: signed, tried again, never into our own network; and their API."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from django.test import Client
from pytest_django import Settings

from accounts import keys
from accounts.models import Account
from accounts.opening import external_account
from common import clock, webhook_signatures
from outbox import dispatching, publishing, safe_http, webhooks
from outbox.models import Alert, OutboxEvent, WebhookDelivery, WebhookEndpoint
from outbox.safe_http import UnsafeUrlError


@dataclass
class Receiver:
    """A receiver that answers as configured."""

    url: str = ""
    status: int = 200
    heard: list[tuple[dict[str, str], bytes]] = field(default_factory=list)


@pytest.fixture
def receiver(settings: Settings) -> Iterator[Receiver]:
    settings.WEBHOOKS_TO_PRIVATE_ADDRESSES = True
    created = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            created.heard.append(({name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(created.status)
            if created.status == 302:
                self.send_header("Location", "http://169.254.169.254/")
            self.end_headers()
            self.wfile.write(b"thanks" * 2_000)

        def log_message(self, *_about: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    created.url = f"http://127.0.0.1:{server.server_port}/hook?from=tegoed"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield created
    server.shutdown()
    server.server_close()


@pytest.fixture
def queued(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The deliveries that were queued for a worker."""
    result: list[Any] = []
    monkeypatch.setattr(webhooks, "_enqueue", result.append)
    return result


def listen(account: Account | None, url: str, now: datetime, *events: str) -> tuple[WebhookEndpoint, str]:
    return webhooks.create_endpoint(account=account, url=url, events=events, description="", actor="t", now=now)


def happen(account: Account, now: datetime, name: str = "credits.low") -> OutboxEvent:
    key = f"{name}:{account.pk}:{now.isoformat()}"
    publishing.publish(name=name, key=key, data={"left": 2}, account_id=account.pk, now=now)
    event = OutboxEvent.objects.get(key=key)
    dispatching.dispatch(event_id=event.pk, now=now)
    return event


def try_all(now: datetime) -> None:
    for delivery_id in webhooks.due(now=now):
        webhooks.attempt(delivery_id=delivery_id, now=now)


def test_an_event_is_told_once_and_signed(
    ada_account: Account, receiver: Receiver, now: datetime, queued: list[Any]
) -> None:
    _, secret = listen(ada_account, receiver.url, now)
    event = happen(ada_account, now)
    webhooks.create_deliveries(event)

    try_all(now)
    try_all(now + timedelta(days=1))

    ((headers, body),) = receiver.heard
    assert json.loads(body) == {
        "type": "credits.low",
        "timestamp": now.isoformat().replace("+00:00", "Z"),
        "data": {"left": 2, "account": ada_account.public_id, "external_id": None},
    }
    assert headers["webhook-id"] == event.public_id
    assert webhook_signatures.verify(secrets=[secret], headers=headers, body=body, now=now, tolerance_s=5) == now
    row = WebhookDelivery.objects.get()
    assert (row.state, row.attempts, row.status_code, len(row.answer)) == ("delivered", 1, 200, 4_096)


def test_endpoint_receives_its_accounts_chosen_events_only(
    ada_account: Account, receiver: Receiver, now: datetime, queued: list[Any]
) -> None:
    bob = external_account(subject="bob", now=now)
    listen(ada_account, receiver.url, now, "order.paid")
    own, _ = listen(bob, receiver.url, now)
    everybody, _ = listen(None, receiver.url, now, "credits.low")

    happen(bob, now)
    happen(bob, now, "alert.opened")  # for our own apps only

    assert {row.endpoint_id for row in WebhookDelivery.objects.all()} == {own.pk, everybody.pk}
    try_all(now)
    assert [json.loads(body)["data"]["external_id"] for _, body in receiver.heard] == ["bob", "bob"]


def test_failed_event_is_retried_with_backoff_then_dropped(
    ada_account: Account, receiver: Receiver, now: datetime, queued: list[Any]
) -> None:
    listen(ada_account, receiver.url, now)
    happen(ada_account, now)
    receiver.status = 500
    moment, pauses = now, []

    while (due_at := WebhookDelivery.objects.get().next_attempt_at) is not None:
        pauses.append(due_at - moment)
        moment = due_at
        try_all(moment)

    assert len(receiver.heard) == len(webhooks.PAUSES) + 1
    assert all(expected <= pause <= expected * 1.1 for pause, expected in zip(pauses[1:], webhooks.PAUSES, strict=True))
    assert WebhookDelivery.objects.get().state == "failed"
    assert len({headers["webhook-id"] for headers, _ in receiver.heard}) == 1
    assert len({headers["webhook-timestamp"] for headers, _ in receiver.heard}) == len(receiver.heard)


def test_two_workers_try_once(ada_account: Account, receiver: Receiver, now: datetime, queued: list[Any]) -> None:
    listen(ada_account, receiver.url, now)
    happen(ada_account, now)
    (delivery_id,) = webhooks.due(now=now)
    seen = WebhookDelivery.objects.get()
    WebhookDelivery.objects.update(attempts=1, next_attempt_at=now + webhooks.CLAIM)

    webhooks.attempt(delivery_id=delivery_id, now=now)  # another one is at it
    assert receiver.heard == []
    webhooks.attempt(delivery_id=delivery_id, now=now + webhooks.CLAIM)  # that one died
    assert (len(receiver.heard), seen.attempts) == (1, 0)


def test_endpoint_failing_for_days_is_disabled_and_alerted(
    ada_account: Account, receiver: Receiver, now: datetime, queued: list[Any]
) -> None:
    endpoint, _ = listen(ada_account, receiver.url, now)
    receiver.status = 503
    for hours in range(0, 145, 24):
        happen(ada_account, now + timedelta(hours=hours))
        try_all(now + timedelta(hours=hours))

    endpoint.refresh_from_db()
    assert endpoint.disabled_at is not None
    assert Alert.objects.get().kind == Alert.Kind.WEBHOOK_OFF
    receiver.heard.clear()
    happen(ada_account, now + timedelta(days=8))
    try_all(now + timedelta(days=8))
    assert receiver.heard == []
    webhooks.switch_on(endpoint, now=now)
    assert Alert.objects.get().resolved_at is not None


def test_endpoint_that_recovered_is_not_disabled_by_a_later_failure(
    ada_account: Account, receiver: Receiver, now: datetime, queued: list[Any]
) -> None:
    endpoint, _ = listen(ada_account, receiver.url, now)
    for days, status in ((0, 503), (1, 200), (7, 503)):
        receiver.status = status
        happen(ada_account, now + timedelta(days=days))
        try_all(now + timedelta(days=days))

    endpoint.refresh_from_db()
    assert endpoint.disabled_at is None


def test_410_switches_off_at_once(ada_account: Account, receiver: Receiver, now: datetime, queued: list[Any]) -> None:
    endpoint, _ = listen(ada_account, receiver.url, now)
    receiver.status = 410
    happen(ada_account, now)
    try_all(now)

    endpoint.refresh_from_db()
    assert endpoint.disabled_why == "It answered 410 Gone."


def test_a_redirect_is_no_delivery_and_is_not_followed(
    ada_account: Account, receiver: Receiver, now: datetime, queued: list[Any]
) -> None:
    listen(ada_account, receiver.url, now)
    receiver.status = 302
    happen(ada_account, now)
    try_all(now)

    row = WebhookDelivery.objects.get()
    assert (row.state, row.status_code, len(receiver.heard)) == ("waiting", 302, 1)


def test_during_a_rotation_both_secrets_verify(
    ada_account: Account, receiver: Receiver, now: datetime, queued: list[Any]
) -> None:
    endpoint, old = listen(ada_account, receiver.url, now)
    new = webhooks.rotate_secret(endpoint, now=now)
    happen(ada_account, now)
    try_all(now)
    later = now + webhooks.OLD_SECRET_FOR
    happen(ada_account, later)
    try_all(later)

    def signers(number: int, at: datetime) -> list[bool]:
        headers, body = receiver.heard[number]
        result = []
        for secret in (old, new):
            try:
                webhook_signatures.verify(secrets=[secret], headers=headers, body=body, now=at, tolerance_s=5)
                result.append(True)
            except webhook_signatures.ForgedWebhookError:
                result.append(False)
        return result

    assert (signers(0, now), signers(1, later)) == ([True, True], [False, True])
    assert old not in endpoint.secret + endpoint.old_secret


UNSAFE = [
    "http://example.com/",
    "ftp://example.com/",
    "https://user:password@example.com/",
    "https://127.0.0.1/",
    "https://[::1]/",
    "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:7f00:1]/",
    "https://[64:ff9b::7f00:1]/",
    "https://[2002:7f00:1::]/",
    "https://10.1.2.3/",
    "https://172.16.0.1/",
    "https://192.168.1.1/",
    "https://169.254.169.254/latest/meta-data/",
    "https://100.64.0.1/",
    "https://0.0.0.0/",
    "https://224.0.0.1/",
    "https://255.255.255.255/",
    "https://[fd00::1]/",
    "https://[fe80::1]/",
    "https:///path",
    "https://example.com:99999/",
    "https://example.com/#x",
    "https://exa mple.com/",
    "https://example.com\\@127.0.0.1/",
    "//example.com/",
    "javascript:alert(1)",
    "",
    "https://" + "a" * 500 + ".example/",
]


@pytest.mark.parametrize("url", UNSAFE)
def test_an_address_inside_is_refused_when_it_is_named(settings: Settings, url: str) -> None:
    settings.WEBHOOKS_TO_PRIVATE_ADDRESSES = False

    with pytest.raises(UnsafeUrlError):
        safe_http.check_url(url)


@pytest.mark.parametrize(
    "found",
    [["127.0.0.1"], ["93.184.216.34", "10.0.0.1"], ["::1"], ["169.254.169.254"], ["fe80::1%eth0"], ["64:ff9b::a00:1"]],
    ids=str,
)
def test_hostname_resolving_to_private_address_is_refused(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, found: list[str]
) -> None:
    settings.WEBHOOKS_TO_PRIVATE_ADDRESSES = False
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_a, **_k: [(0, 0, 0, "", (each, 443)) for each in found])
    monkeypatch.setattr(socket, "create_connection", lambda *_a, **_k: pytest.fail("it connected"))

    with pytest.raises(UnsafeUrlError):
        safe_http.post("https://inside.example/", body=b"{}", headers={})


def test_odd_spellings_of_private_addresses_are_refused(settings: Settings) -> None:
    settings.WEBHOOKS_TO_PRIVATE_ADDRESSES = False

    for host in ("127.1", "2130706433", "0x7f.1", "0177.0.0.1", "localhost", "127.0.0.1.nip.invalid"):
        with pytest.raises((UnsafeUrlError, safe_http.UnreachableError)):
            safe_http.post(f"https://{host}/", body=b"{}", headers={})


Call = Callable[..., Any]


@pytest.fixture
def call(client: Client, ada_account: Account, present: datetime) -> Call:
    secret = keys.create_key(
        account=ada_account, name="t", scopes=keys.ACCOUNT_KEY_SCOPES, created_by=None, now=clock.now()
    ).secret

    def ask(method: str, path: str, body: Any = None, *, bearer: str = secret) -> Any:
        return client.generic(
            method,
            f"/api/v1/webhook-endpoints{path}",
            json.dumps(body) if body is not None else "",
            content_type="application/json",
            headers={"Authorization": f"Bearer {bearer}"},
        )

    return ask


def test_endpoints_are_managed_over_the_api(call: Call, receiver: Receiver, queued: list[Any]) -> None:
    created = call("POST", "", {"url": receiver.url, "events": ["order.paid"], "description": "Ours"}).json()
    assert created["secret"].startswith("whsec_")
    (listed,) = call("GET", "").json()["data"]
    assert listed == {name: value for name, value in created.items() if name != "secret"}

    sent = call("POST", f"/{created['id']}/test").json()
    try_all(clock.now())
    (delivery,) = call("GET", f"/{created['id']}/deliveries").json()["data"]
    assert (sent["id"], sent["state"]) == (delivery["id"], "waiting")
    assert (delivery["type"], delivery["state"], delivery["status_code"]) == ("webhook.test", "delivered", 200)
    again = call("POST", f"/{created['id']}/deliveries/{delivery['id']}/replay")
    assert (again.status_code, again.json()["state"]) == (202, "waiting")
    try_all(clock.now())
    assert len(receiver.heard) == 2

    assert call("POST", f"/{created['id']}/secret").json()["secret"] != created["secret"]
    assert call("PATCH", f"/{created['id']}", {"is_on": False}).json()["is_on"] is False
    assert call("PATCH", f"/{created['id']}", {"is_on": True}).json()["is_on"] is True
    assert call("DELETE", f"/{created['id']}").status_code == 204
    assert call("GET", "").json()["data"] == []


def test_an_unsafe_address_is_400_and_says_why(call: Call, settings: Settings) -> None:
    settings.WEBHOOKS_TO_PRIVATE_ADDRESSES = False

    answer = call("POST", "", {"url": "https://169.254.169.254/"})

    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, "/url")
    assert not WebhookEndpoint.objects.exists()


def test_there_is_an_end_to_endpoints(call: Call, settings: Settings, receiver: Receiver) -> None:
    settings.MAX_WEBHOOK_ENDPOINTS_PER_ACCOUNT = 1

    assert [call("POST", "", {"url": receiver.url}).status_code for _ in range(2)] == [201, 409]


def test_a_service_key_has_endpoints_of_its_own_and_of_accounts(call: Call, receiver: Receiver) -> None:
    service = keys.create_key(
        account=None, name="s", scopes=keys.SERVICE_KEY_SCOPES, created_by=None, now=clock.now()
    ).secret
    everybody = call("POST", "", {"url": receiver.url}, bearer=service).json()
    of_bob = call("POST", "", {"url": receiver.url, "account": "ext:bob"}, bearer=service).json()

    assert (everybody["account"], of_bob["account"][:4]) == (None, "acc_")
    assert [row["id"] for row in call("GET", "", bearer=service).json()["data"]] == [everybody["id"]]
    for endpoint in (everybody, of_bob):  # and Ada sees none of them
        assert call("DELETE", f"/{endpoint['id']}").status_code == 404
        assert call("GET", f"/{endpoint['id']}/deliveries").status_code == 404
