"""Every operation of the API against those who may not: nobody, a rubbish key, the wrong scope, another account.

A new route without an entry in OPERATIONS fails.
"""

import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import URLPattern, get_resolver

from accounts import keys, opening, tokens
from accounts.models import Account, ApiKey, Scope, User
from billing.catalogue import price_list
from billing.checkout import purchases
from billing.models import Order
from billing.setup import bootstrap, presets
from common import clock
from common.sides import Side
from credits import ledger, selectors
from credits.models import Entry, Grant, Hold, Source, Transaction, Wallet
from outbox import webhooks
from outbox.models import OutboxEvent, WebhookDelivery, WebhookEndpoint
from sandbox.local_stripe.core import LocalStripe

PUBLIC, SESSION, ANYBODY = "public", "session", "anybody"


@dataclass(frozen=True)
class Operation:
    """Who may do it (a scope, or one of the words above), and what a good request of it holds."""

    needs: str
    body: dict[str, Any] | None = None
    own: tuple[str, ...] = field(default=())  # what the ids in its address name, in their order
    whose: Side = Side.BUYER  # whose row it is: the seller's are for service keys alone


OPERATIONS: dict[tuple[str, str], Operation] = {
    ("GET", "schema"): Operation(PUBLIC),
    ("GET", "docs"): Operation(PUBLIC),
    ("GET", "billing/catalogue"): Operation(PUBLIC),
    ("GET", "rate-card"): Operation(PUBLIC),
    ("GET", "version"): Operation(PUBLIC),
    ("GET", "credits/holds"): Operation(Scope.CREDITS_READ),
    ("POST", "billing/subscription/preview"): Operation(Scope.BILLING_WRITE, {"item": "pro", "interval": "month"}),
    ("POST", "billing/subscription/change"): Operation(Scope.BILLING_WRITE, {"item": "pro", "interval": "month"}),
    ("POST", "billing/subscription/cancel"): Operation(Scope.BILLING_WRITE, {}),
    ("POST", "billing/subscription/resume"): Operation(Scope.BILLING_WRITE, {}),
    ("GET", "accounts"): Operation(Scope.ACCOUNTS_WRITE, whose=Side.SELLER),
    ("POST", "accounts"): Operation(Scope.ACCOUNTS_WRITE, {"external_id": "mine"}, whose=Side.SELLER),
    ("GET", "accounts/{}"): Operation(Scope.ACCOUNTS_WRITE, own=("acc",), whose=Side.SELLER),
    ("PATCH", "accounts/{}"): Operation(Scope.ACCOUNTS_WRITE, {"name": "Mine"}, own=("acc",), whose=Side.SELLER),
    ("DELETE", "accounts/{}"): Operation(Scope.ACCOUNTS_WRITE, own=("acc",), whose=Side.SELLER),
    ("POST", "customer-sessions"): Operation(Scope.BILLING_WRITE, {}, whose=Side.SELLER),
    ("POST", "auth/tokens"): Operation(ANYBODY, {}),
    ("GET", "api-keys"): Operation(SESSION),
    ("POST", "api-keys"): Operation(SESSION, {"name": "Mine"}),
    ("DELETE", "api-keys/{}"): Operation(SESSION, own=("key",)),
    ("POST", "api-keys/{}/rotate"): Operation(SESSION, {}, own=("key",)),
    ("GET", "credits/balance"): Operation(Scope.CREDITS_READ),
    ("POST", "credits/check"): Operation(Scope.CREDITS_READ, {"amount": 1}),
    ("POST", "credits/spend"): Operation(Scope.CREDITS_SPEND, {"amount": 1}),
    ("POST", "credits/spend/batch"): Operation(
        Scope.CREDITS_SPEND, {"spends": [{"amount": 1, "idempotency_key": "b"}]}
    ),
    ("POST", "credits/holds"): Operation(Scope.CREDITS_SPEND, {"amount": 1}, whose=Side.SELLER),
    ("GET", "credits/holds/{}"): Operation(Scope.CREDITS_READ, own=("hold",)),
    ("POST", "credits/holds/{}/capture"): Operation(
        Scope.CREDITS_SPEND, {"amount": 1}, own=("hold",), whose=Side.SELLER
    ),
    ("POST", "credits/holds/{}/release"): Operation(Scope.CREDITS_SPEND, {}, own=("hold",), whose=Side.SELLER),
    ("POST", "credits/holds/{}/extend"): Operation(
        Scope.CREDITS_SPEND, {"expires_in": 60}, own=("hold",), whose=Side.SELLER
    ),
    ("GET", "credits/grants"): Operation(Scope.CREDITS_READ),
    ("POST", "credits/grants"): Operation(Scope.CREDITS_GRANT, {"amount": 1, "reason": "Mine"}),
    ("GET", "credits/transactions"): Operation(Scope.CREDITS_READ),
    ("GET", "credits/transactions.csv"): Operation(Scope.CREDITS_READ),
    ("GET", "credits/transactions/{}"): Operation(Scope.CREDITS_READ, own=("txn",)),
    ("POST", "credits/transactions/{}/reverse"): Operation(
        Scope.CREDITS_SPEND, {"reason": "Mine"}, own=("txn",), whose=Side.SELLER
    ),
    ("GET", "credits/explain"): Operation(Scope.CREDITS_READ),
    ("GET", "credits/stream"): Operation(Scope.CREDITS_READ),
    ("GET", "spending-limits"): Operation(Scope.CREDITS_READ),
    ("PUT", "api-keys/{}/spending-limit"): Operation(SESSION, {"per_day": 1}, own=("key",)),
    ("DELETE", "api-keys/{}/spending-limit"): Operation(SESSION, own=("key",)),
    ("GET", "usage/events"): Operation(Scope.USAGE_READ),
    ("GET", "usage/summary"): Operation(Scope.USAGE_READ),
    ("POST", "billing/checkouts"): Operation(Scope.BILLING_WRITE, {"item": "credits-20"}),
    ("GET", "billing/checkouts/{}"): Operation(Scope.CREDITS_READ, own=("co",)),
    ("POST", "billing/portal-sessions"): Operation(Scope.BILLING_WRITE, {}),
    ("GET", "billing/subscription"): Operation(Scope.CREDITS_READ),
    ("GET", "billing/orders"): Operation(Scope.CREDITS_READ),
    ("GET", "billing/top-up"): Operation(Scope.BILLING_WRITE),
    ("PUT", "billing/top-up"): Operation(Scope.BILLING_WRITE, {"below": 5, "pack": "credits-20", "at_most_a_month": 1}),
    ("DELETE", "billing/top-up"): Operation(Scope.BILLING_WRITE),
    ("GET", "billing/invoices"): Operation(Scope.CREDITS_READ),
    ("POST", "billing/sync-prices"): Operation(Scope.CREDITS_GRANT, {}),
    ("GET", "webhook-endpoints"): Operation(Scope.BILLING_WRITE),
    ("POST", "webhook-endpoints"): Operation(Scope.BILLING_WRITE, {"url": "https://example.com/"}),
    ("PATCH", "webhook-endpoints/{}"): Operation(Scope.BILLING_WRITE, {"is_on": False}, own=("whk",)),
    ("DELETE", "webhook-endpoints/{}"): Operation(Scope.BILLING_WRITE, own=("whk",)),
    ("POST", "webhook-endpoints/{}/secret"): Operation(Scope.BILLING_WRITE, {}, own=("whk",)),
    ("POST", "webhook-endpoints/{}/test"): Operation(Scope.BILLING_WRITE, {}, own=("whk",)),
    ("GET", "webhook-endpoints/{}/deliveries"): Operation(Scope.BILLING_WRITE, own=("whk",)),
    ("POST", "webhook-endpoints/{}/deliveries/{}/replay"): Operation(Scope.BILLING_WRITE, {}, own=("whk", "dlv")),
}
GUARDED = {name: operation for name, operation in OPERATIONS.items() if operation.needs != PUBLIC}
SCOPED = {name: operation for name, operation in GUARDED.items() if operation.needs in set(Scope.values)}
NAMED = [name for name, operation in GUARDED.items() if operation.own]

