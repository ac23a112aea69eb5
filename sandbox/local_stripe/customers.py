"""Customers and their cards."""

import hashlib

from common.json_types import JsonObject
from sandbox.local_stripe import declines
from sandbox.local_stripe.catalogue import update
from sandbox.local_stripe.core import LocalStripe, route

Row = JsonObject

CARD = {
    "brand": "visa",
    "display_brand": "visa",
    "country": "NL",
    "exp_month": 12,
    "exp_year": 2031,
    "fingerprint": "",  # of its own for each customer, unless a test says whose card it is
    "funding": "credit",
    "last4": "4242",
    "regulated_status": "unregulated",
    "checks": {"address_line1_check": None, "address_postal_code_check": None, "cvc_check": "pass"},
    "generated_from": None,
    "networks": {"available": ["visa"], "preferred": None},
    "three_d_secure_usage": {"supported": True},
    "wallet": None,
}


@route("POST", "/v1/customers", "CustomerCreateParams")
def create_customer(stripe: LocalStripe, values: Row) -> Row:
    if clock_id := values.get("test_clock"):
        stripe.get("test_helpers.test_clock", clock_id)
    values = {"metadata": {}, "balance": 0, "delinquent": False, "preferred_locales": [], "tax_exempt": "none"} | values
    customer = stripe.new(
        "customer",
        "cus",
        **values,
        invoice_prefix=f"TGD{len(list(stripe.store.all('customer'))):04d}",
        next_invoice_sequence=1,
    )
    customer["invoice_settings"] = {
        "custom_fields": None,
        "default_payment_method": None,
        "footer": None,
        "rendering_options": None,
    }
    stripe.emit("customer.created", customer)
    return customer


@route("GET", "/v1/customers", "CustomerListParams")
def list_customers(stripe: LocalStripe, values: Row) -> Row:
    return stripe.listed("customer", values, by=("email",))


@route("GET", "/v1/customers/{customer_id}")
def customer(stripe: LocalStripe, values: Row, customer_id: str) -> Row:
    return stripe.get("customer", customer_id)


@route("POST", "/v1/customers/{customer_id}", "CustomerModifyParams")
def update_customer(stripe: LocalStripe, values: Row, customer_id: str) -> Row:
    if settings := values.pop("invoice_settings", None):
        values["invoice_settings"] = stripe.get("customer", customer_id)["invoice_settings"] | settings
    return update(stripe, "customer", customer_id, values)


@route("DELETE", "/v1/customers/{customer_id}")
def delete_customer(stripe: LocalStripe, values: Row, customer_id: str) -> Row:
    customer = stripe.get("customer", customer_id)
    stripe.emit("customer.deleted", customer)
    return stripe.store.put("customer", customer_id, {"id": customer_id, "object": "customer", "deleted": True})


@route("POST", "/v1/customers/{customer_id}/tax_ids", "CustomerCreateTaxIdParams")
def create_tax_id(stripe: LocalStripe, values: Row, customer_id: str) -> Row:
    """Kept as it is: whether the number is somebody's, Stripe asks the authorities later."""
    stripe.get("customer", customer_id)
    return stripe.new(
        "tax_id",
        "txi",
        customer=customer_id,
        country=values["value"][:2],
        owner={"type": "customer", "customer": customer_id},
        verification={"status": "pending", "verified_address": None, "verified_name": None},
        **values,
    )


@route("GET", "/v1/customers/{customer_id}/tax_ids", "CustomerListTaxIdsParams")
def list_tax_ids(stripe: LocalStripe, values: Row, customer_id: str) -> Row:
    return stripe.listed("tax_id", values, where=lambda row: row["customer"] == customer_id)


@route("DELETE", "/v1/customers/{customer_id}/tax_ids/{tax_id}")
def delete_tax_id(stripe: LocalStripe, values: Row, customer_id: str, tax_id: str) -> Row:
    stripe.get("tax_id", tax_id)
    stripe.store.remove("tax_id", tax_id)
    return {"id": tax_id, "object": "tax_id", "deleted": True}


@route("GET", "/v1/payment_methods", "PaymentMethodListParams")
def list_payment_methods(stripe: LocalStripe, values: Row) -> Row:
    return stripe.listed("payment_method", values, by=("customer", "type"))


@route("GET", "/v1/payment_methods/{payment_method_id}")
def payment_method(stripe: LocalStripe, values: Row, payment_method_id: str) -> Row:
    return stripe.get("payment_method", payment_method_id)


def use_card(stripe: LocalStripe, customer_id: str, fingerprint: str) -> None:
    """The card that a customer will type is this one: the same card has one fingerprint, whoever uses it."""
    stripe.store.put("_fingerprint", customer_id, {"fingerprint": fingerprint})


def _fingerprint(stripe: LocalStripe, customer_id: str) -> str:
    known = stripe.store.get("_fingerprint", customer_id) or {}
    return str(known.get("fingerprint") or hashlib.sha256(customer_id.encode()).hexdigest()[:16])


@route("POST", "/v1/payment_methods/{payment_method_id}/attach", "PaymentMethodAttachParams")
def attach(stripe: LocalStripe, values: Row, payment_method_id: str) -> Row:
    """Leave a card with a customer. Stripe's own test cards (docs.stripe.com/testing) are made on the way."""
    customer = stripe.get("customer", values["customer"])
    if payment_method_id.startswith("pm_card_"):
        row = _keep(stripe, _new_card(stripe, customer), customer)
        asks = payment_method_id == "pm_card_authenticationRequired"
        is_bad = payment_method_id == "pm_card_chargeCustomerFail"
        declines.set_declines(stripe, customer["id"], is_on=is_bad, needs_action=asks)
        return row
    return _keep(stripe, stripe.get("payment_method", payment_method_id), customer)


@route("POST", "/v1/payment_methods/{payment_method_id}/detach", "PaymentMethodDetachParams")
def detach(stripe: LocalStripe, values: Row, payment_method_id: str) -> Row:
    row = stripe.get("payment_method", payment_method_id)
    row["customer"] = None
    stripe.changed("payment_method", row)
    stripe.emit("payment_method.detached", row)
    return row


def card_of(stripe: LocalStripe, customer: Row, *, saves: bool) -> Row:
    """The card of a payment: the one that the customer left, else one as they type it now.

    It stays with the customer only when that was asked for: by `setup_future_usage`, by a subscription, or by their
    own tick (docs.stripe.com/payments/checkout/save-during-payment).
    """
    kept = next((row for row in stripe.store.all("payment_method") if row["customer"] == customer["id"]), None)
    if kept is not None:
        return kept
    card = _new_card(stripe, customer)
    return _keep(stripe, card, customer) if saves else card


def _keep(stripe: LocalStripe, card: Row, customer: Row) -> Row:
    card["customer"] = customer["id"]
    stripe.changed("payment_method", card)
    stripe.emit("payment_method.attached", card)
    return card


def _new_card(stripe: LocalStripe, customer: Row) -> Row:
    card = stripe.new(
        "payment_method",
        "pm",
        type="card",
        card=CARD | {"fingerprint": _fingerprint(stripe, customer["id"])},
        customer=None,
        billing_details={
            "address": None,
            "email": customer.get("email"),  # (a deleted customer shows nothing but its id)
            "name": customer.get("name"),
            "phone": None,
            "tax_id": None,
        },
        metadata={},
        allow_redisplay="always",
    )
    for name in [name for name, value in card.items() if value is None and name not in ("customer", "metadata")]:
        del card[name]  # a payment method shows only the details of its own type
    return card
