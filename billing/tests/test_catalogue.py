"""Stripe decides names, prices and what is on sale; we decide how many credits a product gives."""

from io import StringIO

import pytest
import stripe
from django.core.management import call_command
from pytest_django import Settings

from accounts.models import Account
from billing.catalogue import price_sync
from billing.models import Pack, Plan, Price
from billing.setup import bootstrap, presets
from billing.stripe import event_types
from billing.tests.conftest import Shop
from billing.webhooks import sync


def test_the_preset_arrives_with_its_credits_and_prices(shop: Shop) -> None:
    pack, pro = Pack.objects.get(code="credits-20"), Plan.objects.get(code="pro")

    assert (pack.credits, pack.prices.get().amount_minor, pack.prices.get().currency) == (20, 500, "eur")
    assert (pro.monthly_credits, pro.prices.get(interval="month").amount_minor) == (100, 2000)
    assert (Plan.objects.get(is_default=True).daily_credits, Plan.objects.get(is_default=True).monthly_credits) == (
        3,
        5,
    )


def test_bootstrapping_again_changes_nothing(shop: Shop) -> None:
    before = list(Price.objects.values_list("stripe_price_id", flat=True))

    bootstrap.push(presets.load("demo"), say=lambda _line: None)

    assert list(Price.objects.values_list("stripe_price_id", flat=True)) == before
    assert len(list(shop.stripe.store.all("price"))) == len(before)


def test_a_new_name_in_stripe_arrives_and_our_credits_stay(shop: Shop) -> None:
    pack = Pack.objects.get(code="credits-20")
    Pack.objects.filter(pk=pack.pk).update(credits=25)

    stripe.Product.modify(pack.stripe_product_id, name="Twenty", metadata={"included_credits": "9999"})
    shop.deliver()

    pack.refresh_from_db()
    assert (pack.name, pack.credits) == ("Twenty", 25)


def test_what_stripe_archives_goes_off_sale(shop: Shop) -> None:
    price = Price.objects.get(pack__code="credits-20")

    stripe.Price.modify(price.stripe_price_id, active=False)
    shop.deliver()

    price.refresh_from_db()
    assert not price.is_active


@pytest.mark.parametrize("order", ["fifo", "reversed"])
def test_a_product_made_in_stripe_appears_with_its_price(shop: Shop, order: str) -> None:
    product = stripe.Product.create(
        name="Forty", metadata={"tegoed_kind": "pack", "tegoed_code": "credits-40", "included_credits": "40"}
    )
    stripe.Price.create(product=product.id, currency="eur", unit_amount=900)

    shop.deliver(order=order)

    pack = Pack.objects.get(code="credits-40")
    assert (pack.credits, pack.prices.get().amount_minor) == (40, 900)


def test_product_with_credits_added_later_gets_its_prices(shop: Shop) -> None:
    product = stripe.Product.create(name="Forty", metadata={"tegoed_kind": "pack"})
    stripe.Price.create(product=product.id, currency="eur", unit_amount=900)
    shop.deliver()
    assert not Pack.objects.filter(stripe_product_id=product.id).exists()

    stripe.Product.modify(product.id, metadata={"included_credits": "40"})
    shop.deliver()

    assert Pack.objects.get(stripe_product_id=product.id).prices.get().amount_minor == 900


@pytest.mark.parametrize(
    "metadata",
    [
        {"tegoed_kind": "pack", "tegoed_code": "credits-20", "included_credits": "1"},
        {"tegoed_kind": "pack", "tegoed_code": "pro", "included_credits": "1"},
        {"tegoed_kind": "pack", "included_credits": "0"},
        {"tegoed_kind": "pack", "included_credits": "99999999999"},
        {"tegoed_kind": "pack", "included_credits": "many"},
    ],
    ids=str,
)
def test_a_product_that_cannot_be_sold_is_left_out_and_said_so(shop: Shop, metadata: dict[str, str]) -> None:
    stripe.Product.create(name="Odd", metadata=metadata)

    changes = price_sync.pull()

    assert [change for change in changes if "Odd is left out" in change]
    assert not Pack.objects.filter(name="Odd").exists()


def test_products_of_others_are_left_alone(shop: Shop, customer: Account) -> None:
    packs, plans = Pack.objects.count(), Plan.objects.count()
    stripe.Product.create(name="A mug")
    shop.deliver()

    assert (Pack.objects.count(), Plan.objects.count()) == (packs, plans)


@pytest.mark.parametrize("name", presets.names())
def test_every_preset_can_be_sold(db: None, local_stripe: object, name: str) -> None:
    preset = presets.load(name)
    said: list[str] = []

    bootstrap.push(preset, say=said.append)
    again: list[str] = []
    bootstrap.push(preset, say=again.append)

    assert again == []
    assert not [line for line in said if "left out" in line]
    assert Plan.objects.filter(is_default=True).count() == 1
    assert Plan.objects.count() == len(preset.plans)
    assert {pack.credits for pack in Pack.objects.all()} == {pack["credits"] for pack in preset.packs}
    sold = [price for item in (*preset.plans, *preset.packs) for price in item.get("prices", [])]
    assert Price.objects.count() == len(sold)
    assert sum(Price.objects.values_list("amount_minor", flat=True)) == sum(price["amount_minor"] for price in sold)
    assert {plan.monthly_credits for plan in Plan.objects.all()} == {plan["monthly_credits"] for plan in preset.plans}


def test_webhook_endpoint_is_registered_once_with_all_events(shop: Shop, settings: Settings) -> None:
    settings.BASE_URL = "https://credits.example.com"
    url = "https://credits.example.com/api/webhooks/stripe"
    first, second = StringIO(), StringIO()

    call_command("stripe_bootstrap", stdout=first)
    call_command("stripe_bootstrap", stdout=second)

    (created,) = [row for row in shop.stripe.store.all("webhook_endpoint") if row["url"] == url]
    assert f"STRIPE_WEBHOOK_SECRETS={created['secret']}" in first.getvalue()
    assert "STRIPE_WEBHOOK_SECRETS" not in second.getvalue()
    assert {event_types.kind_of(kind) for kind in created["enabled_events"]} == event_types.KINDS


def test_an_endpoint_that_hears_too_little_hears_more(shop: Shop, settings: Settings) -> None:
    settings.BASE_URL = "https://credits.example.com"
    url = "https://credits.example.com/api/webhooks/stripe"
    created = stripe.WebhookEndpoint.create(url=url, enabled_events=["invoice.paid", "topup.created"])

    call_command("stripe_bootstrap", "--no-webhook", stdout=StringIO())
    assert len(stripe.WebhookEndpoint.retrieve(created.id).enabled_events) == 2
    call_command("stripe_bootstrap", stdout=StringIO())

    received = set(stripe.WebhookEndpoint.retrieve(created.id).enabled_events)
    assert {*event_types.EVENTS, "topup.created"} == received


def test_every_kind_that_is_fulfilled_is_followed() -> None:
    assert set(sync.FULFIL) <= event_types.KINDS
    assert len(event_types.EVENTS) == len(set(event_types.EVENTS)) == 52