ROWS = (Account, ApiKey, Wallet, Grant, Transaction, Entry, Hold, Order, OutboxEvent, WebhookEndpoint, WebhookDelivery)


@dataclass(frozen=True)
class Victim:
    """Somebody with one of everything."""

    account: Account
    ids: dict[str, str]


@pytest.fixture
def victim(present: datetime, local_stripe: LocalStripe, db: None) -> Victim:
    bootstrap.push(presets.load("demo"), say=lambda _line: None)
    account = opening.personal_account(user=User.objects.create_user("victim@example.com", "x" * 12), now=present)
    ledger.grant(account_id=account.pk, amount=100, source=Source.PURCHASE, source_key="v", now=present)
    spent = ledger.spend(account_id=account.pk, amount=1, idempotency_key="v", now=present)
    on_hold = ledger.hold(
        account_id=account.pk,
        amount=1,
        idempotency_key="v",
        now=present,
        expires_at=present + timedelta(hours=1),
    )
    order = purchases.start_checkout(
        account=account, price=price_list.find_price(item="credits-20"), quantity=1, idempotency_key="v", actor="t",
        now=present,
    ).order  # fmt: skip
    key = keys.create_key(account=account, name="v", scopes=["credits:read"], created_by=None, now=present).key
    endpoint, _ = webhooks.create_endpoint(
        account=account, url="http://127.0.0.1:1/", events=[], description="", actor="t", now=present
    )
    delivery = webhooks.send_test(endpoint, now=present)
    ids = {
        "txn": tokens.public_id("txn", spent.transaction_id), "hold": tokens.public_id("hold", on_hold.hold_id),
        "co": order.public_id, "key": key.public_id, "whk": endpoint.public_id, "dlv": delivery.public_id,
        "acc": account.public_id,
    }  # fmt: skip
    return Victim(account, ids)


