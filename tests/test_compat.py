"""The addresses of the apps that this replaces do what those did, through the same views, and no more."""

from typing import Any

import pytest
from django.test import Client
from pytest_django import Settings

from accounts import keys
from accounts.models import Account, Scope
from billing.models import Order
from billing.tests.conftest import Shop, customer, shop  # noqa: F401 - fixtures
from common import clock
from credits import ledger, selectors
from credits.models import Source, Transaction

FREE = 8


@pytest.fixture
def api(customer: Account) -> Client:  # noqa: F811
    """A client with Ada's key; she has 8 free credits."""
    created = keys.create_key(
        account=customer, name="t", scopes=list(keys.ACCOUNT_KEY_SCOPES), created_by=None, now=clock.now()
    )
    return Client(headers={"Authorization": f"Bearer {created.secret}"})


def post(api: Client, path: str, body: dict[str, Any] | None = None, **headers: str) -> tuple[int, dict[str, Any]]:
    answer = api.post(f"/api/{path}", body or {}, content_type="application/json", headers=headers)
    return answer.status_code, answer.json()


@pytest.mark.parametrize("path", ["credits/balance", "credits/status"])
def test_the_balance_as_it_was_called(api: Client, path: str) -> None:
    answer = api.get(f"/api/{path}")

    result = answer.json()
    assert (result["credits"], result["available"], result["free_used_today"], result["free_remaining"]) == (8, 8, 0, 3)
    assert answer.headers["Link"].endswith('/api/v1/credits/balance>; rel="successor-version"')
    assert answer.headers["Deprecation"] == "true"


def test_a_check_asks_for_one_credit_by_default(api: Client) -> None:
    assert api.get("/api/credits/check").json()["hasCredits"] is True
    assert post(api, "credits/check", {"amount": 9})[1]["hasCredits"] is False


@pytest.mark.parametrize("path", ["credits/use", "credits/deduct", "example/use-credits"])
def test_using_takes_one_credit_whatever_the_client_says(api: Client, path: str) -> None:
    status, used = post(api, path, {"amount": 5, "credits": 99})

    assert (status, used["success"], used["credits_remaining"], used["amount"]) == (201, True, FREE - 1, -1)


def test_compat_spend_without_key_is_new_and_with_key_is_safe(api: Client) -> None:
    left = [post(api, "credits/use")[1]["credits_remaining"] for _ in range(2)]
    with_header = [post(api, "credits/use", **{"Idempotency-Key": "k"})[1]["credits_remaining"] for _ in range(2)]
    in_body = [
        post(api, "credits/spend", {"amount": 2, "idempotencyKey": "b"})[1]["credits_remaining"] for _ in range(2)
    ]

    assert (left, with_header, in_body) == ([7, 6], [5, 5], [3, 3])


def test_too_little_is_402_as_ever(api: Client) -> None:
    assert post(api, "credits/spend", {"amount": 9})[0] == 402


@pytest.mark.parametrize("path", ["credits/grant", "credits/add"])
def test_a_customer_may_not_give_themselves_credits(api: Client, path: str, settings: Settings) -> None:
    settings.ADMIN_API_KEY = "the-admin-key"
    before = Transaction.objects.count()

    assert post(api, path, {"amount": 100, "userId": "me"})[0] == 403
    assert post(Client(), path, {"amount": 100, "userId": "me"})[0] == 401
    assert post(Client(), path, {"amount": 100, "userId": "me"}, **{"x-admin-key": "wrong"})[0] == 401
    settings.ADMIN_API_KEY = ""
    assert post(Client(), path, {"amount": 100, "userId": "me"}, **{"x-admin-key": ""})[0] == 401
    assert Transaction.objects.count() == before


def test_the_admin_key_grants_to_a_user_of_the_app_once(shop: Shop, settings: Settings) -> None:  # noqa: F811
    settings.ADMIN_API_KEY = "the-admin-key"
    body = {"userId": "42", "amount": 5, "reason": "Sorry", "idempotencyKey": "g"}

    answers = [post(Client(), "credits/grant", body, **{"x-admin-key": "the-admin-key"}) for _ in range(2)]

    assert [(status, found["credits"]) for status, found in answers] == [(201, FREE + 5)] * 2
    assert post(Client(), "billing/sync-prices", **{"x-admin-key": "the-admin-key"})[0] == 200


def test_the_admin_key_opens_nothing_else(api: Client, settings: Settings) -> None:
    settings.ADMIN_API_KEY = "the-admin-key"

    assert post(Client(), "credits/use", **{"x-admin-key": "the-admin-key"})[0] == 401


@pytest.mark.parametrize(
    ("path", "ui"),
    [
        ("billing/checkout-session", "redirect"),
        ("billing/checkout", "redirect"),
        ("payments/create", "qr"),
        ("payments/create-intent", "elements"),
    ],
)
def test_each_way_to_pay_has_its_old_address(api: Client, path: str, ui: str) -> None:
    status, created = post(api, path, {"packId": "credits-20", "amount": 500, "credits": 20})

    assert (status, Order.objects.get().ui, bool(created["sessionId"])) == (201, ui, True)
    assert bool(created["clientSecret"]) == (ui == "elements")


@pytest.mark.parametrize("said", [{"amount": 1}, {"credits": 9999}, {"amount": "500"}])
def test_an_amount_that_is_not_the_pack_s_own_is_refused(api: Client, said: dict[str, Any]) -> None:
    status, problem = post(api, "payments/create-intent", {"pack": "credits-20", **said})

    assert (status, problem["code"]) == (422, "price_not_sellable")
    assert not Order.objects.exists()


@pytest.mark.parametrize("body", [{}, {"item": 5}, {"item": ["credits-20"]}])
def test_a_checkout_names_what_is_bought(api: Client, body: dict[str, Any]) -> None:
    assert post(api, "billing/checkout", body)[0] == 400


def test_the_portal_s_address_comes_as_json(api: Client, shop: Shop, customer: Account) -> None:  # noqa: F811
    shop.pay(shop.checkout(customer))
    shop.deliver()

    assert "/p/session/" in api.get("/api/billing/portal-link").json()["url"]
    assert "/p/session/" in post(api, "billing/portal-link")[1]["url"]


@pytest.mark.parametrize("path", ["billing/webhook", "payments/webhook"])
def test_stripe_s_webhook_is_the_same_view(db: None, path: str) -> None:
    assert Client().post(f"/api/{path}", "{}", content_type="application/json").status_code == 400


def test_bad_json_is_a_problem_and_no_crash(api: Client) -> None:
    answer = api.post("/api/credits/use", "{", content_type="application/json")

    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")


def test_a_service_key_names_the_account(db: None) -> None:
    account = Account.objects.create()
    ledger.grant(account_id=account.pk, amount=5, source=Source.BONUS, source_key="t", now=clock.now())
    created = keys.create_key(account=None, name="s", scopes=[Scope.CREDITS_SPEND], created_by=None, now=clock.now())
    service = Client(headers={"Authorization": f"Bearer {created.secret}"})

    assert post(service, "credits/use", {"account": account.public_id})[0] == 201
    assert selectors.balance(account_id=account.pk, now=clock.now()).available == 4
