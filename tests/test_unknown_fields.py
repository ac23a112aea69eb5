"""Names that nobody knows are refused: a field that is passed over is a request that was misunderstood."""

from typing import Any

import pytest
from django.test import Client

from accounts import keys
from accounts.models import Account
from common import clock
from credits.models import Transaction
from credits.tests.test_spending import give
from usage.tests.rate_card import put_on_the_card


@pytest.fixture
def ask(ada_account: Account) -> Any:
    give(ada_account, 100, clock.now())
    made = keys.create_key(
        account=ada_account, name="k", scopes=keys.ACCOUNT_KEY_SCOPES, created_by=None, now=clock.now()
    )

    def send(path: str, body: Any = None, method: str = "POST") -> Any:
        headers = {"Authorization": f"Bearer {made.secret}", "Idempotency-Key": "k"}
        how = {"data": body, "content_type": "application/json"} if body is not None else {}
        return (
            Client().generic(method, f"/api/v1/{path}", headers=headers)
            if not how
            else Client().post(f"/api/v1/{path}", body, content_type="application/json", headers=headers)
        )

    return send


def test_misspelt_quantity_costs_nothing(ask: Any) -> None:
    """It cost one credit instead of fifty."""
    put_on_the_card("message", credits=1)

    answer = ask("credits/spend", {"feature": "message", "quantitty": 50})

    (problem,) = answer.json()["errors"]
    assert answer.status_code == 400
    assert (problem["pointer"], problem["code"]) == ("/quantitty", "unknown_field")
    assert problem["detail"] == "There is no field quantitty. Did you mean quantity?"
    assert not Transaction.objects.filter(kind="spend").exists()


def test_every_problem_is_named_at_once(ask: Any) -> None:
    errors = ask("credits/spend", {"ammount": 5, "x" * 500: 1}).json()["errors"]

    assert [error["pointer"] for error in errors] == ["/ammount", "/" + "x" * 64, "/amount"]
    assert "There are: account, amount" in errors[1]["detail"]


def test_entries_of_a_batch_are_as_strict(ask: Any) -> None:
    answer = ask("credits/spend/batch", {"spends": [{"idempotency_key": "a", "amount": 1, "featur": "x"}]})

    assert "featur" in answer.content.decode()
    assert not Transaction.objects.filter(kind="spend").exists()


@pytest.mark.parametrize("query", ["limt=5", "type=spend&featur=x"])
def test_unknown_query_of_a_list_is_refused(ask: Any, query: str) -> None:
    answer = ask(f"credits/transactions?{query}", method="GET")

    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (400, "unknown_field")
    assert ask("credits/transactions?limit=5&type=spend", method="GET").status_code == 200


def test_two_accounts_in_one_request_are_refused(ada_account: Account) -> None:
    other = Account.objects.create(name="x", created_at=clock.now())
    give(ada_account, 10, clock.now())
    service = keys.create_key(account=None, name="s", scopes=["credits:spend"], created_by=None, now=clock.now())

    answer = Client().post(
        f"/api/v1/credits/spend?account={other.public_id}", {"amount": 1, "account": ada_account.public_id},
        content_type="application/json",
        headers={"Authorization": f"Bearer {service.secret}", "Idempotency-Key": "k"},
    )  # fmt: skip

    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (400, "ambiguous")
    assert not Transaction.objects.filter(kind="spend").exists()