@pytest.fixture
def attacker(ada_account: Account, present: datetime) -> Account:
    # What time has brought since the account was opened is here, and is no trace of an attack.
    selectors.balance(account_id=ada_account.pk, now=present)
    return ada_account


def key_of(account: Account | None, *scopes: str) -> str:
    return keys.create_key(account=account, name="t", scopes=scopes, created_by=None, now=clock.now()).secret


Ask = Callable[..., Any]


@pytest.fixture
def ask(client: Client, victim: Victim) -> Ask:
    """Does an operation on what is the victim's."""
    numbers = itertools.count()

    def call(method: str, route: str, bearer: str | None = None, *, by: Client = client, **more: Any) -> Any:
        operation = OPERATIONS[method, route]
        path = route.format(*(victim.ids[prefix] for prefix in operation.own))
        headers = {"Idempotency-Key": f"attack-{next(numbers)}"}
        if bearer is not None:
            headers["Authorization"] = f"Bearer {bearer}"
        body = None if operation.body is None else {**operation.body, **more}
        query = more if body is None else None
        data = json.dumps(body) if body is not None else ""
        return by.generic(
            method, f"/api/v1/{path}", data, content_type="application/json", headers=headers, query_params=query
        )

    return call


@pytest.fixture
def nothing_happens(victim: Victim, attacker: Account) -> Iterator[Callable[[], None]]:
    """Forgets what was there, and compares at the end."""

    def rows() -> dict[str, list[Any]]:
        # (That a key was used is noted.)
        columns = {ApiKey: ("pk", "scopes", "expires_at", "revoked_at")}
        return {model.__name__: sorted(map(str, model.objects.values_list(*columns.get(model, ())))) for model in ROWS}

    before: list[Any] = []
    yield lambda: before.append(rows())
    if before:
        assert rows() == before[0]


def refusals(name: tuple[str, str]) -> set[int]:
    """What somebody without rights is answered; a session that there is not is 403 to DRF."""
    return {401, 403} if OPERATIONS[name].needs == SESSION else {401}


