"""What can be spent now is one number, on every page, in the API and in the console: states down, surfaces across."""

import html
import re
import secrets
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from django.test import Client

from accounts import keys
from accounts.models import Account, User
from billing.models import Price, Subscription
from billing.tests.conftest import customer, shop
from common import clock
from credits import ledger, limits
from credits.models import Source

__all__ = ["customer", "shop"]

CREDITS = 300


def nothing_special(account: Account, now: datetime) -> None:
    pass


def on_hold(account: Account, now: datetime) -> None:
    until = now + timedelta(hours=1)
    ledger.hold(account_id=account.pk, amount=120, idempotency_key="h", expires_at=until, now=now)


def capped(account: Account, now: datetime) -> None:
    limits.set_daily_cap(account_id=account.pk, cap=100)
    ledger.spend(account_id=account.pk, amount=100, idempotency_key="today", now=now)


def partly_capped(account: Account, now: datetime) -> None:
    limits.set_daily_cap(account_id=account.pk, cap=100)


def frozen(account: Account, now: datetime) -> None:
    limits.freeze(account_id=account.pk, now=now)


def in_debt(account: Account, now: datetime) -> None:
    ledger.spend(account_id=account.pk, amount=CREDITS, idempotency_key="all", now=now)
    ledger.revoke(
        account_id=account.pk, grant_source_key="pack", amount=CREDITS, source_key="lost",
        create_debt=True, now=now,
    )  # fmt: skip
    ledger.grant(account_id=account.pk, amount=9, source=Source.BONUS, source_key="bonus", now=now)


def used_up(account: Account, now: datetime) -> None:
    ledger.spend(account_id=account.pk, amount=CREDITS, idempotency_key="all", now=now)


def payment_failed(account: Account, now: datetime) -> None:
    _subscribe(account, now, status="past_due")


def on_trial(account: Account, now: datetime) -> None:
    _subscribe(
        account,
        now,
        status="trialing",
        trial_ends_at=now + timedelta(days=7),
        first_trial_ends_at=now + timedelta(days=7),
    )


def _subscribe(account: Account, now: datetime, **how: object) -> None:
    Subscription.objects.create(
        account=account, price=Price.objects.filter(plan__code="pro").first(), stripe_subscription_id="sub_1",
        current_period_end=now + timedelta(days=7), started_at=now - timedelta(days=30), **how,
    )  # fmt: skip


# What can be spent, and what a page says of why it is not more.
STATES: dict[Callable[[Account, datetime], None], tuple[int, str]] = {
    nothing_special: (300, ""),
    on_hold: (180, "120 more are set aside"),
    capped: (0, "You have 200 credits. Today's spending limit is reached."),
    partly_capped: (100, "You have 300 credits in all; your plan's daily spending limit"),
    frozen: (0, "Spending is stopped for now. Your 300 credits are safe."),
    in_debt: (0, "300 credits are owed since a payment was taken back."),
    used_up: (0, "You are out of credits."),
    payment_failed: (300, "The last payment for Pro failed."),
    on_trial: (300, "On trial until"),
}
PAGES = {
    "/dashboard": r'<p class="figure"><strong>(\d+)</strong> credit',
    "/balance": r"Credits: (\d+)",
    "/credits": r"You can spend <strong>(\d+)</strong>",
    "/example-ai": r"This costs 1 credit; you can spend (\d+)\.",
}


@pytest.fixture
def account(customer: Account) -> Account:
    """Ada, with a pack of 300 and nothing else; not even the free plan's daily cap."""
    now = clock.now()
    limits.set_daily_cap(account_id=customer.pk, cap=None)
    ledger.adjust(account_id=customer.pk, idempotency_key="none", reason="a clean start", take=8, actor="test", now=now)
    ledger.grant(account_id=customer.pk, amount=CREDITS, source=Source.PURCHASE, source_key="pack", now=now)
    return customer


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__)
def test_every_surface_says_what_can_be_spent(
    state: Callable[[Account, datetime], None], account: Account, ada: User
) -> None:
    now = clock.now()
    state(account, now)
    spendable, why = STATES[state]
    browser, operator = Client(), Client()
    browser.force_login(ada)
    operator.force_login(User.objects.create_superuser("op@example.com"))

    said = {}
    for address, pattern in PAGES.items():
        found = re.search(pattern, browser.get(address).content.decode())
        said[address] = int(found[1]) if found else None
    console = operator.get(f"/admin/accounts/account/{account.pk}/change/").content.decode()
    found = re.search(r'<span class="big">(\d+)</span> to spend', console)
    said["console"] = int(found[1]) if found else None
    balance = call(account, "get", "/credits/balance").json()
    said["api"] = balance["spendable"]

    assert said == dict.fromkeys(said, spendable)
    assert why in html.unescape(browser.get("/dashboard").content.decode())
    for amount, is_taken in ((spendable, True), (spendable + 1, False)):
        answer = call(account, "post", "/credits/check", {"amount": amount}) if amount else None
        assert answer is None or answer.json()["allowed"] is is_taken
    refusal = call(account, "post", "/credits/spend", {"amount": 1}).json() if not spendable else {}
    assert (balance["blocked"] or {}).get("code", "insufficient_credits") == refusal.get("code", "insufficient_credits")


def test_nothing_is_said_of_no_credits(account: Account, ada: User) -> None:
    used_up(account, clock.now())
    frozen(account, clock.now())
    browser = Client()
    browser.force_login(ada)

    assert "Your 0 credits" not in browser.get("/dashboard").content.decode()


def test_frozen_customer_is_not_asked_to_buy(account: Account, ada: User) -> None:
    frozen(account, clock.now())
    browser = Client()
    browser.force_login(ada)

    shown = browser.post("/example-ai", {"prompt": "Hello", "token": secrets.token_hex(16)}).content.decode()
    main = shown.partition("<main")[2].partition("</main")[0]

    assert "Spending is stopped for now." in main
    assert "/credits" not in main
    assert "more come on" not in main
    assert "Buy credits</a>" not in browser.get("/dashboard").content.decode().partition("<main")[2]


def call(account: Account, method: str, path: str, body: object = None) -> object:
    """The API, as an app with a key of this account."""
    secret = keys.create_key(
        account=account, name="t", scopes=keys.ACCOUNT_KEY_SCOPES, created_by=None, now=clock.now()
    ).secret
    headers = {"Authorization": f"Bearer {secret}", "Idempotency-Key": secrets.token_hex(8)}
    arguments = {"data": body, "content_type": "application/json"} if body is not None else {}
    return getattr(Client(), method)(f"/api/v1{path}", headers=headers, **arguments)
