"""Holds, checks, reversals and explanations over HTTP."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from prometheus_client import REGISTRY

from accounts import keys
from accounts.models import Account, Scope
from common import clock
from common.public_ids import new_id, public_id
from credits import audit, ledger
from credits.models import Source, Wallet

BALANCE = 10


@pytest.fixture
def account(ada_account: Account) -> Account:
    ledger.grant(account_id=ada_account.pk, amount=BALANCE, source=Source.PURCHASE, source_key="t", now=clock.now())
    return ada_account


class Api:
    """The app's backend: a service key that names the account with each call."""

    def __init__(self, account: Account, scopes: Sequence[str] = keys.ACCOUNT_KEY_SCOPES) -> None:
        created = keys.create_key(account=None, name="t", scopes=scopes, created_by=None, now=clock.now())
        self.account = account.public_id
        self._client = Client(headers={"Authorization": f"Bearer {created.secret}"})
        self._number = 0

    def post(self, path: str, body: Any = None, key: str = "") -> tuple[int, dict[str, Any]]:
        self._number += 1
        headers = {"Idempotency-Key": key or f"k{self._number}"}
        answer = self._client.post(
            f"/api/v1/credits/{path}",
            {"account": self.account, **(body or {})},
            content_type="application/json",
            headers=headers,
        )
        return answer.status_code, answer.json()

    def get(self, path: str) -> tuple[int, dict[str, Any]]:
        glue = "&" if "?" in path else "?"
        answer = self._client.get(f"/api/v1/credits/{path}{glue}account={self.account}")
        return answer.status_code, answer.json()


@pytest.fixture
def api(account: Account) -> Api:
    return Api(account)


def hold(api: Api, amount: int = 6, **more: Any) -> str:
    status, created = api.post("holds", {"amount": amount, **more})
    assert status == 201, created
    return str(created["id"])


def test_a_hold_sets_aside_and_a_capture_spends_the_true_cost(api: Api) -> None:
    status, created = api.post("holds", {"amount": 6, "description": "A long answer"}, key="h")
    assert (status, created["status"], created["amount"], created["available"]) == (201, "open", 6, 4)
    assert api.post("holds", {"amount": 6, "description": "A long answer"}, key="h")[1]["id"] == created["id"]

    status, captured = api.post(f"holds/{created['id']}/capture", {"amount": 2})

    assert (status, captured["amount"], captured["missing"], captured["balance_after"]) == (201, -2, 0, 8)
    assert api.post(f"holds/{created['id']}/capture", {"amount": 2})[1]["id"] == captured["id"]
    assert api.get(f"holds/{created['id']}")[1]["status"] == "captured"
    assert api.get(f"transactions/{captured['id']}")[1]["amount"] == -2
    assert list(audit.all_disagreements()) == []


def test_replayed_capture_is_counted_once(api: Api) -> None:
    def counted() -> float:
        return REGISTRY.get_sample_value("tegoed_credits_spent_total") or 0

    before = counted()
    made = hold(api)

    for _ in range(3):
        assert api.post(f"holds/{made}/capture", {"amount": 2})[0] == 201

    assert counted() - before == 2


def test_a_hold_is_released_and_stays_so(api: Api) -> None:
    hold_id = hold(api)

    assert [api.post(f"holds/{hold_id}/release")[1]["status"] for _ in range(2)] == ["released", "released"]
    assert api.get("balance")[1]["available"] == BALANCE
    status, problem = api.post(f"holds/{hold_id}/capture", {"amount": 1})
    assert (status, problem["code"], problem["hold_status"]) == (409, "hold_not_open", "released")


def test_hold_is_extended_to_at_most_a_day(api: Api) -> None:
    hold_id = hold(api, expires_in=60)
    before = api.get(f"holds/{hold_id}")[1]["expires_at"]

    status, extended = api.post(f"holds/{hold_id}/extend", {"expires_in": 600})

    assert (status, extended["expires_at"] > before) == (200, True)
    assert api.post(f"holds/{hold_id}/extend", {"expires_in": 1})[1]["expires_at"] == extended["expires_at"]
    assert api.post(f"holds/{hold_id}/extend", {"expires_in": 86_400})[0] == 400
    wallet = Wallet.objects.get()
    assert wallet.next_due_at is not None
    assert wallet.next_due_at.isoformat().replace("+00:00", "Z") == extended["expires_at"]


