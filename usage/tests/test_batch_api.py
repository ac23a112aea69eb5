"""Many spends in one call: each its own answer, none in the way of another."""

import threading
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from accounts import keys
from accounts.models import Account, Scope
from accounts.opening import external_account
from common import clock
from credits import audit, ledger
from credits.models import Source, Transaction, Wallet
from usage.tests.rate_card import put_on_the_card

Answers = list[tuple[int, bool]]


@pytest.fixture
def service(db: None) -> str:
    """A service key's secret; its two users have five credits each."""
    for subject in ("a", "b"):
        account = external_account(subject=subject, now=clock.now())
        ledger.grant(account_id=account.pk, amount=5, source=Source.BONUS, source_key="t", now=clock.now())
    put_on_the_card("image", credits=4)
    scopes = [Scope.CREDITS_SPEND, Scope.ACCOUNTS_WRITE]
    return keys.create_key(account=None, name="s", scopes=scopes, created_by=None, now=clock.now()).secret


def send(secret: str, spends: Any) -> Any:
    headers = {"Authorization": f"Bearer {secret}"}
    return Client().post(
        "/api/v1/credits/spend/batch", {"spends": spends}, content_type="application/json", headers=headers
    )


def one(key: str, account: str = "ext:a", **what: Any) -> dict[str, Any]:
    return {"idempotency_key": key, "account": account, **(what or {"amount": 1})}


def answers(found: Any) -> Answers:
    assert found.status_code == 200
    return [(row["status"], row["replayed"]) for row in found.json()["data"]]


def test_each_spend_has_its_own_answer_in_the_order_asked(service: str) -> None:
    result = send(
        service,
        [
            one("1", "ext:b", feature="image"),
            one("2", "ext:a", amount=3),
            one("3", "ext:b", amount=2),
            one("4", "ext:a", feature="nothing"),
            one("5", "ext:a", amount=1.5),
            one("", "ext:a"),
            one("7", "ext:a", amount=2),
        ],
    )

    assert answers(result) == [
        (201, False),
        (201, False),
        (402, False),
        (400, False),
        (400, False),
        (400, False),
        (201, False),
    ]
    rows = result.json()["data"]
    assert [row["transaction"] and row["transaction"]["balance_after"] for row in rows] == [
        1,
        2,
        None,
        None,
        None,
        None,
        0,
    ]
    assert (rows[2]["problem"]["code"], rows[2]["problem"]["available"]) == ("insufficient_credits", 1)
    assert list(audit.all_disagreements()) == []


def test_a_batch_sent_again_takes_nothing_more(service: str) -> None:
    batch = [one("1"), one("2"), one("1"), one("1", amount=2)]

    assert answers(send(service, batch)) == [(201, False), (201, False), (201, True), (422, False)]
    assert answers(send(service, batch)) == [(201, True), (201, True), (201, True), (422, False)]
    assert Transaction.objects.filter(kind=Transaction.Kind.SPEND).count() == 2


@pytest.mark.parametrize(
    "spends", [[], "x", [1], None, [one(str(n)) for n in range(501)]], ids=["empty", "text", "number", "null", "many"]
)
def test_what_is_no_batch_is_refused_whole(service: str, spends: Any) -> None:
    assert send(service, spends).status_code == 400
    assert not Transaction.objects.filter(kind=Transaction.Kind.SPEND).exists()


def test_an_account_key_spends_for_itself_alone(service: str, ada_account: Account) -> None:
    ledger.grant(account_id=ada_account.pk, amount=5, source=Source.BONUS, source_key="t", now=clock.now())
    own = keys.create_key(account=ada_account, name="k", scopes=[Scope.CREDITS_SPEND], created_by=None, now=clock.now())

    result = send(own.secret, [{"idempotency_key": "1", "amount": 1}, one("2", "ext:a")])

    assert answers(result) == [(201, False), (404, False)]


@pytest.mark.django_db(transaction=True)
def test_batches_over_the_same_accounts_never_deadlock(service: str) -> None:
    statuses: list[int] = []

    def run(number: int) -> None:
        order = ("ext:a", "ext:b") if number % 2 else ("ext:b", "ext:a")
        try:
            result = send(service, [one(f"{number}-{account}", account) for account in order])
            statuses.extend(status for status, _ in answers(result))
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=[number]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (statuses.count(201), statuses.count(402)) == (10, 6)
    assert set(Wallet.objects.values_list("balance", flat=True)) == {0}
