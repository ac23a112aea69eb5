"""Stripe Tax, as far as a shop meets it: VAT of one country, inside the price or on top of it.

A price's `tax_behavior` decides which; one that is unspecified counts as exclusive, as the account's own setting does
(docs.stripe.com/tax/products-prices-tax-codes-tax-behavior).
"""

from common.json_types import JsonObject
from sandbox.local_stripe.core import LocalStripe, route
from sandbox.local_stripe.errors import invalid
from sandbox.local_stripe.store import new_id

Row = JsonObject

PERCENT = 21  # what the sandbox charges where tax is switched on
CALCULATED_FOR_S = 90 * 86_400


@route("GET", "/v1/tax/settings")
def settings(stripe: LocalStripe, values: Row) -> Row:
    """The account's own: where it is, and what it sells unless a product says otherwise."""
    return {
        "object": "tax.settings",
        "defaults": {"provider": "stripe", "tax_behavior": "exclusive", "tax_code": "txcd_10103001"},
        "head_office": {"address": dict(ADDRESS)},
        "livemode": False,
        "status": "active",
        "status_details": {"active": {}},
    }


@route("GET", "/v1/tax/registrations", "tax.RegistrationListParams")
def list_registrations(stripe: LocalStripe, values: Row) -> Row:
    row = {
        "id": "taxreg_sandbox",
        "object": "tax.registration",
        "active_from": 0,
        "country": "NL",
        "country_options": {"nl": {"type": "standard", "standard": {"place_of_supply_scheme": "standard"}}},
        "created": 0,
        "expires_at": None,
        "livemode": False,
        "status": "active",
    }
    return {"object": "list", "url": "/v1/tax/registrations", "has_more": False, "data": [row]}


@route("POST", "/v1/tax/calculations", "tax.CalculationCreateParams")
def calculate(stripe: LocalStripe, values: Row) -> Row:
    """What tax a purchase carries, for a payment that is not a Checkout's (docs.stripe.com/tax/payment-intent)."""
    customer = stripe.get("customer", values["customer"]) if values.get("customer") else None
    address = (values.get("customer_details") or {}).get("address") or (customer or {}).get("address") or {}
    if not address.get("country"):
        raise invalid(
            "We could not determine the customer's tax location based on the provided customer address.",
            param="customer_details[address]", code="customer_tax_location_invalid",
        )  # fmt: skip
    identifier, lines = new_id("taxcalc"), []
    for number, item in enumerate(values["line_items"]):
        behavior = item.get("tax_behavior") or "exclusive"
        lines.append(
            {
                "id": new_id("tax_li"),
                "object": "tax.calculation_line_item",
                "amount": item["amount"],
                "amount_tax": part(item["amount"], behavior),
                "livemode": False,
                "metadata": item.get("metadata"),
                "product": item.get("product"),
                "quantity": item.get("quantity", 1),
                "reference": item.get("reference", f"L{number + 1}"),
                "tax_behavior": behavior,
                "tax_breakdown": None,
                "tax_code": item.get("tax_code", "txcd_10103001"),
            }
        )
    exclusive = sum(line["amount_tax"] for line in lines if line["tax_behavior"] == "exclusive")
    return stripe.new(
        "tax.calculation",
        "taxcalc",
        id=identifier,
        amount_total=sum(line["amount"] for line in lines) + exclusive,
        currency=values["currency"],
        customer=customer["id"] if customer else None,
        customer_details={
            "address": {name: address.get(name) for name in ADDRESS},
            "address_source": "billing",
            "ip_address": None,
            "tax_ids": [],
            "taxability_override": "none",
        },
        expires_at=stripe.timestamp() + CALCULATED_FOR_S,
        line_items={
            "object": "list", "data": lines, "has_more": False, "url": f"/v1/tax/calculations/{identifier}/line_items",
        },
        tax_amount_exclusive=exclusive,
        tax_amount_inclusive=sum(line["amount_tax"] for line in lines) - exclusive,
        tax_breakdown=[],
        tax_date=stripe.timestamp(),
    )  # fmt: skip


@route("GET", "/v1/tax/calculations/{calculation_id}")
def calculation(stripe: LocalStripe, values: Row, calculation_id: str) -> Row:
    return stripe.get("tax.calculation", calculation_id)


ADDRESS = {
    "city": "Amsterdam", "country": "NL", "line1": "Keizersgracht 1", "line2": None, "postal_code": "1015 AA",
    "state": None,
}  # fmt: skip


def part(amount: int, behavior: str) -> int:
    """How much of an amount is tax (inclusive), or comes on top of it."""
    whole = 100 + PERCENT if behavior == "inclusive" else 100
    return round(amount * PERCENT / whole)


def behavior_of(price: Row) -> str:
    return "inclusive" if price["tax_behavior"] == "inclusive" else "exclusive"


def put_on(stripe: LocalStripe, row: Row, lines: list[Row]) -> list[Row]:
    """Tax on each line, after its discount; the invoice's totals by behaviour."""
    totals: dict[str, Row] = {}
    for line in lines:
        behavior = behavior_of(stripe.get("price", line["pricing"]["price_details"]["price"]))
        taxable = line["amount"] - sum(each["amount"] for each in line["discount_amounts"])
        amount = part(taxable, behavior)
        net = taxable - amount if behavior == "inclusive" else taxable
        line["taxes"] = [one(amount, behavior, net)]
        known = totals.setdefault(behavior, one(0, behavior, 0))
        known |= {"amount": known["amount"] + amount, "taxable_amount": known["taxable_amount"] + net}
    return list(totals.values())


def state(*, is_on: bool) -> Row:
    """`automatic_tax` of an invoice."""
    return {
        "enabled": is_on,
        "liability": {"type": "self"} if is_on else None,
        "provider": "stripe" if is_on else None,
        "status": "complete" if is_on else None,
        "disabled_reason": None,
    }


def locate(stripe: LocalStripe, customer: Row) -> None:
    """The customer types an address on the page, where one is asked for."""
    if not (customer.get("address") or {}).get("country"):
        customer["address"] = dict(ADDRESS)
        stripe.changed("customer", customer)


def one(amount: int, behavior: str, taxable: int) -> Row:
    """One tax of a line or an invoice."""
    return {
        "amount": amount,
        "tax_behavior": behavior,
        "tax_rate_details": {"tax_rate": "txr_sandbox"},
        "taxability_reason": "standard_rated",
        "taxable_amount": taxable,
        "type": "tax_rate_details",
    }
