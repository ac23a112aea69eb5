"""Stripe's objects as its documents describe them, and not as a shop of one plan and one price meets them.

Each case names its source. Allowances are checked as customers see them: credits, their end, what was paid.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import stripe

from accounts.models import Account
from billing import tasks
from billing.errors import (
    CurrencyMixError,
    FulfilmentError,
    PaymentDeclinedError,
    PaymentProviderKeyError,
    PaymentProviderRefusedError,
    PaymentProviderUnavailableError,
    PortalNotSetUpError,
    StaleCustomerError,
)
from billing.fulfilment import plan_fulfilment
from billing.models import PaidInvoice, Price, StoreFailure, Subscription
from billing.stripe import djstripe_store, lookup, payloads, stripe_client
from billing.tests.conftest import Shop
from billing.webhooks import sync
from common import clock, currencies
from credits.calendar import month_boundary
from credits.models import Allowance, Grant, Source
from outbox.models import Alert

DAY = timedelta(days=1)


@pytest.fixture
def pro(shop: Shop, customer: Account) -> Subscription:
    """A running plan whose own invoice has not arrived yet."""
    shop.pay(shop.checkout(customer, item="pro"))
    (row,) = shop.stripe.store.all("subscription")
    sync.sync_object(kind="subscription", object_id=row["id"], now=clock.now())
    return Subscription.objects.get()


@pytest.fixture
def begins() -> datetime:
    return clock.now().replace(microsecond=0)


def line(price: str, begins: datetime, **changes: Any) -> dict[str, Any]:
    """A line of an invoice (docs.stripe.com/api/invoice-line-item/object)."""
    ends = changes.pop("ends", month_boundary(begins, 1, "UTC"))
    parent = changes.pop("parent", "subscription_item_details")
    return {
        "amount": 2000,
        "quantity": 1,
        "discount_amounts": [],
        "taxes": [],
        "period": {"start": int(begins.timestamp()), "end": int(ends.timestamp())},
        "pricing": {"price_details": {"price": price}},
        "parent": {parent: {"proration": changes.pop("proration", False)}},
    } | changes


def invoice(plan: Subscription, *lines: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A paid invoice of a subscription (docs.stripe.com/api/invoices/object)."""
    total = sum(row["amount"] for row in lines)
    return {
        "id": "in_documented",
        "object": "invoice",
        "status": "paid",
        "customer": djstripe_store.customer_of_account(plan.account_id),
        "billing_reason": "subscription_create",
        "parent": {"subscription_details": {"subscription": plan.stripe_subscription_id}},
        "lines": {"data": list(lines), "has_more": False},
        "amount_paid": total,
        "total": total,
        "total_taxes": [],
        "currency": "eur",
        "status_transitions": {"paid_at": int(clock.now().timestamp())},
    } | changes


def fulfil(told: dict[str, Any]) -> list[tuple[int, int]]:
    """What was granted for a plan: credits, and minor units that were paid for them."""
    plan_fulfilment.fulfil_invoice(told, now=clock.now())
    return list(Grant.objects.filter(source=Source.PLAN).order_by("id").values_list("amount", "paid_minor"))


def test_a_plan_beside_an_add_on_in_either_order(pro: Subscription, begins: datetime) -> None:
    """docs.stripe.com/billing/subscriptions/quantities#multiple-product-sub: 20 items, in no guaranteed order."""
    add_on = line("price_add_on", begins, amount=500)

    reported = invoice(pro, add_on, line(pro.price.stripe_price_id, begins))

    assert fulfil(reported) == [(100, 2000)]
    assert fulfil({**reported, "lines": {"data": reported["lines"]["data"][::-1], "has_more": False}}) == [(100, 2000)]


def test_the_plan_s_item_is_found_among_others(shop: Shop, pro: Subscription) -> None:
    """An add-on before the plan: the subscription is the plan's, and changing the plan leaves the add-on alone."""
    result = stripe.Subscription.retrieve(pro.stripe_subscription_id)
    reported = stripe_client.plain(result)
    own = reported["items"]["data"][0]
    add_on = {**own, "id": "si_add_on", "price": {**own["price"], "id": "price_add_on"}, "quantity": 7}
    mixed = {**reported, "items": {**reported["items"], "data": [add_on, own]}}

    plan_fulfilment.fulfil_subscription(lookup.with_plan_first(mixed), now=clock.now())

    assert Subscription.objects.get().price == pro.price
    assert stripe_client._item_of(mixed["items"]["data"], pro.price.stripe_price_id) is own


