"""Every code that a problem can have is answered, with the documented status, and explained at its address."""

import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
import stripe
from django.db import OperationalError
from django.test import Client
from pytest_django import Settings

from accounts import issuers, keys, tokens
from accounts.models import Account, ApiKey, User
from api import throttling
from api.problem_codes import OTHERS, codes
from billing.models import Pack
from billing.setup import bootstrap, presets
from common import clock
from credits import ledger, limits, spending_limits
from credits.models import Source, Wallet
from sandbox.clock import SandboxClock
from sandbox.local_stripe import checkout as hosted
from sandbox.local_stripe.core import LocalStripe

# Answered elsewhere: in a page (a plan or refund that cannot be), or to an operator.
NOT_OVER_THE_API = {
    "price_too_soon", "refund_refused", "internal_error", "payment_declined", "subscription_required",
    "key_approval_refused", "payment_action_required", "payment_processing", "plan_not_paid", "work_under_way",
    "ledger_not_empty", "tax_number_refused", "catalogue_conflict",
}  # fmt: skip


@dataclass
class Kit:
    """Ada's account, her key, a service's key, and the levers that a refusal takes."""

    client: Client
    account: Account
    user: User
    settings: Settings
    monkeypatch: pytest.MonkeyPatch
    clock: SandboxClock
    stripe: LocalStripe

    def __post_init__(self) -> None:
        self.own = self.key(self.account, *keys.ACCOUNT_KEY_SCOPES)
        self.service = self.key(None, *keys.SERVICE_KEY_SCOPES)
        self._numbers = itertools.count()

    def key(self, account: Account | None, *scopes: str) -> str:
        return keys.create_key(account=account, name="t", scopes=scopes, created_by=None, now=clock.now()).secret

    def ask(
        self, method: str, path: str, body: Any = None, *, bearer: str | None = None, key: str = "", **more: Any
    ) -> Any:
        headers = {"Authorization": f"Bearer {bearer or self.own}"}
        headers["Idempotency-Key"] = key or f"e{next(self._numbers)}"
        return self.client.generic(
            method, f"/api/v1/{path}", json.dumps(body) if body is not None else "",
            content_type="application/json", headers=headers | more,
        )  # fmt: skip

    def spend(self, amount: int = 1, **more: Any) -> Any:
        return self.ask("POST", "credits/spend", {"amount": amount}, **more)

    def sell(self, path: str, **body: Any) -> Any:
        """What the app's backend asks for Ada's account."""
        return self.ask("POST", path, {"account": self.account.public_id, **body}, bearer=self.service)

    def hold(self) -> str:
        return str(self.sell("credits/holds", amount=5, expires_in=60).json()["id"])

    def buy(self, item: str = "credits-20", **more: Any) -> Any:
        if not Pack.objects.exists():
            bootstrap.push(presets.load("demo"), say=lambda _line: None)
        return self.ask("POST", "billing/checkouts", {"item": item}, **more)

    def stripe_answers(self, error: stripe.StripeError) -> Any:
        """Buy once more, when Stripe answers with this."""

        class Refusing(stripe.HTTPClient):
            name = "refusing"

            def request(self, *_arguments: Any, **_named: Any) -> Any:
                raise error

            def close(self) -> None: ...

        self.monkeypatch.setattr(stripe, "default_http_client", Refusing())
        return self.buy()

    def reverse(self, transaction: str, **body: Any) -> Any:
        return self.sell(f"credits/transactions/{transaction}/reverse", reason="r", **body)

    def fail_spending(self, state: str) -> None:
        cause = psycopg.OperationalError()
        cause.sqlstate = state
        failure = OperationalError()
        failure.__cause__ = cause

        def fail(**_about: Any) -> None:
            raise failure

        self.monkeypatch.setattr(ledger, "spend", fail)


@pytest.fixture
def kit(  # noqa: PLR0917 - fixtures
    client: Client, ada: User, ada_account: Account, settings: Settings, monkeypatch: pytest.MonkeyPatch,
    clock_file: Any, local_stripe: LocalStripe,
) -> Kit:  # fmt: skip
    ledger.grant(account_id=ada_account.pk, amount=10, source=Source.BONUS, source_key="t", now=clock.now())
    return Kit(client, ada_account, ada, settings, monkeypatch, SandboxClock(clock_file), local_stripe)


def rate_limited(kit: Kit) -> Any:
    kit.monkeypatch.setattr(throttling, "count", _refuse)
    return kit.spend()


def _refuse(given: list[throttling.Limit]) -> None:
    raise throttling.RateLimitedError(limit=given[0], retry_after_s=3)


def token_expired(kit: Kit) -> Any:
    created = kit.ask("POST", "auth/tokens", {"scopes": ["credits:spend"]}).json()["token"]
    kit.clock.advance(700)
    return kit.spend(bearer=created)


def key_revoked(kit: Kit) -> Any:
    for key in kit.account.api_keys.all():
        keys.revoke_key(key=key, now=clock.now())
    return kit.spend()


