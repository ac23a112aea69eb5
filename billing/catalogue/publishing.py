"""Publishing the catalogue: products, prices and discount codes are made at Stripe from here, then read back.

A Stripe price is never edited (docs.stripe.com/products-prices/manage-prices): a new one takes its place.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import stripe
from django.conf import settings
from django.db import transaction

from billing.catalogue import price_sync
from billing.errors import CatalogueError
from billing.models import DiscountCode, Pack, Plan, Price
from billing.stripe import djstripe_store, stripe_client
from billing.stripe.payloads import reference
from billing.stripe.stripe_client import NotAtStripeError
from common.advisory_locks import BusyError, exclusive
from common.json_types import JsonObject

Item = Plan | Pack


def make_item(
    kind: str,
    code: str,
    *,
    name: str,
    credits: int,
    position: int = 0,
    seats: int | None = None,
    description: str = "",
    features: Sequence[str] = (),
) -> Item:
    """Put a new plan or pack up at Stripe, and here; it is for sale once it has a price. Raises CatalogueError."""
    if Plan.objects.filter(code=code).exists() or Pack.objects.filter(code=code).exists():
        raise CatalogueError(f"There is a plan or pack with the code {code} already.")
    try:
        stripe_client.retrieve("product", product_id(kind, code))
    except NotAtStripeError:
        created = create_product(
            kind, code, name=name, credits=credits, position=position, seats=seats, description=description,
            features=features,
        )  # fmt: skip
    else:
        raise CatalogueError(
            f"Stripe has a product for the code {code} already. Sync with Stripe, or take another code."
        )
    _store("product", created)
    item = _item_of(str(created["id"]))
    if item is None:
        raise CatalogueError("Stripe has the product, and it cannot be sold here. Sync with Stripe to see why.")
    return item


@contextmanager
def _alone(item: Item) -> Iterator[None]:
    """One change of an item's prices at a time: what is on sale is looked at and changed by one operator."""
    try:
        with exclusive(f"catalogue:{kind_of(item)}:{item.code}"):
            yield
    except BusyError:
        raise CatalogueError("Somebody else is changing its prices. Look again in a minute.") from None


def add_price(item: Item, *, interval: str, currency: str, amount_minor: int) -> Price:
    """A further price: another currency, or another interval. Raises CatalogueError when there is one to replace."""
    with _alone(item):
        return _add_price(item, interval=interval, currency=currency, amount_minor=amount_minor)


def _add_price(item: Item, *, interval: str, currency: str, amount_minor: int) -> Price:
    on_sale = item.prices.filter(interval=interval, currency=currency, is_active=True)
    if on_sale.exists():
        raise CatalogueError("It has a price in this currency and interval. Replace that one.")
    return _price(item, interval=interval, currency=currency, amount_minor=amount_minor)


def replace_price(price: Price, *, amount_minor: int) -> Price:
    """Sell at another amount from now on; whoever has the old price keeps it. Answers the new price.

    The old one stays active at Stripe as long as running plans have it (`retire`): what Stripe bills, it may still be
    asked to schedule. Raises CatalogueError.
    """
    with _alone(item_of(price)):
        price.refresh_from_db()
        return _replace_price(price, amount_minor)


def _replace_price(price: Price, amount_minor: int) -> Price:
    if not price.is_active:
        raise CatalogueError("This price is not on sale.")
    if amount_minor == price.amount_minor:
        raise CatalogueError("That is what it costs.")
    new = _price(item_of(price), interval=price.interval, currency=price.currency, amount_minor=amount_minor)
    with transaction.atomic():
        Price.objects.filter(pk=new.pk).update(is_active=True, replaced_by=None)
        Price.objects.filter(pk=price.pk).update(is_active=False, replaced_by=new)
    return Price.objects.get(pk=new.pk)


def retire(price: Price) -> None:
    """Archive a price at Stripe. A product's default price goes to the one in its place first: Stripe asks for that."""
    product = stripe_client.plain(stripe_client.retrieve("product", item_of(price).stripe_product_id or ""))
    if reference(product.get("default_price")) == price.stripe_price_id:
        following = price.replaced_by.stripe_price_id if price.replaced_by else ""
        with stripe_client.calling():
            stripe.Product.modify(product["id"], default_price=following)
    with stripe_client.calling():
        changed = stripe.Price.modify(price.stripe_price_id, active=False)
    _store("price", changed)


def put_on_sale(item: Item, *, is_on: bool) -> None:
    """Offer a plan or pack, or no longer: running plans go on either way."""
    with stripe_client.calling():
        changed = stripe.Product.modify(item.stripe_product_id or "", active=is_on)
    _store("product", changed)


def rename(item: Item) -> None:
    """Say at Stripe what an item is called here: it stands on payment pages and invoices."""
    if item.stripe_product_id is None:
        return
    texts: JsonObject = {"name": item.name}
    if isinstance(item, Plan):
        texts |= {
            "description": item.description,
            "marketing_features": [{"name": row} for row in item.feature_list(settings.LANGUAGE_CODE)],
        }
    with stripe_client.calling():
        changed = stripe.Product.modify(item.stripe_product_id, **texts)
    _store("product", changed)


