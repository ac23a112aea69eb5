"""Products and prices, and the account they belong to."""

from common.json_types import JsonObject
from sandbox.local_stripe.core import ACCOUNT_ID, LocalStripe, route
from sandbox.local_stripe.errors import invalid

Row = JsonObject

# What the event of a change is called; a session has none.
UPDATED = {
    "product": "product.updated",
    "price": "price.updated",
    "customer": "customer.updated",
    "subscription": "customer.subscription.updated",
}


@route("GET", "/v1/account")
def own_account(stripe: LocalStripe, values: Row) -> Row:
    return stripe.store.get("account", ACCOUNT_ID) or stripe.new(
        "account",
        "acct",
        id=ACCOUNT_ID,
        type="standard",
        country="NL",
        default_currency="eur",
        charges_enabled=True,
        payouts_enabled=True,
        details_submitted=True,
        email="owner@example.com",
        controller=None,
        settings=None,
    )


@route("GET", "/v1/accounts/{account_id}")
def account(stripe: LocalStripe, values: Row, account_id: str) -> Row:
    own_account(stripe, {})
    return stripe.get("account", account_id)


@route("POST", "/v1/products", "ProductCreateParams")
def create_product(stripe: LocalStripe, values: Row) -> Row:
    if values.get("id") and stripe.store.get("product", values["id"]):
        raise invalid("Product already exists.", param="id", code="resource_already_exists")
    values = {"active": True, "metadata": {}, "type": "service", "updated": stripe.timestamp()} | values
    product = stripe.new("product", "prod", **values)
    stripe.emit("product.created", product)
    return product


@route("GET", "/v1/products", "ProductListParams")
def list_products(stripe: LocalStripe, values: Row) -> Row:
    ids = values.get("ids")
    return stripe.listed("product", values, by=("active",), where=lambda row: ids is None or row["id"] in ids)


@route("GET", "/v1/products/{product_id}")
def product(stripe: LocalStripe, values: Row, product_id: str) -> Row:
    return stripe.get("product", product_id)


@route("POST", "/v1/products/{product_id}", "ProductModifyParams")
def update_product(stripe: LocalStripe, values: Row, product_id: str) -> Row:
    return update(stripe, "product", product_id, values | {"updated": stripe.timestamp()})


@route("GET", "/v1/products/{product_id}/features")
def list_product_features(stripe: LocalStripe, values: Row, product_id: str) -> Row:
    """Entitlements: dj-stripe asks for them with every product; there are none here."""
    stripe.get("product", product_id)
    return {"object": "list", "url": f"/v1/products/{product_id}/features", "has_more": False, "data": []}


@route("POST", "/v1/prices", "PriceCreateParams")
def create_price(stripe: LocalStripe, values: Row) -> Row:
    if "product" not in values:
        raise invalid("You must specify either `product` or `product_data`.", param="product")
    stripe.get("product", values["product"])
    if "unit_amount" not in values:
        raise invalid("You must specify one of `unit_amount`, `unit_amount_decimal`.", param="unit_amount")
    lookup_key, transfer = values.get("lookup_key"), values.pop("transfer_lookup_key", False)
    for other in stripe.store.all("price"):
        if lookup_key and other["lookup_key"] == lookup_key:
            if not transfer:
                raise invalid(f"A price already uses that lookup key: {lookup_key}", param="lookup_key")
            stripe.changed("price", other | {"lookup_key": None})
    recurring = values.pop("recurring", None)
    if recurring is not None:
        recurring = {
            "interval_count": 1,
            "usage_type": "licensed",
            "meter": None,
            "trial_period_days": None,
        } | recurring
    price = stripe.new(
        "price",
        "price",
        **{"active": True, "metadata": {}, "billing_scheme": "per_unit", "tax_behavior": "unspecified"} | values,
        recurring=recurring,
        type="recurring" if recurring else "one_time",
        unit_amount_decimal=str(values["unit_amount"]),
    )
    stripe.emit("price.created", price)
    return price


@route("GET", "/v1/prices", "PriceListParams")
def list_prices(stripe: LocalStripe, values: Row) -> Row:
    keys = values.get("lookup_keys")
    return stripe.listed(
        "price",
        values,
        by=("active", "product", "type", "currency"),
        where=lambda row: keys is None or row["lookup_key"] in keys,
    )


@route("GET", "/v1/prices/{price_id}")
def price(stripe: LocalStripe, values: Row, price_id: str) -> Row:
    return stripe.get("price", price_id)


@route("POST", "/v1/prices/{price_id}", "PriceModifyParams")
def update_price(stripe: LocalStripe, values: Row, price_id: str) -> Row:
    known = stripe.get("price", price_id)["tax_behavior"]
    if known != "unspecified" and values.get("tax_behavior", known) != known:
        raise invalid("You cannot change the tax behavior of a price once it is set.", param="tax_behavior")
    product = stripe.get("product", stripe.get("price", price_id)["product"])
    if values.get("active") is False and product.get("default_price") == price_id:
        raise invalid("This price cannot be archived because it is the default price of its product.", param="active")
    return update(stripe, "price", price_id, values)


def update(stripe: LocalStripe, kind: str, identifier: str, values: Row) -> Row:
    """Change the given fields of an object; metadata is merged, and emptied values leave it."""
    row = stripe.get(kind, identifier)
    if "metadata" in values:
        merged = row["metadata"] | (values["metadata"] or {})
        values = values | {"metadata": {name: value for name, value in merged.items() if value not in (None, "")}}
    previous = {name: row.get(name) for name, value in values.items() if row.get(name) != value}
    row |= values
    stripe.changed(kind, row)
    if previous and kind in UPDATED:
        stripe.emit(UPDATED[kind], row, previous)
    return row
