"""Input that nobody means well with: each a clear 4xx problem, nothing written, one line in the log."""

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from django.test import Client
from structlog.testing import capture_logs

from accounts import keys
from accounts.models import Account
from common import clock
from credits import ledger
from credits.models import Source, Transaction, Wallet

Send = Callable[..., Any]


@pytest.fixture
def send(ada_account: Account, present: datetime, client: Client) -> Send:
    """Sends bytes to an address, with Ada's key."""
    ledger.grant(account_id=ada_account.pk, amount=10, source=Source.BONUS, source_key="t", now=present)
    secret = keys.create_key(
        account=ada_account, name="t", scopes=keys.ACCOUNT_KEY_SCOPES, created_by=None, now=clock.now()
    ).secret

    def call(body: bytes, *, path: str = "credits/spend", kind: str = "application/json", **headers: str) -> Any:
        sent = {"Authorization": f"Bearer {secret}", "Idempotency-Key": "k"} | headers
        return client.generic("POST", f"/api/v1/{path}", body, content_type=kind, headers=sent)

    return call


def assert_refused(answer: Any, status: int) -> None:
    assert answer.status_code == status, answer.content
    assert answer["Content-Type"] == "application/problem+json"
    problem = answer.json()
    assert {"type", "title", "status", "detail", "code", "request_id"} <= problem.keys()
    assert problem["detail"]
    assert not Transaction.objects.filter(kind="spend").exists()
    assert Wallet.objects.get().balance == 10


DEEP = 100_000
BODIES: dict[str, bytes] = {
    "nothing": b"",
    "no JSON": b"{",
    "a list": b"[1]",
    "a number": b"7",
    "null": b"null",
    "text": b'"x"',
    "a name twice": b'{"amount": 1, "amount": 2}',
    "a name twice, further down": b'{"amount": 1, "metadata": {"a": {"b": 1, "b": 2}}}',
    "nested deeply": b'{"amount": 1, "metadata": ' + b'{"a":' * DEEP + b"1" + b"}" * DEEP + b"}",
    "lists nested deeply": b"[" * DEEP + b"]" * DEEP,
    "NaN": b'{"amount": NaN}',
    "Infinity": b'{"amount": 1, "metadata": {"a": -Infinity}}',
    "a float that is infinite": b'{"amount": 1e999}',
    "a number of 5,000 digits": b'{"amount": ' + b"9" * 5_000 + b"}",
    "half a character": rb'{"amount": 1, "description": "\ud800"}',
    "half a character in a name": rb'{"amount": 1, "metadata": {"\udfff": 1}}',
    "not UTF-8": b'{"amount": 1, "description": "\xff"}',
    "UTF-16": '{"amount": 1}'.encode("utf-16"),
    "a byte order mark": b"\xef\xbb\xbf" + b'{"amount": 1}',
    "NUL in metadata": rb'{"amount": 1, "metadata": {"a": "\u0000"}}',
    "NUL in a name of metadata": rb'{"amount": 1, "metadata": {"\u0000": 1}}',
    "NUL in a description": rb'{"amount": 1, "description": "\u0000"}',
    "a line break in a description": rb'{"amount": 1, "description": "a\nb"}',
    "a description of 256": json.dumps({"amount": 1, "description": "x" * 256}).encode(),
    "metadata that is a list": b'{"amount": 1, "metadata": []}',
    "metadata of 5 KB": json.dumps({"amount": 1, "metadata": {"a": "x" * 5_000}}).encode(),
    "metadata of a megabyte": json.dumps({"amount": 1, "metadata": {"a": "x" * 1_000_000}}).encode(),
    "an amount of nothing": b'{"amount": 0}',
    "less than nothing": b'{"amount": -1}',
    "a fraction": b'{"amount": 1.5}',
    "a whole fraction": b'{"amount": 1.0}',
    "text for an amount": b'{"amount": "1"}',
    "true for an amount": b'{"amount": true}',
    "more than any number": b'{"amount": 9007199254740993}',
    "an account that is a number": b'{"amount": 1, "account": 7}',
    "an account that is a list": b'{"amount": 1, "account": ["a"]}',
    "a feature that is an object": b'{"feature": {"$ne": 1}}',
    "both": b'{"amount": 1, "feature": "x"}',
    "neither": b"{}",
}


