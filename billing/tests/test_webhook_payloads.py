"""What webhooks hold is what the API's description says, event by event, in the API's names."""

from datetime import UTC, datetime
from typing import Any

import pytest

from accounts.models import Account
from billing.models import Plan, Subscription
from billing.notifications import domain_events
from billing.notifications.webhook_payloads import OPTIONAL, PAYLOADS
from billing.tests.conftest import Shop
from common import clock
from outbox import webhooks
from outbox.models import OutboxEvent
from sandbox.local_stripe import refunds_and_disputes

KINDS = {"string": str, "integer": int, "boolean": bool, "object": dict}
FOR_ALL = {"account", "external_id"}


def check(fields: dict[str, Any], data: Any, optional: set[str], where: str) -> None:
    """Every field is described, of its type, and there unless it is optional."""
    assert set(data) - set(fields) == set(), where
    assert set(fields) - set(data) <= optional, where
    for name, value in data.items():
        kind = fields[name]["type"]
        if value is None and "null" in kind:
            continue
        kind = kind if isinstance(kind, str) else kind[0]
        assert type(value) is KINDS[kind], f"{where}.{name}"
        assert value != "" or fields[name].get("format") is None, f"{where}.{name}"
        assert value in fields[name].get("enum", [value]), f"{where}.{name}"
        if kind == "object":
            check(fields[name]["properties"], value, set(), f"{where}.{name}")
        if fields[name].get("format") == "date-time":
            assert value.endswith("Z")  # as every time in the API
            assert datetime.fromisoformat(value).tzinfo is not None


def sent() -> dict[str, list[Any]]:
    """The webhooks of all that happened, by event; each checked."""
    result: dict[str, list[Any]] = {}
    for event in OutboxEvent.objects.filter(name__in=webhooks.EVENTS):
        message = webhooks.payload(event)
        data = {name: value for name, value in message["data"].items() if name not in FOR_ALL}
        assert set(message["data"]) >= FOR_ALL
        check(PAYLOADS[event.name], data, OPTIONAL.get(event.name, set()), event.name)
        result.setdefault(event.name, []).append(data)
    return result


def test_every_event_that_can_be_listened_to_is_described() -> None:
    assert set(PAYLOADS) == {*webhooks.EVENTS, webhooks.TEST_EVENT}


def test_life_of_a_plan_is_told_as_described(shop: Shop, customer: Account) -> None:
    shop.pay(shop.checkout(customer, item="pro"))
    shop.deliver()
    shop.advance(days=32)
    shop.deliver()
    shop.refuse_card()
    shop.advance(days=32)
    shop.deliver()
    running = Subscription.objects.get()
    studio = Plan.objects.get(code="studio").prices.get(interval="month")
    domain_events.plan_changed(running, before=running.price, after=studio, at=clock.now(), now=clock.now())
    domain_events.cancelled(running, ends_at=clock.now(), is_over=True, now=clock.now())

    told = sent()

    assert {
        "order.paid",
        "subscription.renewed",
        "payment.failed",
        "subscription.changed",
        "subscription.cancelled",
    } <= set(told)
    (order,) = told["order.paid"]
    assert (order["amount"], order["currency"], order["is_plan"], order["interval"]) == (2000, "eur", True, "month")
    assert order["renews_at"]
    assert told["subscription.renewed"][0]["plan"] == "pro"
    assert told["subscription.renewed"][0]["plan_name"] == "Pro"


def test_pack_has_null_where_a_plan_has_a_time(shop: Shop, customer: Account) -> None:
    shop.pay(shop.checkout(customer))
    shop.deliver()

    (order,) = sent()["order.paid"]

    assert order["renews_at"] is None


@pytest.mark.parametrize("is_one_s_own", [True, False])
def test_test_is_told_as_described(customer: Account, is_one_s_own: bool) -> None:
    endpoint, _ = webhooks.create_endpoint(
        account=customer if is_one_s_own else None, url="https://app.example.com/hook", events=[], description="",
        actor="test", now=clock.now(),
    )  # fmt: skip
    message = webhooks.payload(webhooks.send_test(endpoint, now=clock.now()).event)

    assert message["type"] == "webhook.test"
    assert set(message["data"]) == ({"message"} | FOR_ALL if is_one_s_own else {"message"})


def test_trial_is_told_as_described(shop: Shop, customer: Account) -> None:
    Plan.objects.filter(code="pro").update(trial_days=7)
    shop.pay(shop.checkout(customer, item="pro"))
    shop.deliver()
    domain_events.trial_ending(Subscription.objects.get(), now=clock.now())

    told = sent()

    assert told["order.paid"][0]["is_trial"] is True
    assert told["subscription.trial_ending"][0]["first_charge"] == 2000


def test_packs_refunds_and_top_ups_are_told_as_described(shop: Shop, customer: Account) -> None:
    order = shop.checkout(customer)
    shop.pay(order)
    shop.deliver()
    (charge,) = shop.stripe.store.all("charge")
    refunds_and_disputes.create_refund(shop.stripe, {"charge": charge["id"], "amount": 100})
    shop.deliver()
    now = clock.now()
    order.refresh_from_db()
    domain_events.top_up_failed(order, why="declined", now=now)
    domain_events.top_up_stopped(customer, charge_id=charge["id"], now=now)
    domain_events.top_up_dearer(customer, before=order.price, after=order.price, now=now)
    domain_events.credits_low(customer.pk, left=2, now=now)
    domain_events.credits_exhausted(customer.pk, now=now)
    domain_events.account_opened(customer, now=now)
    card = {"brand": "visa", "last4": "4242", "exp_month": 12, "exp_year": 2026}
    domain_events.card_expiring(customer.pk, card, card_id="pm_1", now=now)

    told = sent()

    assert told["payment.refunded"][0]["refunded"] == 100
    assert {row["why"] for row in told["top_up.stopped"]} == {"money_back", "price"}


@pytest.mark.parametrize("name", ["at_minor", "plan", "plan_code", "amount_minor", "whose"])
def test_no_name_of_ours_is_sent(name: str, customer: Account) -> None:
    event = OutboxEvent(name="x", data={name: 1, "to": {name: 2}}, happened_at=datetime(2026, 11, 1, tzinfo=UTC))

    data = webhooks.payload(event)["data"]

    assert not {"amount_minor", "plan_code", "whose"} & {*data, *data["to"]}