def test_discount_and_inclusive_vat_are_not_the_credits_price(pro: Subscription, begins: datetime) -> None:
    """docs.stripe.com/tax/products-prices-tax-codes-tax-behavior#tax-behavior: `inclusive` amounts hold the tax."""
    reported = line(
        pro.price.stripe_price_id,
        begins,
        discount_amounts=[{"amount": 500, "discount": "di_1"}],
        taxes=[{"amount": 260, "tax_behavior": "inclusive"}, {"amount": 99, "tax_behavior": "exclusive"}],
    )

    assert fulfil(invoice(pro, reported)) == [(100, 2000 - 500 - 260)]


def test_as_many_plans_as_were_bought(pro: Subscription, begins: datetime) -> None:
    assert fulfil(invoice(pro, line(pro.price.stripe_price_id, begins, quantity=3, amount=6000))) == [(300, 6000)]


def test_a_quantity_of_none_gives_nothing(pro: Subscription, begins: datetime) -> None:
    """docs.stripe.com/billing/subscriptions/quantities#setting-quantities: 0 is a quantity."""
    assert fulfil(invoice(pro, line(pro.price.stripe_price_id, begins, quantity=0, amount=0))) == []


@pytest.mark.parametrize("reason", ["manual", "subscription_threshold", "quote_accept", "upcoming"])
def test_an_invoice_that_pays_for_no_period_gives_nothing(pro: Subscription, begins: datetime, reason: str) -> None:
    """docs.stripe.com/api/invoices/object#invoice_object-billing_reason."""
    reported = invoice(pro, line(pro.price.stripe_price_id, begins), billing_reason=reason)

    assert (fulfil(reported), PaidInvoice.objects.count()) == ([], 0)


def test_a_line_of_no_plan_on_a_plan_s_invoice_is_told(pro: Subscription, begins: datetime) -> None:
    with pytest.raises(FulfilmentError, match="no line of a plan"):
        fulfil(invoice(pro, line("price_unknown", begins)))


def test_a_payment_that_was_moved_gives_nothing_now(pro: Subscription, begins: datetime) -> None:
    """docs.stripe.com/billing/subscriptions/billing-cycle#add-a-trial-to-change-the-billing-cycle: an invoice of 0."""
    free = line(pro.price.stripe_price_id, begins, amount=0, ends=begins + 20 * DAY)

    assert fulfil(invoice(pro, free, billing_reason="subscription_update")) == []


def test_a_first_part_of_a_month_gives_its_part(pro: Subscription, begins: datetime) -> None:
    """docs.stripe.com/billing/subscriptions/billing-cycle: an anchor makes a first, shorter period, prorated."""
    half = line(pro.price.stripe_price_id, begins, amount=1000, ends=begins + 15 * DAY, proration=True)

    ((given, paid),) = fulfil(invoice(pro, half))

    assert (48 <= given <= 54, paid) == (True, 1000)


def test_what_is_paid_late_gives_a_month_from_then(pro: Subscription, begins: datetime) -> None:
    """docs.stripe.com/billing/collection-method: `send_invoice` gives 30 days to pay."""
    reported = invoice(pro, line(pro.price.stripe_price_id, begins - 25 * DAY), billing_reason="subscription_cycle")

    assert fulfil(reported) == [(100, 2000)]
    assert Allowance.objects.get(source=Source.PLAN).paid_until >= month_boundary(begins, 1, "UTC") - DAY


def test_a_proration_may_be_an_invoice_item(shop: Shop, pro: Subscription, begins: datetime) -> None:
    """docs.stripe.com/api/invoice-line-item/object: `parent.invoice_item_details.proration`."""
    fulfil(invoice(pro, line(pro.price.stripe_price_id, begins)))
    studio = Price.objects.get(plan__code="studio", interval="month")
    Subscription.objects.update(price=studio)
    old = line(pro.price.stripe_price_id, begins, amount=-2000, parent="invoice_item_details", proration=True)
    new = line(studio.stripe_price_id, begins, amount=6000, parent="invoice_item_details", proration=True)

    granted = fulfil(invoice(pro, old, new, id="in_change", billing_reason="subscription_update"))

    assert granted == [(100, 2000), (300, 4000)]


