"""Pushing a preset into a Stripe account and into our own catalogue: only what is missing is made, however often."""

import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import stripe
from django.conf import settings

from billing.catalogue import price_sync, publishing
from billing.models import Pack, Plan
from billing.setup.presets import Preset
from billing.stripe import event_types, portal_configuration, stripe_client
from billing.stripe.stripe_client import NotAtStripeError
from common import clock
from common.json_types import JsonObject
from common.translated_texts import OTHER_LANGUAGES
from usage import rate_card
from usage.models import Feature

# What of a preset's feature is its price; it counts from the beginning of time.
PRICE_FIELDS = ("credits", "basis", "output_credits")
ALWAYS = datetime(2000, 1, 1, tzinfo=UTC)

Say = Callable[[str], None]


def push(preset: Preset, *, say: Say) -> None:
    """Make the preset's products and prices in Stripe, its free plan and rate card here, then pull what Stripe has.

    The billing portal's settings follow.
    """
    for line in preset.features:
        about = {name: value for name, value in line.items() if name not in PRICE_FIELDS}
        feature, is_new = Feature.objects.get_or_create(code=line["code"], defaults=about)
        if is_new:
            price = {name: line[name] for name in PRICE_FIELDS if name in line}
            rate_card.set_price(feature=feature, effective_from=ALWAYS, now=clock.now(), **price)
    for position, plan in enumerate(preset.plans):
        if plan.get("prices"):
            _push_item("plan", plan, plan["monthly_credits"], position, say)
        else:
            _keep_free_plan(plan, position)
    for position, pack in enumerate(preset.packs):
        _push_item("pack", pack, pack["credits"], position, say)
    for change in price_sync.pull():
        say(change)
    for kind, items in ((Plan, preset.plans), (Pack, preset.packs)):
        for item in items:
            _translate(kind, item)
    portal_configuration.keep(say=say)


def register_endpoint(url: str, *, say: Say) -> None:
    """Have Stripe send to `url` what we follow, in our version of its API. Only what is missing is made."""
    with stripe_client.calling():
        known = [row for row in stripe.WebhookEndpoint.list(limit=100).auto_paging_iter() if row.url == url]
        if not known:
            wanted: Any = event_types.EVENTS
            version: Any = settings.STRIPE_API_VERSION
            created = stripe.WebhookEndpoint.create(
                url=url,
                enabled_events=wanted,
                api_version=version,
                description="Tegoed",
                metadata={"djstripe_uuid": str(uuid.uuid4())},
            )
            say(f"Stripe: webhooks go to {url}. Keep its secret now, it is not shown again:")
            say(f"STRIPE_WEBHOOK_SECRETS={created.secret}")
            return
        (endpoint, *_) = known
        missing = set() if "*" in endpoint.enabled_events else set(event_types.EVENTS) - set(endpoint.enabled_events)
        if missing:
            more: Any = sorted({*endpoint.enabled_events, *event_types.EVENTS})
            stripe.WebhookEndpoint.modify(endpoint.id, enabled_events=more)
            say(f"Stripe: {url} hears of {len(missing)} more kinds of events.")


def _keep_free_plan(plan: JsonObject, position: int) -> None:
    values = {name: plan[name] for name in ("name", "description", "daily_credits", "monthly_credits", "is_default")}
    values |= {"features": "\n".join(plan["features"]), "position": position}
    if Plan.objects.filter(is_default=True).exclude(code=plan["code"]).exists():
        values["is_default"] = False  # another preset's stays the one that everybody has
    Plan.objects.get_or_create(code=plan["code"], defaults=values)


def _translate(kind: type[Plan | Pack], item: JsonObject) -> None:
    """What a preset says in other languages, for an item that has no translation yet."""
    texts = {
        language: {name: "\n".join(text) if isinstance(text, list) else text for name, text in item[language].items()}
        for language in OTHER_LANGUAGES
        if language in item
    }
    if texts:
        kind._default_manager.filter(code=item["code"], translations={}).update(translations=texts)


def _push_item(kind: str, item: JsonObject, credits: int, position: int, say: Say) -> None:
    product_id = publishing.product_id(kind, item["code"])
    try:
        stripe_client.retrieve("product", product_id)
    except NotAtStripeError:
        publishing.create_product(
            kind,
            item["code"],
            name=item["name"],
            credits=credits,
            position=position,
            seats=item.get("seats"),
            description=item.get("description", ""),
            features=item.get("features", ()),
        )
        say(f"Stripe: made the product {item['name']}.")
    known = {price["lookup_key"] for price in stripe_client.list_all("price", product=product_id)}
    for price in item["prices"]:
        interval = price.get("interval", "once")
        if publishing.lookup_key(kind, item["code"], interval, price["currency"], price["amount_minor"]) in known:
            continue
        publishing.create_price(
            kind,
            item["code"],
            interval=interval,
            currency=price["currency"],
            amount_minor=price["amount_minor"],
            tax_behavior=price.get("tax_behavior", ""),
        )
        say(f"Stripe: made the price {price['amount_minor']} {price['currency']} (minor units) of {item['name']}.")
