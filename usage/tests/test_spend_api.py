"""POST /credits/spend: what it takes, what it answers, and that a refusal writes nothing."""

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

import psycopg
import pytest
from django.db import OperationalError
from django.test import Client
from pytest_django import Settings

from accounts import keys
from accounts.models import Account, Scope
from common import clock
from credits import ledger, limits
from credits.models import Grant, Source, Transaction, Wallet
from usage.tests.rate_card import put_on_the_card

Post = Callable[..., Any]


@pytest.fixture
def funded(ada_account: Account, present: datetime) -> Account:
    """Ada, with ten credits and a rate card of one line."""
    put_on_the_card("image", credits=4)
    ledger.grant(account_id=ada_account.pk, amount=10, source=Source.PURCHASE, source_key="t", now=present)
    return ada_account


@pytest.fixture
def post(funded: Account, client: Client) -> Post:
    """Spend with Ada's key."""
    secret = _key(funded)

    def call(body: Any, key: str | None = "job-1", *, bearer: str = secret, raw: bytes | None = None) -> Any:
        headers = {"Authorization": f"Bearer {bearer}"} | ({"Idempotency-Key": key} if key is not None else {})
        data = json.dumps(body).encode() if raw is None else raw
        return client.generic("POST", "/api/v1/credits/spend", data, content_type="application/json", headers=headers)

    return call


def _key(account: Account | None, *scopes: str, **how: Any) -> str:
    scopes = scopes or (keys.ACCOUNT_KEY_SCOPES if account else keys.SERVICE_KEY_SCOPES)
    created = keys.create_key(account=account, name="t", scopes=scopes, created_by=None, now=clock.now(), **how)
    return created.secret


def assert_nothing_spent() -> None:
    assert not Transaction.objects.filter(kind="spend").exists()
    assert Wallet.objects.get().balance == 10


def test_a_spend_answers_its_transaction(post: Post, client: Client) -> None:
    answer = post({"feature": "image", "quantity": 2, "description": "Two cats"})

    body = answer.json()
    assert answer.status_code == 201
    assert (body["type"], body["amount"], body["balance_after"], body["feature"]) == ("spend", -8, 2, "image")
    assert [(lot["source"], lot["amount"]) for lot in body["lots"]] == [("purchase", 8)]
    assert answer["Credits-Available"] == "2"
    assert "Idempotent-Replayed" not in answer
    fetched = client.get(
        f"/api/v1/credits/transactions/{body['id']}", headers={"Authorization": f"Bearer {_key(Account.objects.get())}"}
    )
    assert fetched.json() == body


def test_a_repeated_key_gets_the_first_answer_marked_as_such(post: Post) -> None:
    first, again = post({"amount": 3}), post({"amount": 3})

    assert again["Idempotent-Replayed"] == "true"
    assert (again.status_code, again.json()) == (201, first.json())
    assert Wallet.objects.get().balance == 7


def test_a_reused_key_is_422(post: Post) -> None:
    post({"amount": 3})

    answer = post({"amount": 4})

    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")
    assert Wallet.objects.get().balance == 7


def test_too_few_credits_is_402_and_says_where_to_buy(post: Post) -> None:
    answer = post({"amount": 11})

    problem = answer.json()
    assert answer.status_code == 402
    assert answer["Content-Type"] == "application/problem+json"
    assert {name: problem[name] for name in ("code", "required", "available", "shortfall", "retryable")} == {
        "code": "insufficient_credits",
        "required": 11,
        "available": 10,
        "shortfall": 1,
        "retryable": False,
    }
    assert problem["buy_url"] == "http://127.0.0.1:8000/credits"
    assert problem["request_id"] == answer["Request-Id"]
    assert_nothing_spent()


AMOUNTS = [0, -1, -0.0, 1.5, 1.0, "1", True, False, None, [], {}, 2**53 + 1, 2**31 * 2**32, 10**20, "ten"]


@pytest.mark.parametrize("amount", AMOUNTS, ids=repr)
def test_an_amount_that_is_no_number_of_credits_is_named(post: Post, amount: Any) -> None:
    answer = post({"amount": amount})

    assert (answer.status_code, answer["Content-Type"]) == (400, "application/problem+json")
    assert [problem["pointer"] for problem in answer.json()["errors"]] == ["/amount"]
    assert_nothing_spent()


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e400", "1" * 5000])
def test_numbers_that_json_does_not_have_are_refused(post: Post, text: str) -> None:
    assert post(None, raw=f'{{"amount": {text}}}'.encode()).status_code == 400
    assert_nothing_spent()


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"feature": "poem"}, "/feature"),
        ({"feature": ""}, "/feature"),
        ({"feature": "a\x00b"}, "/feature"),
        ({"feature": "image", "quantity": 0}, "/quantity"),
        ({"feature": "image", "quantity": 2**53}, "/quantity"),
        ({"feature": "image", "amount": 1}, "/amount"),
        ({"amount": 1, "quantity": 2}, "/amount"),
        ({}, "/amount"),
        ({"amount": 1, "description": "x" * 256}, "/description"),
        ({"amount": 1, "description": "\x00"}, "/description"),
        ({"amount": 1, "metadata": "x"}, "/metadata"),
        ({"amount": 1, "metadata": {"a": "x" * 5000}}, "/metadata"),
        ({"amount": 1, "metadata": {"a": "\x00"}}, "/metadata"),
        ({"amount": 1, "account": 7}, "/account"),
    ],
    ids=str,
)
def test_what_cannot_be_taken_is_named(post: Post, body: dict[str, Any], pointer: str) -> None:
    answer = post(body)

    assert answer.status_code == 400
    assert pointer in [problem["pointer"] for problem in answer.json()["errors"]]
    assert_nothing_spent()