def test_lines_beyond_the_tenth_are_asked_for(monkeypatch: pytest.MonkeyPatch, begins: datetime) -> None:
    """docs.stripe.com/api/invoices/object#invoice_object-lines: a list of the first ten."""
    rows = [stripe.InvoiceLineItem.construct_from(line(f"price_{number}", begins), "k") for number in range(25)]

    class Pages:
        def auto_paging_iter(self) -> Any:
            return iter(rows)

    monkeypatch.setattr(stripe.Invoice, "list_lines", lambda *_, **__: Pages())
    shown = {"id": "in_1", "lines": {"data": [line("price_0", begins)], "has_more": True}}

    result = payloads.invoice_lines(stripe_client.with_all_lines(shown))

    assert [row.price_id for row in result] == [f"price_{number}" for number in range(25)]


@pytest.mark.parametrize(
    ("told", "ends"),
    [
        ({"cancel_at": 1_900_000_000, "cancel_at_period_end": False}, True),  # flexible billing mode
        ({"cancel_at": 1_900_000_000, "cancel_at_period_end": True}, True),  # classic
        ({"cancel_at": None, "cancel_at_period_end": False}, False),
    ],
)
def test_a_stop_is_told_by_its_moment(told: dict[str, Any], ends: bool) -> None:
    """docs.stripe.com/billing/subscriptions/billing-mode: flexible mode says `cancel_at`."""
    expected = datetime.fromtimestamp(1_900_000_000, UTC) if ends else None
    assert payloads.cancels_at(told) == expected


def test_a_schedule_keeps_what_the_subscription_had(shop: Shop, pro: Subscription, monkeypatch: Any) -> None:
    """docs.stripe.com/billing/subscriptions/subscription-schedules: phases that are sent replace those there are."""
    phase = {
        "start_date": 1,
        "end_date": 2,
        "items": [{"price": "price_a", "quantity": 2, "tax_rates": [{"id": "txr_1"}]}, {"price": "price_add_on"}],
        "discounts": [{"discount": "di_1", "coupon": None, "promotion_code": None}],
        "default_tax_rates": [{"id": "txr_2"}],
        "automatic_tax": {"enabled": True},
        "metadata": {"order": "co_1"},
        "default_payment_method": {"id": "pm_1"},
    }
    schedule = stripe.SubscriptionSchedule.construct_from({"id": "sub_sched_1", "phases": [phase]}, "k")
    sent: dict[str, Any] = {}
    monkeypatch.setattr(stripe.SubscriptionSchedule, "create", lambda **_: schedule)
    monkeypatch.setattr(stripe.SubscriptionSchedule, "modify", lambda _id, **told: sent.update(told))

    stripe_client.plan_change("sub_1", old_price_id="price_a", price_id="price_b", begins_anew=False)

    now, then = sent["phases"]
    assert "billing_cycle_anchor" not in then  # a month from the 31st goes on from the 31st
    for kept in (now, then):
        assert kept["discounts"] == [{"discount": "di_1"}]
        assert (kept["default_tax_rates"], kept["automatic_tax"]) == (["txr_2"], {"enabled": True})
        assert (kept["metadata"], kept["default_payment_method"]) == ({"order": "co_1"}, "pm_1")
    assert now["items"] == [{"price": "price_a", "quantity": 2, "tax_rates": ["txr_1"]}, {"price": "price_add_on"}]
    assert [item["price"] for item in then["items"]] == ["price_b", "price_add_on"]

    stripe_client.plan_change("sub_1", old_price_id="price_a", price_id="price_b", begins_anew=True)
    # better-auth/better-auth#11336: another interval without it charged nothing at the change.
    assert sent["phases"][1]["billing_cycle_anchor"] == "phase_start"


INVALID = stripe.InvalidRequestError


