"""Closing an account: nothing more is charged, nothing opens it, and nothing says whose it was."""

from datetime import timedelta
from typing import Any

import pytest
from django.apps import apps
from django.db import models
from django.test import Client

from accounts import keys
from accounts.models import Account, User
from billing.errors import PaymentProviderUnavailableError
from billing.models import Subscription
from billing.tests.conftest import Shop, customer, shop
from common import clock
from credits import audit, ledger, selectors
from outbox import webhooks

__all__ = ["customer", "shop"]

OURS = ("accounts", "credits", "usage", "billing", "outbox", "account", "mfa", "usersessions")


@pytest.fixture
def browser(client: Client, shop: Shop, ada: User, customer: Account) -> Client:
    shop.pay(shop.checkout(customer, item="pro"))
    shop.deliver()
    client.force_login(ada)
    return client


def rows_that_name(text: str) -> list[str]:
    """Every row of ours that holds a text anywhere."""
    result = []
    for label in OURS:
        for model in apps.get_app_config(label).get_models():
            columns = [field.name for field in model._meta.concrete_fields if not isinstance(field, models.BinaryField)]
            result += [model.__name__ for row in model._default_manager.values_list(*columns) if text in str(row)]
    return sorted(result)


def test_it_says_what_is_lost_and_wants_the_address_typed(browser: Client) -> None:
    page = browser.get("/settings/close").content.decode()
    assert "Your plan Pro ends now" in page
    assert "Your 108 credits are lost" in page

    answer = browser.post("/settings/close", {"email": "bob@example.com"})

    assert "Nothing was done" in answer.content.decode()
    assert User.objects.get().is_active


def test_a_closed_account_is_nobody_s(browser: Client, shop: Shop, ada: User, customer: Account) -> None:
    secret = keys.create_key(
        account=customer, name="Ada's", scopes=["credits:read"], created_by=ada, now=clock.now()
    ).secret
    endpoint = {"url": "http://127.0.0.1/", "events": [], "description": "", "actor": ""}
    webhooks.create_endpoint(account=customer, now=clock.now(), **endpoint)
    on_hold = clock.now()
    ledger.hold(
        account_id=customer.pk, amount=5, idempotency_key="h", expires_at=on_hold + timedelta(hours=1), now=on_hold
    )
    assert "User" in rows_that_name("ada@example.com")

    answer = browser.post("/settings/close", {"email": "Ada@Example.com "}, follow=True)

    assert "Your account is closed" in answer.content.decode()
    shop.deliver()
    assert rows_that_name("ada@example.com") == []
    assert Subscription.objects.get().status == "canceled"
    balance = selectors.balance(account_id=customer.pk, now=clock.now())
    assert (balance.available, balance.held, balance.next_refill) == (0, 0, None)
    assert list(audit.all_disagreements()) == []
    assert Client().get("/api/v1/credits/balance", headers={"Authorization": f"Bearer {secret}"}).status_code == 401
    assert browser.get("/dashboard").status_code == 302
    shop.advance(days=40)
    shop.deliver()
    assert selectors.balance(account_id=customer.pk, now=clock.now()).available == 0


def test_the_same_person_may_come_back(browser: Client, ada: User) -> None:
    browser.post("/settings/close", {"email": ada.email})

    Client().post("/accounts/signup/", {"email": "ada@example.com", "password1": "correct horse battery"})

    assert User.objects.filter(email="ada@example.com").exists()
    assert Account.objects.count() == 2


def test_while_stripe_is_away_nothing_is_closed(
    browser: Client, ada: User, customer: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(**_about: Any) -> None:
        raise PaymentProviderUnavailableError("Please try again in a minute.")

    monkeypatch.setattr("billing.subscriptions.plan_changes.end_all", away)

    answer = browser.post("/settings/close", {"email": ada.email})

    assert "Please try again" in answer.content.decode()
    assert selectors.balance(account_id=customer.pk, now=clock.now()).available == 108
    assert User.objects.get().is_active