def test_a_hold_that_has_lapsed_cannot_be_captured(api: Api, account: Account, now: Any) -> None:
    on_hold = ledger.hold(
        account_id=account.pk,
        amount=1,
        idempotency_key="old",
        expires_at=clock.now() - timedelta(hours=1),
        now=clock.now() - timedelta(hours=2),
    )

    hold_id = public_id("hold", on_hold.hold_id)

    assert api.post(f"holds/{hold_id}/capture", {"amount": 1})[0] == 410
    assert api.post(f"holds/{hold_id}/extend", {"expires_in": 60})[0] == 410
    assert api.get(f"holds/{hold_id}")[1]["status"] == "lapsed"


@pytest.mark.parametrize("name", ["hold_1", "x", "hold", "txn"])
def test_a_hold_that_is_not_there_is_404(api: Api, name: str) -> None:
    hold_id = public_id(name, new_id()) if name in ("hold", "txn") else name
    assert api.get(f"holds/{hold_id}")[0] == 404
    assert api.post(f"holds/{hold_id}/capture", {"amount": 1})[0] == 404
    assert api.post(f"holds/{hold_id}/release")[0] == 404


def test_another_account_s_hold_is_404(api: Api, db: None) -> None:
    other = Account.objects.create()
    ledger.grant(account_id=other.pk, amount=1, source=Source.BONUS, source_key="t", now=clock.now())
    hold_id = hold(Api(other), 1)

    assert api.get(f"holds/{hold_id}")[0] == 404
    assert api.post(f"holds/{hold_id}/release")[0] == 404


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        ({}, (True, 1, None)),
        ({"amount": 10}, (True, 10, None)),
        ({"amount": 11}, (False, 11, "insufficient_credits")),
    ],
    ids=str,
)
def test_a_check_says_what_a_spend_would(api: Api, body: dict[str, int], answer: tuple[bool, int, str | None]) -> None:
    status, result = api.post("check", body)

    assert (status, result["allowed"], result["cost"], result["reason"]) == (200, *answer)
    assert result["available"] == BALANCE
    assert api.post("spend", {"amount": result["cost"]})[0] == (201 if result["allowed"] else 402)


def test_a_check_knows_the_daily_cap_debt_and_a_stop(api: Api) -> None:
    reasons = []
    for change in ({"daily_cap": 3}, {"daily_cap": None, "debt": 1}, {"debt": 0, "frozen_at": clock.now()}):
        Wallet.objects.update(**change)
        reasons.append(api.post("check", {"amount": 5})[1]["reason"])

    assert reasons == ["daily_cap_reached", "account_in_debt", "account_frozen"]


def test_a_spend_is_given_back_in_parts_and_no_more_than_it_was(api: Api) -> None:
    _, spent = api.post("spend", {"amount": 5})
    status, part = api.post(f"transactions/{spent['id']}/reverse", {"reason": "It failed", "amount": 2}, key="r")
    assert (status, part["amount"], part["balance_after"]) == (201, 2, 7)
    assert api.post(f"transactions/{spent['id']}/reverse", {"reason": "It failed", "amount": 2}, key="r")[1] == part

    assert api.post(f"transactions/{spent['id']}/reverse", {"reason": "x", "amount": 4})[0] == 422
    assert api.post(f"transactions/{spent['id']}/reverse", {"reason": "x"})[1]["amount"] == 3
    assert api.post(f"transactions/{spent['id']}/reverse", {"reason": "x"})[0] == 409
    assert api.post(f"transactions/{public_id('txn', new_id())}/reverse", {"reason": "x"})[0] == 404
    assert api.post("transactions/x/reverse", {"reason": "x"})[0] == 404


def test_an_old_spend_needs_the_right_to_grant(api: Api, account: Account) -> None:
    long_ago = clock.now() - timedelta(hours=25)
    ledger.grant(account_id=account.pk, amount=1, source=Source.BONUS, source_key="o", now=long_ago)
    spent = ledger.spend(account_id=account.pk, amount=1, idempotency_key="old", now=long_ago)
    path = f"transactions/{public_id('txn', spent.transaction_id)}/reverse"

    status, problem = api.post(path, {"reason": "x"})

    assert (status, problem["code"], problem["required_scope"]) == (403, "insufficient_scope", Scope.CREDITS_GRANT)


def test_an_explanation_adds_up_now_and_in_the_past(api: Api) -> None:
    before = clock.now().isoformat()
    api.post("spend", {"amount": 4})
    hold(api, 3)

    _, reported = api.get("explain")
    assert (reported["available"], reported["held"], reported["posted"]) == (3, 3, 6)
    (lot,) = reported["lots"]
    assert lot["granted"] + lot["returned"] - lot["spent"] - lot["expired"] - lot["taken_back"] == 6
    _, past = api.get(f"explain?at={before.replace('+', '%2B')}")
    assert (past["available"], past["held"]) == (BALANCE, 0)
    assert api.get("explain?at=yesterday")[0] == 400