def hidden(name: tuple[str, str]) -> int:
    """What a buyer is answered of another account's row: what is the seller's is refused before it is looked for."""
    return 404 if OPERATIONS[name].whose == Side.BUYER else 403


def test_what_is_the_seller_s_is_refused_to_every_buyer(
    ask: Ask, victim: Victim, nothing_happens: Callable[[], None]
) -> None:
    """With the account's own key, session, token: its own rows as well."""
    own = key_of(victim.account, *keys.ACCOUNT_KEY_SCOPES)
    scopes, lasts = [str(scope) for scope in keys.ACCOUNT_KEY_SCOPES], timedelta(minutes=5)
    how: dict[str, Any] = {"scopes": scopes, "lasts": lasts, "now": clock.now()}
    browser = Client()
    browser.force_login(victim.account.memberships.get().user)
    nothing_happens()

    answers = {}
    for name in [name for name, operation in OPERATIONS.items() if operation.whose == Side.SELLER]:
        answers |= {
            (name, "key"): ask(*name, own),
            (name, "session"): ask(*name, by=browser),
            (name, "token"): ask(*name, tokens.issue(account_id=victim.account.pk, actor="key_x", **how).text),
            (name, "service's token"): ask(
                *name,
                tokens.issue(account_id=None, actor="key_x", **how).text,
                account=victim.account.public_id,
            ),
        }

    codes = {key: (answer.status_code, answer.json()["code"]) for key, answer in answers.items()}
    assert set(codes.values()) == {(403, "seller_only")}
    assert len(codes) == 11 * 4


def test_every_route_has_an_entry() -> None:
    result = set()
    (v1,) = (entry for entry in get_resolver().url_patterns if str(entry.pattern) == "api/v1/")
    for pattern in v1.url_patterns:
        assert isinstance(pattern, URLPattern)
        view = pattern.callback.cls  # type: ignore[attr-defined]
        methods = {method.upper() for method in view.http_method_names if hasattr(view, method)}
        route = "/".join("{}" if part.startswith("<") else part for part in str(pattern.pattern).split("/"))
        result |= {(method, route) for method in methods - {"OPTIONS", "HEAD", "TRACE"}}

    assert result == set(OPERATIONS)


# One test a kind of attacker, over all operations: what was answered otherwise than it should be is shown.


def test_nobody_is_401(ask: Ask, nothing_happens: Callable[[], None]) -> None:
    nothing_happens()

    answers = {name: ask(*name) for name in GUARDED}

    assert not {
        name: answer.status_code for name, answer in answers.items() if answer.status_code not in refusals(name)
    }
    assert {answer["Content-Type"] for answer in answers.values()} == {"application/problem+json"}


RUBBISH = ["", "x", "tg_test_" + "A" * 43, "tg_live_" + "A" * 43, "a.b.c", "..", "é", "null", "tg_test_\x7f"]


def test_a_rubbish_key_is_401(ask: Ask, nothing_happens: Callable[[], None]) -> None:
    nothing_happens()

    answers = {(name, rubbish): ask(*name, rubbish) for name in GUARDED for rubbish in RUBBISH}

    assert not {
        key: answer.status_code for key, answer in answers.items() if answer.status_code not in refusals(key[0])
    }
    assert {answer.json()["code"] for answer in answers.values()} <= {"unauthenticated", "insufficient_scope"}


def test_the_wrong_scope_is_403(ask: Ask, victim: Victim, nothing_happens: Callable[[], None]) -> None:
    wrong = {needed: key_of(None, *(scope for scope in Scope.values if scope != needed)) for needed in Scope.values}
    nothing_happens()

    answers = {
        name: ask(*name, wrong[operation.needs], account=victim.account.public_id) for name, operation in SCOPED.items()
    }

    reported = {name: (answer.status_code, answer.json().get("required_scope")) for name, answer in answers.items()}
    assert reported == {name: (403, operation.needs) for name, operation in SCOPED.items()}