@pytest.mark.parametrize(
    ("error", "means", "alert"),
    [
        (stripe.AuthenticationError("Expired API Key", http_status=401), PaymentProviderKeyError, "stripe:key"),
        (stripe.PermissionError("rk_ may not", http_status=403), PaymentProviderKeyError, "stripe:key"),
        (stripe.IdempotencyError("in use", http_status=409), PaymentProviderUnavailableError, ""),
        (stripe.RateLimitError("slow down", http_status=429), PaymentProviderUnavailableError, ""),
        (stripe.APIError("oops", http_status=500), PaymentProviderUnavailableError, ""),
        (stripe.CardError("no", param="", code="card_declined", http_status=402), PaymentDeclinedError, ""),
        (INVALID("You cannot combine currencies on a single customer.", "", http_status=400), CurrencyMixError, ""),
        (
            INVALID("No such customer: 'cus_1'", "customer", code="resource_missing", http_status=400),
            StaleCustomerError,
            "",
        ),
        (
            INVALID("You can't create a portal session until you save your customer portal settings.", "",
                    http_status=400),
            PortalNotSetUpError,
            "stripe:portal",
        ),
        (INVALID("Received unknown parameter: x", "x", http_status=400), PaymentProviderRefusedError, "stripe:x"),
    ],
)  # fmt: skip
def test_what_stripe_refuses_is_told_and_is_no_error_of_ours(
    db: None, error: stripe.StripeError, means: type[Exception], alert: str
) -> None:
    """docs.stripe.com/error-handling."""
    with pytest.raises(means), stripe_client.calling():
        raise error

    assert list(Alert.objects.values_list("subject", flat=True)) == ([alert] if alert else [])


@pytest.mark.parametrize(
    ("currency", "minor", "shown"),
    [("eur", 500, "5.00"), ("jpy", 500, "500"), ("kwd", 5000, "5.000"), ("rsd", 500, "5.00"), ("isk", 500, "5.00")],
)
def test_amounts_have_stripe_s_decimals(currency: str, minor: int, shown: str) -> None:
    """docs.stripe.com/currencies: zero- and three-decimal currencies, and the special case of ISK; RSD has two."""
    digits = currencies.digits(currency)
    assert f"{minor / 10**digits:.{digits}f}" == shown


def test_a_copy_that_cannot_be_stored_stops_no_payment(
    shop: Shop, customer: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    """dj-stripe reads fields that move between Stripe's versions (dj-stripe issues 2038, 2046)."""

    def fail(*_arguments: Any, **_named: Any) -> None:
        raise KeyError("current_period_start")

    for model in {djstripe_store.MODELS["checkout.session"], djstripe_store.MODELS["payment_intent"]}:
        monkeypatch.setattr(model, "sync_from_stripe_data", fail)
    order = shop.checkout(customer)
    shop.pay(order)
    shop.deliver()

    order.refresh_from_db()
    assert (order.status, shop.failures()) == ("completed", [])
    assert Grant.objects.filter(source=Source.PURCHASE).exists()
    assert Alert.objects.filter(kind=Alert.Kind.MIRROR, resolved_at=None).exists()
    monkeypatch.undo()
    shop.advance(minutes=5)
    tasks.retry_copies()
    assert not StoreFailure.objects.exists()
    assert not Alert.objects.filter(kind=Alert.Kind.MIRROR, resolved_at=None).exists()


def test_a_copy_of_what_is_gone_is_not_tried_for_ever(shop: Shop) -> None:
    StoreFailure.objects.create(kind="customer", object_id="cus_gone", error="x", next_attempt_at=clock.now())

    tasks.retry_copies()

    assert not StoreFailure.objects.exists()


def test_a_draft_that_stripe_does_not_finalise_is_tried_once(
    shop: Shop, pro: Subscription, begins: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """docs.stripe.com/tax/customer-locations: without a location, finalising an invoice with automatic tax fails."""
    reported = invoice(
        pro, line(pro.price.stripe_price_id, begins), status="draft", auto_advance=True,
        billing_reason="subscription_cycle",
    )  # fmt: skip
    real, fields = stripe_client.retrieve, []

    def retrieve(kind: str, identifier: str) -> Any:
        draft = stripe.Invoice.construct_from(reported, "k")
        return draft if kind == "invoice" else real(kind, identifier)

    monkeypatch.setattr(stripe_client, "retrieve", retrieve)
    monkeypatch.setattr(stripe_client, "finalize_and_collect", fields.append)

    assert sync.sync_object(kind="invoice", object_id=reported["id"], now=clock.now())
    assert fields == [reported["id"]]
    assert not Grant.objects.filter(source=Source.PLAN).exists()


def test_the_hour_of_a_renewal_s_draft_has_credits(shop: Shop, customer: Account) -> None:
    """docs.stripe.com/billing/invoices/subscription#invoice-lifecycle: a renewal is a draft for about an hour."""
    shop.pay(shop.checkout(customer, item="pro"))
    shop.deliver()
    (allowance,) = Allowance.objects.filter(source=Source.PLAN)

    grant = Grant.objects.get(allowance=allowance)

    assert grant.expires_at == allowance.paid_until + timedelta(hours=24)