@pytest.mark.parametrize("raw", [b"", b"null", b"[]", b"7", b'"x"', b"{", b"\xff", b'{"amount": 1}x', b"[" * 50_000])
def test_a_body_that_is_no_object_is_400(post: Post, raw: bytes) -> None:
    answer = post(None, raw=raw)

    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")
    assert_nothing_spent()


@pytest.mark.parametrize("key", [None, "", " ", "k" * 256, "é", "a\tb", "👍"], ids=repr)
def test_without_a_usable_key_the_answer_says_how_to_send_one(post: Post, key: str | None) -> None:
    answer = post({"amount": 1}, key)

    assert (answer.status_code, answer.json()["code"]) == (400, "idempotency_key_missing")
    assert "Idempotency-Key:" in answer.json()["detail"]
    assert_nothing_spent()


def test_a_key_of_255_characters_is_taken(post: Post) -> None:
    assert post({"amount": 1}, "~" * 255).status_code == 201


def test_the_same_key_of_another_account_is_another_spend(post: Post, present: datetime) -> None:
    service = _key(None)
    for account in ("ext:bob", "ext:cleo"):
        from accounts.opening import external_account

        other = external_account(subject=account[4:], now=present)
        ledger.grant(account_id=other.pk, amount=5, source=Source.BONUS, source_key="t", now=present)
        answer = post({"amount": 1, "account": account}, bearer=service)
        assert (answer.status_code, answer.json()["balance_after"]) == (201, 4)


def test_without_a_key_nothing_is_said_of_accounts(client: Client, funded: Account) -> None:
    answer = client.post("/api/v1/credits/spend", {"amount": 1}, content_type="application/json")

    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
    assert answer["WWW-Authenticate"].startswith("Bearer")


def test_a_revoked_or_expired_key_stops_at_once(post: Post, funded: Account, present: datetime) -> None:
    revoked = keys.create_key(account=funded, name="t", scopes=keys.ACCOUNT_KEY_SCOPES, created_by=None, now=present)
    keys.revoke_key(key=revoked.key, now=present)
    expired = _key(funded, expires_at=present)

    for secret in (revoked.secret, expired):
        answer = post({"amount": 1}, bearer=secret)
        assert (answer.status_code, answer.json()["code"]) == (401, "key_revoked")
    assert_nothing_spent()


def test_a_key_without_the_scope_is_403(post: Post, funded: Account) -> None:
    answer = post({"amount": 1}, bearer=_key(funded, Scope.CREDITS_READ))

    assert (answer.status_code, answer.json()["code"]) == (403, "insufficient_scope")
    assert answer.json()["required_scope"] == "credits:spend"
    assert_nothing_spent()


def test_an_account_key_acts_for_no_other_account(post: Post, present: datetime) -> None:
    other = Account.objects.create(name="Bob", created_at=present)

    assert post({"amount": 1, "account": other.public_id}).status_code == 404
    assert_nothing_spent()


def test_a_service_key_must_name_an_account(post: Post) -> None:
    answer = post({"amount": 1}, bearer=_key(None))

    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, "/account")
    assert_nothing_spent()


def test_a_trailing_slash_is_overlooked(client: Client, funded: Account) -> None:
    answer = client.get("/api/v1/credits/balance/", headers={"Authorization": f"Bearer {_key(funded)}"})

    assert answer.json()["available"] == 10


def test_an_unknown_address_answers_a_problem(client: Client) -> None:
    answer = client.get("/api/v1/nothing")

    assert (answer.status_code, answer["Content-Type"]) == (404, "application/problem+json")


def test_a_wait_that_takes_too_long_is_503_and_safe_to_retry(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    for state, code in (("55P03", "busy"), ("25006", "unavailable"), ("53100", "unavailable"), (None, "unavailable")):
        cause = psycopg.OperationalError()
        cause.sqlstate = state
        failure = OperationalError()
        failure.__cause__ = cause
        monkeypatch.setattr(ledger, "spend", _raiser(failure))

        answer = post({"amount": 1})

        assert (answer.status_code, answer.json()["code"], answer["Retry-After"]) == (503, code, "1")
    monkeypatch.undo()
    assert post({"amount": 1}).status_code == 201


def test_spending_does_not_need_redis(post: Post, settings: Settings) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    settings.CACHES = {
        "default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": settings.REDIS_URL}
    }

    answers = [post({"amount": 1}, f"k{number}").status_code for number in range(10)]

    assert answers == [201] * 10


def test_the_day_s_cap_is_429_and_says_when_it_ends(post: Post, funded: Account) -> None:
    limits.set_daily_cap(account_id=funded.pk, cap=3)

    answer = post({"amount": 4})

    problem = answer.json()
    assert (answer.status_code, problem["code"], problem["limit"], problem["used"]) == (429, "daily_cap_reached", 3, 0)
    assert 0 < int(answer["Retry-After"]) <= 86_400
    assert_nothing_spent()


def test_what_is_owed_is_402(post: Post, funded: Account, present: datetime) -> None:
    Wallet.objects.filter(account=funded).update(debt=5)
    Grant.objects.update(source=Source.BONUS)

    answer = post({"amount": 1})

    assert (answer.status_code, answer.json()["code"], answer.json()["debt"]) == (402, "account_in_debt", 5)


def _raiser(error: Exception) -> Callable[..., None]:
    def raise_it(**_what: Any) -> None:
        raise error

    return raise_it