@pytest.mark.parametrize("what", BODIES)
def test_a_body_that_is_none_is_400(send: Send, what: str) -> None:
    with capture_logs() as lines:
        answer = send(BODIES[what])

    assert_refused(answer, 400)
    assert answer.json()["code"] in {"invalid_request", "idempotency_key_missing"}
    assert len([line for line in lines if line["event"] == "request_finished"]) == 1
    assert not [line for line in lines if line["log_level"] in ("error", "critical")]


def test_a_body_that_is_too_large_is_413(send: Send) -> None:
    assert_refused(send(b'{"amount": 1, "description": "' + b"x" * 2_000_000 + b'"}'), 413)


@pytest.mark.parametrize("kind", ["text/plain", "application/xml", "multipart/form-data; boundary=x", "x", ""])
def test_another_kind_of_body_is_415(send: Send, kind: str) -> None:
    assert_refused(send(b'{"amount": 1}', kind=kind), 415)


@pytest.mark.parametrize("key", ["", " ", "x" * 256, "x" * 1_000, "\x00", "é", "a\tb", "💥", "\u202e"], ids=ascii)
def test_a_key_that_is_none_is_400(send: Send, key: str) -> None:
    answer = send(b'{"amount": 1}', **{"Idempotency-Key": key})

    assert_refused(answer, 400)
    assert answer.json()["code"] == "idempotency_key_missing"


def test_a_key_that_is_replayed_with_another_body_is_422(send: Send) -> None:
    assert send(b'{"amount": 1}').status_code == 201

    for other in (b'{"amount": 2}', b'{"amount": 1, "description": "x"}', b'{"amount": 1, "metadata": {"a": 1}}'):
        answer = send(other)
        assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")
    assert Wallet.objects.get().balance == 9


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("limit=0", "/limit"),
        ("limit=101", "/limit"),
        ("limit=1e3", "/limit"),
        ("limit=-1", "/limit"),
        ("limit=99999999999999999999", "/limit"),
        ("type=%00", "/type"),
        ("feature=%00", "/feature"),
        ("key=%0a", "/key"),
        ("created_after=yesterday", "/created_after"),
        ("created_before=9999-99-99T00:00:00Z", "/created_before"),
        ("account=%00", "/account"),
    ],
)
def test_a_query_that_is_none_is_400_or_404(send: Send, client: Client, query: str, pointer: str) -> None:
    secret = keys.create_key(
        account=None, name="s", scopes=keys.SERVICE_KEY_SCOPES, created_by=None, now=clock.now()
    ).secret
    account = "" if pointer == "/account" else f"&account={Account.objects.get().public_id}"

    answer = client.get(f"/api/v1/credits/transactions?{query}{account}", headers={"Authorization": f"Bearer {secret}"})

    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, pointer)


@pytest.mark.parametrize("cursor", ["x", "%00", "====", "AAAA", "dHhuX3g", "é", "x" * 5_000])
def test_a_cursor_that_is_not_ours_is_400(send: Send, client: Client, cursor: str) -> None:
    secret = keys.create_key(
        account=Account.objects.get(), name="s", scopes=["credits:read"], created_by=None, now=clock.now()
    ).secret

    answer = client.get(f"/api/v1/credits/transactions?cursor={cursor}", headers={"Authorization": f"Bearer {secret}"})

    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_cursor")


def test_a_method_that_is_not_taken_is_405(send: Send, client: Client) -> None:
    secret = keys.create_key(
        account=Account.objects.get(), name="s", scopes=["credits:read"], created_by=None, now=clock.now()
    ).secret
    headers = {"Authorization": f"Bearer {secret}"}

    for method in ("PUT", "DELETE", "PATCH"):
        answer = client.generic(method, "/api/v1/credits/balance", headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
    assert client.get("/api/v1/credits/balance", headers=headers | {"Accept": "image/png"}).status_code == 406