def too_many_keys(kit: Kit) -> Any:
    kit.settings.MAX_API_KEYS_PER_ACCOUNT = 1
    kit.client.force_login(kit.user)
    return kit.client.post("/api/v1/api-keys", {"name": "x"}, content_type="application/json")


def account_exists(kit: Kit) -> Any:
    kit.ask("POST", "accounts", {"external_id": "u1"}, bearer=kit.service)
    return kit.ask("POST", "accounts", {"external_id": "u1"}, bearer=kit.service)


def account_has_login(kit: Kit) -> Any:
    return kit.ask("PATCH", f"accounts/{kit.account.public_id}", {"name": "Other"}, bearer=kit.service)


def key_not_working(kit: Kit) -> Any:
    key = kit.account.api_keys.get()
    keys.revoke_key(key=key, now=clock.now())
    kit.client.force_login(kit.user)
    return kit.client.post(f"/api/v1/api-keys/{key.public_id}/rotate", {}, content_type="application/json")


def too_many_endpoints(kit: Kit) -> Any:
    kit.settings.MAX_WEBHOOK_ENDPOINTS_PER_ACCOUNT = 0
    return kit.ask("POST", "webhook-endpoints", {"url": "https://example.com/"})


def unavailable(kit: Kit) -> Any:
    kit.settings.TOKEN_ISSUERS = [{"name": "x", "issuer": "https://x.example", "audience": "a"}]
    kit.monkeypatch.setattr(issuers, "_fetch", lambda _issuer: {})
    issuers.forget_keys()
    token = tokens.jwt.encode({"iss": "https://x.example"}, "k" * 32, headers={"kid": "1"})
    return kit.spend(bearer=token)


def account_in_debt(kit: Kit) -> Any:
    Wallet.objects.update(debt=5)
    return kit.spend()


def account_frozen(kit: Kit) -> Any:
    Wallet.objects.update(frozen_at=clock.now())
    return kit.spend()


def daily_cap_reached(kit: Kit) -> Any:
    ledger.grant(account_id=kit.account.pk, amount=50, source=Source.PURCHASE, source_key="p", now=clock.now())
    limits.set_daily_cap(account_id=kit.account.pk, cap=1)
    return kit.spend(30)


def spending_limit_reached(kit: Kit) -> Any:
    key = ApiKey.objects.filter(account=kit.account).latest("created_at")
    spending_limits.set_key_limit(key, per_day=2, per_month=None, is_hard=True, now=clock.now())
    return kit.spend(3)


def idempotency_key_reused(kit: Kit) -> Any:
    kit.spend(1, key="k")
    return kit.spend(2, key="k")


def grant_conflict(kit: Kit) -> Any:
    grant = {"account": kit.account.public_id, "amount": 1, "reason": "r"}
    kit.ask("POST", "credits/grants", grant, bearer=kit.service, key="g")
    return kit.ask("POST", "credits/grants", {**grant, "amount": 2}, bearer=kit.service, key="g")


def invalid_amount(kit: Kit) -> Any:
    grant = {"account": kit.account.public_id, "amount": 2**53, "reason": "r"}
    return kit.ask("POST", "credits/grants", grant, bearer=kit.service)


def too_many_holds(kit: Kit) -> Any:
    kit.settings.MAX_OPEN_HOLDS_PER_ACCOUNT = 1
    kit.hold()
    return kit.sell("credits/holds", amount=1)


def hold_expired(kit: Kit) -> Any:
    on_hold = kit.hold()
    kit.clock.advance(61)
    return kit.sell(f"credits/holds/{on_hold}/capture", amount=1)


def hold_not_open(kit: Kit) -> Any:
    on_hold = kit.hold()
    kit.sell(f"credits/holds/{on_hold}/release")
    return kit.sell(f"credits/holds/{on_hold}/capture", amount=1)


def not_reversible(kit: Kit) -> Any:
    rows = kit.ask("GET", "credits/transactions?type=grant").json()["data"]
    return kit.reverse(rows[0]["id"])


def already_reversed(kit: Kit) -> Any:
    spent = kit.spend().json()["id"]
    kit.reverse(spent)
    return kit.reverse(spent)


def grant_limit_exceeded(kit: Kit) -> Any:
    kit.settings.SERVICE_KEY_GRANTS_PER_DAY = 5
    return kit.sell("credits/grants", amount=6, reason="r")


def account_closed(kit: Kit) -> Any:
    Account.objects.update(closed_at=clock.now())
    return kit.sell("credits/spend", amount=1)


def item_archived(kit: Kit) -> Any:
    kit.buy()
    Pack.objects.update(is_active=False)
    return kit.buy()


def already_subscribed(kit: Kit) -> Any:
    from billing.checkout import purchases
    from billing.models import Order

    kit.buy("pro")
    order = Order.objects.get()
    hosted.complete(kit.stripe, order.stripe_session_id or "", hosted.Outcome.SUCCESS)
    purchases.refresh(order, now=clock.now())
    return kit.ask("POST", "billing/checkouts", {"item": "pro", "interval": "month"})