def make_discount(discount: DiscountCode, *, plans: Sequence[Plan], packs: Sequence[Pack]) -> None:
    """Make a coupon and its code at Stripe, and keep what they are here. Raises CatalogueError.

    A coupon cannot be changed (docs.stripe.com/api/coupons/update): another discount is another code.
    """
    items: list[Item] = [*plans, *packs]
    products = [item.stripe_product_id for item in items if item.stripe_product_id]
    coupon: Any = {
        "name": discount.name,
        "percent_off": discount.percent,
        "duration": discount.duration,
        "metadata": {"tegoed_code": discount.code},
    }
    if discount.months:
        coupon["duration_in_months"] = discount.months
    if products:
        coupon["applies_to"] = {"products": products}
    terms: Any = {}
    if discount.max_uses:
        terms["max_redemptions"] = discount.max_uses
    if discount.ends_at:
        terms["expires_at"] = int(discount.ends_at.timestamp())
    if discount.is_first_purchase:
        terms["restrictions"] = {"first_time_transaction": True}
    with stripe_client.calling():
        if stripe.PromotionCode.list(code=discount.code, active=True, limit=1).data:
            raise CatalogueError(f"Stripe has the code {discount.code} already.")
        created = stripe.Coupon.create(**coupon)
        code = stripe.PromotionCode.create(
            promotion={"type": "coupon", "coupon": created.id}, code=discount.code, **terms
        )
    discount.stripe_coupon_id, discount.stripe_promotion_code_id = created.id, code.id
    with transaction.atomic():
        discount.save()
        discount.plans.set(plans)
        discount.packs.set(packs)


def set_discount(discount: DiscountCode, *, is_on: bool) -> None:
    """Take a code on payment pages, or no longer. Plans that have the discount keep it."""
    with stripe_client.calling():
        stripe.PromotionCode.modify(discount.stripe_promotion_code_id, active=is_on)
    discount.is_active = is_on
    discount.save(update_fields=["is_active"])


def uses_of(discount: DiscountCode) -> int:
    """How often a code was used, as Stripe counts."""
    with stripe_client.calling():
        return int(stripe.PromotionCode.retrieve(discount.stripe_promotion_code_id).times_redeemed)


def item_of(price: Price) -> Item:
    """The plan or pack of a price."""
    item = price.plan or price.pack
    assert item is not None  # noqa: S101 - the database sees to it
    return item


def kind_of(item: Item) -> str:
    return "plan" if isinstance(item, Plan) else "pack"


def product_id(kind: str, code: str) -> str:
    """Which product an item of ours is at Stripe."""
    return f"tegoed_{kind}_{code}"


def lookup_key(kind: str, code: str, interval: str, currency: str, amount_minor: int) -> str:
    """By which a price is found again: made twice, it is one."""
    return f"tegoed_{kind}_{code}_{interval}_{currency}_{amount_minor}"


def create_product(
    kind: str,
    code: str,
    *,
    name: str,
    credits: int,
    position: int,
    seats: int | None,
    description: str,
    features: Sequence[str],
) -> Any:
    """Make the product of a plan or pack at Stripe."""
    metadata = {
        price_sync.KIND: kind,
        price_sync.CODE: code,
        price_sync.INCLUDED_CREDITS: str(credits),
        price_sync.POSITION: str(position),
    }
    if seats:
        metadata[price_sync.SEATS] = str(seats)
    texts: Any = {"description": description} if description else {}
    if features:
        texts["marketing_features"] = [{"name": feature} for feature in features]
    with stripe_client.calling():
        return stripe.Product.create(id=product_id(kind, code), name=name, metadata=metadata, **texts)


def create_price(
    kind: str, code: str, *, interval: str, currency: str, amount_minor: int, tax_behavior: str = "", product: str = ""
) -> Any:
    """Make a price at Stripe; of `product` where the item was not made here."""
    recurring: Any = {} if interval == Price.Interval.ONCE else {"recurring": {"interval": interval}}
    behavior: Any = tax_behavior or settings.STRIPE_TAX_BEHAVIOR
    with stripe_client.calling():
        return stripe.Price.create(
            product=product or product_id(kind, code),
            currency=currency,
            unit_amount=amount_minor,
            lookup_key=lookup_key(kind, code, interval, currency, amount_minor),
            tax_behavior=behavior,
            **recurring,
        )


def _price(item: Item, *, interval: str, currency: str, amount_minor: int) -> Price:
    """The item's price of this amount: one that it had before, made active again, or a new one."""
    kind = kind_of(item)
    key = lookup_key(kind, item.code, interval, currency, amount_minor)
    with stripe_client.calling():
        known = stripe.Price.list(lookup_keys=[key], limit=1).data
        if known and not known[0].active:
            known = [stripe.Price.modify(known[0].id, active=True)]
    made = known[0] if known else create_price(
        kind, item.code, interval=interval, currency=currency, amount_minor=amount_minor,
        product=item.stripe_product_id or "",
    )  # fmt: skip
    _store("price", made)
    price = Price.objects.filter(stripe_price_id=made.id).first()
    if price is None:
        raise CatalogueError("Stripe has the price, and it cannot be sold here. Sync with Stripe to see why.")
    if price.replaced_by_id is not None:
        Price.objects.filter(pk=price.pk).update(is_active=True, replaced_by=None)
        price.refresh_from_db()
    return price


def _item_of(product: str) -> Item | None:
    return (
        Plan.objects.filter(stripe_product_id=product).first() or Pack.objects.filter(stripe_product_id=product).first()
    )


def _store(kind: str, made: Any) -> None:
    """Keep what Stripe answered, as its webhook will once more."""
    djstripe_store.store(kind, made)
    sync = price_sync.sync_product if kind == "product" else price_sync.sync_price
    sync(stripe_client.plain(made))
