"""Syncing our catalogue with Stripe's products and prices.

Stripe decides names, amounts and what is on sale. We decide credits: a product's `included_credits` only seeds the
number when the product first arrives; from then on the admin's number stands.
"""

from collections.abc import Iterator
from typing import Any

from django.utils.text import slugify

from billing.models import Pack, Plan, Price
from billing.stripe import djstripe_store, stripe_client
from billing.stripe.payloads import Stripe, reference
from common.json_types import JsonObject

# The metadata of a product that is ours to sell.
KIND = "tegoed_kind"  # plan or pack
CODE = "tegoed_code"
INCLUDED_CREDITS = "included_credits"
POSITION = "tegoed_position"
SEATS = "tegoed_seats"

# What our columns take; Stripe's own limits are wider.
LONGEST_NAME = 80
LONGEST_CODE = 64
LONGEST_DESCRIPTION = 255
MOST_CREDITS = 2_147_483_647
MOST_SEATS = 32_767

MODELS: dict[str, type[Plan] | type[Pack]] = {"plan": Plan, "pack": Pack}


def pull() -> list[str]:
    """Store every product and price, sync plans, packs and prices with them, and say what changed."""
    changes: list[str] = []
    for product in stripe_client.list_all("product"):
        djstripe_store.store("product", product)
        changes += sync_product(stripe_client.plain(product))
    for price in stripe_client.list_all("price"):
        djstripe_store.store("price", price)
        changes += sync_price(stripe_client.plain(price))
    return changes


def sync_product(product: Stripe, **_now: Any) -> list[str]:
    """Make or update the plan or pack of a product; a product that is not ours to sell is left alone."""
    metadata = product.get("metadata") or {}
    model = MODELS.get(metadata.get(KIND, ""))
    if model is None:
        return []
    item: Plan | Pack | None = model.objects.filter(stripe_product_id=product["id"]).first()
    if item is None:
        return _make(model, product, metadata)
    return list(_update(item, product))


def sync_price(price: Stripe, **_now: Any) -> list[str]:
    """Make or update our view of a price; one of a product that is not ours to sell is left alone."""
    known = Price.objects.filter(stripe_price_id=price["id"]).first()
    if known is not None:
        is_active = is_on_sale(known, price)
        if known.is_active == is_active:
            return []
        Price.objects.filter(pk=known.pk).update(is_active=is_active)
        return [f"Price {price['id']} is {'on' if is_active else 'off'} sale."]
    product_id = reference(price["product"])
    plan = Plan.objects.filter(stripe_product_id=product_id).first()
    pack = Pack.objects.filter(stripe_product_id=product_id).first()
    interval = _interval(price)
    if (plan is None and pack is None) or interval is None or price.get("unit_amount") is None:
        return []
    if (plan is None) != (interval == Price.Interval.ONCE):
        return [f"Price {price['id']} is left out: a plan is paid by the month or year, a pack once."]
    # (The console and its webhook may bring the same price at the same time.)
    _, is_new = Price.objects.get_or_create(
        stripe_price_id=price["id"],
        defaults={
            "plan": plan,
            "pack": pack,
            "interval": interval,
            "currency": price["currency"],
            "amount_minor": price["unit_amount"],
            "is_active": price["active"],
        },
    )
    if not is_new:
        return []
    return [f"{plan or pack}: new price {price['unit_amount']} {price['currency']} {interval}."]


def is_on_sale(known: Price, price: Stripe) -> bool:
    """Whether a price may be bought: as Stripe says, unless another one took its place here."""
    return bool(price["active"]) and known.replaced_by_id is None


def _make(model: type[Plan] | type[Pack], product: Stripe, metadata: dict[str, str]) -> list[str]:
    credits = metadata.get(INCLUDED_CREDITS, "")
    if not credits.isdigit() or not 0 < int(credits) <= MOST_CREDITS:
        return [f"{product['name']} is left out: its metadata lacks {INCLUDED_CREDITS}, from 1 to {MOST_CREDITS}."]
    code = slugify(metadata.get(CODE) or product["id"].replace("_", "-"))[:LONGEST_CODE]
    if Plan.objects.filter(code=code).exists() or Pack.objects.filter(code=code).exists():
        return [f"{product['name']} is left out: another item has the code {code!r}. Change its {CODE} in Stripe."]
    shared: JsonObject = {
        "code": code,
        "name": product["name"][:LONGEST_NAME],
        "is_active": product["active"],
        "stripe_product_id": product["id"],
        "position": int(metadata[POSITION]) if metadata.get(POSITION, "").isdigit() else 0,
    }
    if model is Plan:
        features = "\n".join(feature["name"] for feature in product.get("marketing_features") or [])
        Plan.objects.create(
            **shared,
            description=(product.get("description") or "")[:LONGEST_DESCRIPTION],
            features=features,
            monthly_credits=int(credits),
            agreed_credits=int(credits),
            seats=min(int(metadata[SEATS]), MOST_SEATS) if metadata.get(SEATS, "").isdigit() else 1,
        )
    else:
        Pack.objects.create(**shared, credits=int(credits), agreed_credits=int(credits))
    changes = [f"{product['name']}: new, gives {credits} credits."]
    # Its prices may have been here before it: they were left out then.
    for price in djstripe_store.prices_of(product["id"]):
        changes += sync_price(price)
    return changes


def _update(item: Plan | Pack, product: Stripe) -> Iterator[str]:
    name = product["name"][:LONGEST_NAME]
    if item.name != name:
        yield f"{item.name} is now called {name}."
        item.name = name
    if item.is_active != product["active"]:
        yield f"{item.name} is {'on' if product['active'] else 'off'} sale."
        item.is_active = product["active"]
    item.save(update_fields=["name", "is_active"])


def _interval(price: Stripe) -> Price.Interval | None:
    recurring = price.get("recurring")
    if recurring is None:
        return Price.Interval.ONCE
    if recurring.get("interval_count") != 1 or recurring["interval"] not in ("month", "year"):
        return None
    return Price.Interval(recurring["interval"])