def payment_provider_unavailable(kit: Kit) -> Any:
    kit.buy()
    return kit.stripe_answers(stripe.APIConnectionError("no route"))


def payment_provider_refused(kit: Kit) -> Any:
    kit.buy()
    return kit.stripe_answers(stripe.AuthenticationError("Invalid API Key provided: sk_test_***", http_status=401))


def currency_mixed(kit: Kit) -> Any:
    kit.buy()
    reported = "You cannot combine currencies on a single customer."
    return kit.stripe_answers(stripe.InvalidRequestError(reported, param="", http_status=400))


def address_required(kit: Kit) -> Any:
    kit.buy()
    kit.settings.STRIPE_TAX = True
    return kit.ask("POST", "billing/checkouts", {"item": "credits-20", "ui": "elements"})


def too_many_attempts(kit: Kit) -> Any:
    kit.settings.MAX_WEBHOOK_TESTS_PER_HOUR = 0
    created = kit.ask("POST", "webhook-endpoints", {"url": "https://example.com/hook"}).json()
    return kit.ask("POST", f"webhook-endpoints/{created['id']}/test", {})


PROVOKED: dict[str, Callable[[Kit], Any]] = {
    "invalid_request": lambda kit: kit.spend(0),
    "not_found": lambda kit: kit.ask("GET", "credits/transactions/txn_" + "0" * 26),
    "unauthenticated": lambda kit: kit.spend(bearer="tg_test_nobody"),
    "key_revoked": key_revoked,
    "account_exists": account_exists,
    "account_has_login": account_has_login,
    "token_expired": token_expired,
    "insufficient_scope": lambda kit: kit.ask("GET", "usage/events", bearer=kit.key(kit.account, "credits:read")),
    "rate_limited": rate_limited,
    "unavailable": unavailable,
    "busy": lambda kit: (kit.fail_spending("55P03"), kit.spend())[1],
    "method_not_allowed": lambda kit: kit.ask("PUT", "credits/balance"),
    "not_acceptable": lambda kit: kit.ask("GET", "credits/balance", Accept="image/png"),
    "token_from_token": lambda kit: kit.ask(
        "POST", "auth/tokens", {}, bearer=kit.ask("POST", "auth/tokens", {}).json()["token"]
    ),
    "too_many_keys": too_many_keys,
    "key_not_working": key_not_working,
    "too_many_endpoints": too_many_endpoints,
    "idempotency_key_missing": lambda kit: kit.spend(**{"Idempotency-Key": " "}),
    "idempotency_key_reused": idempotency_key_reused,
    "invalid_cursor": lambda kit: kit.ask("GET", "credits/transactions?cursor=x"),
    "insufficient_credits": lambda kit: kit.spend(1_000),
    "account_in_debt": account_in_debt,
    "account_frozen": account_frozen,
    "daily_cap_reached": daily_cap_reached,
    "spending_limit_reached": spending_limit_reached,
    "unknown_feature": lambda kit: kit.ask("POST", "credits/spend", {"feature": "nothing"}),
    "grant_conflict": grant_conflict,
    "invalid_amount": invalid_amount,
    "too_many_holds": too_many_holds,
    "hold_expired": hold_expired,
    "hold_not_open": hold_not_open,
    "not_reversible": not_reversible,
    "already_reversed": already_reversed,
    "reversal_too_large": lambda kit: kit.reverse(kit.spend().json()["id"], amount=2),
    "seller_only": lambda kit: kit.ask("POST", "credits/holds", {"amount": 1}),
    "account_closed": account_closed,
    "grant_limit_exceeded": grant_limit_exceeded,
    "price_not_sellable": lambda kit: kit.buy("nothing"),
    "item_archived": item_archived,
    "already_subscribed": already_subscribed,
    "no_customer": lambda kit: kit.ask("POST", "billing/portal-sessions", {}),
    "payment_provider_unavailable": payment_provider_unavailable,
    "payment_provider_refused": payment_provider_refused,
    "currency_mixed": currency_mixed,
    "address_required": address_required,
    "too_many_attempts": too_many_attempts,
}


def test_every_code_is_provoked() -> None:
    assert set(PROVOKED) | NOT_OVER_THE_API == set(codes())


@pytest.mark.parametrize("code", PROVOKED)
def test_a_code_is_answered_as_it_is_told(kit: Kit, code: str) -> None:
    answer = PROVOKED[code](kit)

    problem, known = answer.json(), codes()[code]
    assert (problem["code"], answer.status_code, problem["status"]) == (code, known.status, known.status)
    assert answer["Content-Type"] == "application/problem+json"
    assert len(problem["detail"]) > 10
    assert (answer.status_code in (429, 503)) <= ("Retry-After" in answer or code in {"too_many_holds"})


def test_a_problem_s_type_leads_to_what_it_means(client: Client) -> None:
    for code, known in codes().items():
        page = client.get(f"/api/problems/{code.replace('_', '-')}")
        assert (page.status_code, known.title in page.content.decode()) == (200, True), code
    assert client.get("/api/problems/nonsense").status_code == 404
    assert OTHERS["busy"][0] == 503
