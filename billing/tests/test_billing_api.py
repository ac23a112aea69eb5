"""The API's side of plans, invoices, offers, and where a customer is sent back to."""

from typing import Any

import pytest
import stripe
from django.test import Client
from pytest_django import Settings

from accounts import keys
from accounts.models import Account
from billing.models import Promotion
from billing.tests.conftest import Shop
from common import clock
from sandbox.local_stripe import refunds_and_disputes
from sandbox.local_stripe.checkout import Outcome


@pytest.fixture
def get(client: Client, customer: Account) -> Any:
    secret = keys.create_key(
        account=customer, name="t", scopes=keys.ACCOUNT_KEY_SCOPES, created_by=None, now=clock.now()
    ).secret

    def get(path: str, **headers: str) -> Any:
        return client.get(f"/api/v1/billing/{path}", headers={"Authorization": f"Bearer {secret}", **headers}).json()

    return get


def test_without_a_plan_there_is_the_free_one(get: Any) -> None:
    reported = get("subscription")

    assert (reported["plan"], reported["status"], reported["interval"], reported["ends_then"]) == (
        "free",
        "none",
        None,
        False,
    )
    assert get("invoices")["data"] == []


def test_a_plan_and_its_invoice_are_told(get: Any, shop: Shop, customer: Account) -> None:
    shop.pay(shop.checkout(customer, "pro"))
    shop.deliver()

    reported = get("subscription")
    assert (reported["plan"], reported["status"], reported["interval"], reported["amount"]) == (
        "pro",
        "active",
        "month",
        2_000,
    )
    (invoice,) = get("invoices")["data"]
    assert (invoice["status"], invoice["total"], invoice["currency"]) == ("paid", 2_000, "eur")


def test_the_catalogue_offers_what_this_caller_gets(get: Any, client: Client, shop: Shop, customer: Account) -> None:
    Promotion.objects.create(code="first", name="Welcome", bonus_credits=7, is_first_purchase=True)

    def offer(told: Any) -> Any:
        return {pack["code"]: pack["promotion"] for pack in told["packs"]}["credits-20"]

    assert offer(get("catalogue")) == {"name": "Welcome", "credits": 7}
    shop.pay(shop.checkout(customer))
    shop.deliver()
    assert offer(get("catalogue")) is None
    assert offer(client.get("/api/v1/billing/catalogue").json()) == {"name": "Welcome", "credits": 7}


@pytest.mark.parametrize("path", ["checkouts", "portal-sessions"])
def test_a_customer_is_sent_back_to_known_apps_only(
    client: Client, shop: Shop, customer: Account, settings: Settings, path: str
) -> None:
    shop.pay(shop.checkout(customer))
    shop.deliver()
    settings.RETURN_ORIGINS = ["https://app.example.com"]
    secret = keys.create_key(
        account=customer, name="t", scopes=keys.ACCOUNT_KEY_SCOPES, created_by=None, now=clock.now()
    ).secret

    def ask(url: str, number: int) -> int:
        field = "return_url" if path == "portal-sessions" else "success_url"
        return client.post(
            f"/api/v1/billing/{path}",
            {field: url} | ({} if path == "portal-sessions" else {"item": "credits-20"}),
            content_type="application/json",
            headers={"Authorization": f"Bearer {secret}", "Idempotency-Key": f"k{number}"},
        ).status_code

    assert ask("https://app.example.com/thanks?order=1", 0) == 201
    evil = [
        "https://evil.example/", "//evil.example/", "https://app.example.com@evil.example/", "javascript:alert(1)",
        "https://app.example.com.evil.example/", "http://app.example.com/", "https://app.example.com\\@evil.example/",
    ]  # fmt: skip
    assert [ask(url, number + 1) for number, url in enumerate(evil)] == [400] * len(evil)


def test_orders_and_invoices_say_what_became_of_their_money(shop: Shop, customer: Account, get: Any) -> None:
    """Paid, partly refunded, refunded, disputed, lost: as support and the customer read it."""
    for number in range(5):
        shop.pay(shop.checkout(customer, key=f"k{number}"))
    shop.pay(shop.checkout(customer, key="left"), Outcome.ABANDON)
    charges = [row["id"] for row in shop.stripe.store.all("charge")]
    stripe.Refund.create(charge=charges[1], amount=200)
    stripe.Refund.create(charge=charges[2])
    refunds_and_disputes.open_dispute(shop.stripe, charges[3])
    refunds_and_disputes.close_dispute(
        shop.stripe, refunds_and_disputes.open_dispute(shop.stripe, charges[4])["id"], "lost"
    )
    shop.pay(shop.checkout(customer, item="pro", key="plan"))
    shop.deliver()
    stripe.Refund.create(charge=[row["id"] for row in shop.stripe.store.all("charge")][-1], amount=500)
    shop.deliver()

    result = get("orders?limit=4")
    rest = get(f"orders?cursor={result['next']}")
    rows = list(reversed(result["data"] + rest["data"]))

    assert [row["money"] for row in rows] == [
        "paid", "partly_refunded", "refunded", "disputed", "lost", None, "paid",
    ]  # fmt: skip
    assert [row["refunded"] for row in rows[:4]] == [0, 200, 500, 0]
    assert (rows[0]["item"], rows[0]["credits"], rows[0]["paid"]) == ("credits-20", 20, 500)
    (invoice,) = get("invoices")["data"]
    assert (invoice["money"], invoice["refunded"], invoice["total"]) == ("partly_refunded", 500, 2000)


def test_catalogue_speaks_the_language_of_who_asks(client: Client, shop: Shop, customer: Account, get: Any) -> None:
    def words(told: Any) -> str:
        return " ".join(next(plan["features"] for plan in told["plans"] if plan["code"] == "pro"))

    english = client.get("/api/v1/billing/catalogue")
    assert "Stop whenever you like" in words(english.json())
    assert "Accept-Language" in english.headers["Vary"]
    dutch = client.get("/api/v1/billing/catalogue", headers={"Accept-Language": "nl-BE,nl;q=0.9"})
    assert "Stop wanneer je wilt" in words(dutch.json())
    customer.language = "nl"
    customer.save(update_fields=["language"])
    assert "Stop wanneer je wilt" in words(get("catalogue"))
    # A page says its own language; a backend's library sends "*", or its system's, which is nobody's wish.
    for asked, said in (("en-GB,en;q=0.9,nl;q=0.5", "Stop whenever"), ("*", "Stop wanneer"), ("fr", "Stop wanneer")):
        assert said in words(get("catalogue", **{"Accept-Language": asked})), asked