def test_another_account_is_404(
    ask: Ask, victim: Victim, attacker: Account, nothing_happens: Callable[[], None]
) -> None:
    own = key_of(attacker, *keys.ACCOUNT_KEY_SCOPES)
    # (Only service keys have the scope to grant, and they act for every account.)
    names = [name for name, operation in SCOPED.items() if operation.needs != Scope.CREDITS_GRANT]
    nothing_happens()

    answers = {
        (name, account): ask(*name, own, account=account)
        for name in names
        if name != ("POST", "credits/spend/batch")
        for account in (victim.account.public_id, "ext:victim")
    }

    assert not {key: answer.status_code for key, answer in answers.items() if answer.status_code != hidden(key[0])}


def test_another_account_in_a_batch_is_404(
    ask: Ask, victim: Victim, attacker: Account, nothing_happens: Callable[[], None]
) -> None:
    own = key_of(attacker, *keys.ACCOUNT_KEY_SCOPES)
    nothing_happens()
    spends = [{"amount": 1, "idempotency_key": "b", "account": victim.account.public_id}]

    (answer,) = ask("POST", "credits/spend/batch", own, spends=spends).json()["data"]

    assert (answer["status"], answer["problem"]["code"]) == (404, "not_found")


def test_what_is_another_s_is_not_there(
    ask: Ask, attacker: Account, ada: User, nothing_happens: Callable[[], None]
) -> None:
    """By its id alone, with a key of one's own, a token, and a session."""
    own = key_of(attacker, *keys.ACCOUNT_KEY_SCOPES)
    scopes, lasts = [str(scope) for scope in keys.ACCOUNT_KEY_SCOPES], timedelta(minutes=5)
    token = tokens.issue(account_id=attacker.pk, scopes=scopes, actor="key_x", lasts=lasts, now=clock.now()).text
    browser = Client()
    browser.force_login(ada)
    nothing_happens()

    answers = {(name, "session"): ask(*name, by=browser) for name in NAMED}
    for name in NAMED:
        if OPERATIONS[name].needs != SESSION:
            answers |= {(name, "key"): ask(*name, own), (name, "token"): ask(*name, token)}

    assert not {key: answer.status_code for key, answer in answers.items() if answer.status_code != hidden(key[0])}


def test_an_address_with_an_id_that_is_none_is_404(ask: Ask, victim: Victim, client: Client, attacker: Account) -> None:
    own, service = key_of(attacker, *keys.ACCOUNT_KEY_SCOPES), key_of(None, *keys.SERVICE_KEY_SCOPES)
    named = {"account": attacker.public_id}
    for method, route in NAMED:
        is_sellers = OPERATIONS[method, route].whose == Side.SELLER
        headers = {"Authorization": f"Bearer {service if is_sellers else own}", "Idempotency-Key": "k"}
        if OPERATIONS[method, route].needs == SESSION:
            continue
        for rubbish in ("x", "txn_", "hold_" + "z" * 26, "%00", "..%2f", "é" * 10, "1' OR '1'='1"):
            path = route.format(*[rubbish] * route.count("{}"))
            sent = {
                **(OPERATIONS[method, route].body or {}),
                **(named if is_sellers and "acc" not in OPERATIONS[method, route].own else {}),
            }
            body = json.dumps(sent) if method in ("POST", "PATCH") else ""
            answer = client.generic(method, f"/api/v1/{path}", body, content_type="application/json", headers=headers)
            assert answer.status_code == 404, (method, path, answer.status_code)


def test_nothing_of_a_key_is_kept_but_its_hash(attacker: Account, caplog: pytest.LogCaptureFixture) -> None:
    created = keys.create_key(account=attacker, name="t", scopes=["credits:read"], created_by=None, now=clock.now())
    client = Client()

    client.get("/api/v1/credits/balance", headers={"Authorization": f"Bearer {created.secret}"})
    client.get("/api/v1/credits/spend", headers={"Authorization": f"Bearer {created.secret}"})

    kept = str(list(ApiKey.objects.values_list()))
    assert created.secret not in kept + caplog.text
    assert created.secret[20:] not in kept + caplog.text
