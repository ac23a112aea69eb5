"""A plan over the API: what a change would cost, the change, stopping, and going on after all."""

from typing import Any

import pytest
from django.test import Client

from accounts import keys
from accounts.models import Account
from billing.tests.conftest import Shop
from common import clock


@pytest.fixture
def call(shop: Shop, customer: Account) -> Any:
    secret = keys.create_key(
        account=customer, name="t", scopes=keys.ACCOUNT_KEY_SCOPES, created_by=None, now=clock.now()
    ).secret

    def ask(path: str, body: Any = None) -> Any:
        return Client().post(
            f"/api/v1/billing/subscription/{path}", body or {}, content_type="application/json",
            headers={"Authorization": f"Bearer {secret}"},
        )  # fmt: skip

    return ask


@pytest.fixture
def pro(shop: Shop, customer: Account) -> None:
    shop.pay(shop.checkout(customer, item="pro"))
    shop.deliver()


def test_change_costs_what_its_preview_said(call: Any, shop: Shop, pro: None, customer: Account) -> None:
    preview = call("preview", {"item": "studio", "interval": "month"}).json()
    assert (preview["plan"], preview["is_at_once"], preview["amount"], preview["currency"]) == (
        "studio", True, 6000, "eur",
    )  # fmt: skip
    assert preview["due_now"] > 0

    changed = call("change", {"item": "studio", "interval": "month"})
    shop.deliver()

    assert (changed.status_code, changed.json()["plan"], changed.json()["amount"]) == (200, "studio", 6000)
    invoice = max(enumerate(shop.stripe.store.all("invoice")), key=lambda row: (row[1]["created"], row[0]))[1]
    assert invoice["amount_paid"] == preview["due_now"]
    again = call("change", {"item": "studio", "interval": "month"})
    assert (again.status_code, again.json()["code"]) == (409, "already_subscribed")


def test_cheaper_plan_waits_for_the_period_s_end(call: Any, shop: Shop, pro: None) -> None:
    call("change", {"item": "studio", "interval": "month"})
    shop.deliver()

    changed = call("change", {"item": "pro", "interval": "month"}).json()

    assert (changed["plan"], changed["next_plan"]) == ("studio", "pro")


def test_plan_is_stopped_and_goes_on_after_all(call: Any, pro: None) -> None:
    for _ in range(2):
        assert call("cancel").json()["ends_then"] is True
    for _ in range(2):
        assert call("resume").json()["ends_then"] is False


@pytest.mark.parametrize("path", ["cancel", "resume"])
def test_without_a_plan_nothing_is_stopped(call: Any, path: str) -> None:
    answer = call(path)

    assert (answer.status_code, answer.json()["code"]) == (409, "subscription_required")


@pytest.mark.parametrize(
    ("body", "status"),
    [({}, 400), ({"item": "pro", "interval": "week"}, 400), ({"item": "nothing", "interval": "month"}, 422),
     ({"item": "pro", "interval": "month", "amount": 1}, 400)],
)  # fmt: skip
def test_what_is_not_on_offer_is_refused(call: Any, pro: None, body: Any, status: int) -> None:
    assert call("change", body).status_code == status
    assert call("preview", body).status_code == status


def test_refused_card_changes_nothing(call: Any, shop: Shop, pro: None) -> None:
    shop.refuse_card()

    refused = call("change", {"item": "studio", "interval": "month"})

    assert (refused.status_code, refused.json()["code"]) == (402, "payment_declined")
