"""Checkout sessions: made by the application, completed on a hosted page (or by a test) with some outcome."""

import enum

from common.json_types import JsonObject
from sandbox.local_stripe import invoices, payments, promotions, subscriptions, tax
from sandbox.local_stripe.catalogue import update
from sandbox.local_stripe.core import LocalStripe, route, timer
from sandbox.local_stripe.customers import card_of
from sandbox.local_stripe.errors import StripeApiError, declined, invalid
from sandbox.local_stripe.store import new_id

Row = JsonObject

OPEN_FOR_S = 24 * 3600


class Outcome(enum.StrEnum):
    """How a customer's visit to the hosted page may end."""

    SUCCESS = "success"
    DECLINED = "declined"
    DELAYED_SUCCESS = "delayed_success"
    DELAYED_FAILURE = "delayed_failure"
    ABANDON = "abandon"


INVOICE_DATA: Row = {
    "account_tax_ids": None, "custom_fields": None, "description": None, "footer": None, "issuer": None,
    "metadata": {}, "rendering_options": None,
}  # fmt: skip


# What a session has that says no other look.
BRANDING = {
    "background_color": "#ffffff", "border_style": "rounded", "button_color": "#0074d4", "display_name": "Local Stripe",
    "font_family": "default", "icon": None, "logo": None,
}  # fmt: skip


@route("POST", "/v1/checkout/sessions", "checkout.SessionCreateParams")
def create_session(stripe: LocalStripe, values: Row) -> Row:
    mode = values.get("mode")
    if mode not in ("payment", "subscription"):
        raise invalid("The local Stripe knows the modes payment and subscription.", param="mode")
    if not values.get("line_items"):
        raise invalid(f"You must provide `line_items` in `{mode}` mode.", param="line_items")
    customer = stripe.get("customer", values["customer"]) if values.get("customer") else None
    identifier = new_id("cs_test")
    lines = [_line_item(stripe, item, mode) for item in values.pop("line_items")]
    intent_data, subscription_data = values.pop("payment_intent_data", {}), values.pop("subscription_data", {})
    total = 0 if subscription_data.get("trial_period_days") else sum(line["amount_total"] for line in lines)
    currency = values.pop("currency", lines[0]["currency"])
    if currency != lines[0]["currency"]:
        raise invalid(f"The price is not available in {currency}.", param="currency")
    is_taxed = bool(values.pop("automatic_tax", {}).get("enabled"))
    values.pop("customer_update", None)  # an instruction, no part of the session
    if "invoice_creation" in values:
        values["invoice_creation"] = {"enabled": False} | values["invoice_creation"] | {"invoice_data": INVOICE_DATA}
    if "branding_settings" in values:
        values["branding_settings"] = BRANDING | values["branding_settings"]
    if "tax_id_collection" in values:
        values["tax_id_collection"] = {"required": "never"} | values["tax_id_collection"]
    session = stripe.new(
        "checkout.session",
        "cs_test",
        **{"metadata": {}, "client_reference_id": None} | values,
        id=identifier,
        url=f"{stripe.public_url}/c/pay/{identifier}",
        status="open",
        payment_status="unpaid",
        amount_subtotal=total,
        amount_total=total,
        currency=currency,
        line_items={
            "object": "list",
            "data": lines,
            "has_more": False,
            "url": f"/v1/checkout/sessions/{identifier}/line_items",
        },
        expires_at=values.pop("expires_at", None) or stripe.timestamp() + OPEN_FOR_S,
        payment_method_types=["card", "ideal"],
        automatic_tax={
            "enabled": is_taxed,
            "liability": {"type": "self"} if is_taxed else None,
            "provider": "stripe" if is_taxed else None,
            "status": "requires_location_inputs" if is_taxed else None,
        },
        customer_details={
            "email": customer["email"],
            "name": customer["name"],
            "phone": None,
            "tax_exempt": "none",
            "tax_ids": [],
            "address": None,
            "business_name": None,
            "individual_name": None,
        }
        if customer
        else None,
        total_details={"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0},
    )
    # What the objects made later will carry; no part of the session itself.
    stripe.store.put("_intentions", identifier, {"payment_intent": intent_data, "subscription": subscription_data})
    stripe.at(session["expires_at"], "expire_session", identifier)
    return session


@route("GET", "/v1/checkout/sessions", "checkout.SessionListParams")
def list_sessions(stripe: LocalStripe, values: Row) -> Row:
    return stripe.listed("checkout.session", values, by=("customer", "payment_intent", "subscription", "status"))


@route("GET", "/v1/checkout/sessions/{session_id}")
def session(stripe: LocalStripe, values: Row, session_id: str) -> Row:
    return stripe.get("checkout.session", session_id)


@route("GET", "/v1/checkout/sessions/{session_id}/line_items")
def line_items(stripe: LocalStripe, values: Row, session_id: str) -> Row:
    result: Row = stripe.get("checkout.session", session_id)["line_items"]
    return result


@route("POST", "/v1/checkout/sessions/{session_id}", "checkout.SessionModifyParams")
def update_session(stripe: LocalStripe, values: Row, session_id: str) -> Row:
    return update(stripe, "checkout.session", session_id, values)


@route("POST", "/v1/checkout/sessions/{session_id}/expire", "checkout.SessionExpireParams")
def expire(stripe: LocalStripe, values: Row, session_id: str) -> Row:
    row = _open_session(stripe, session_id)
    row |= {"status": "expired", "url": None}
    stripe.changed("checkout.session", row)
    stripe.emit("checkout.session.expired", row)
    return row


def complete(
    stripe: LocalStripe, session_id: str, outcome: Outcome, *, promotion_code: str = "", saves_card: bool = False
) -> Row:
    """End a visit to the hosted page, where the customer may tick that their card is kept (`saves_card`).

    Raises the card error that the page shows when the card is declined.
    """
    with stripe.lock:
        row = _open_session(stripe, session_id)
        try:
            if outcome is not Outcome.ABANDON:
                _take_note(stripe, row, saves_card=saves_card)
                _reckon(stripe, row, promotion_code)
            _COMPLETIONS[row["mode"]](stripe, row, outcome)
        finally:
            stripe.store.save()
        return row


@timer("expire_session")
def _expire_when_due(stripe: LocalStripe, session_id: str) -> None:
    if stripe.get("checkout.session", session_id)["status"] == "open":
        expire(stripe, {}, session_id)


@timer("settle_session")
def _settle(stripe: LocalStripe, session_id: str) -> None:
    """The delayed payment's answer arrives."""
    row = stripe.get("checkout.session", session_id)
    intent = stripe.get("payment_intent", row["payment_intent"])
    plan = stripe.store.get("_intentions", session_id) or {}
    if plan.get("settles") == Outcome.DELAYED_SUCCESS:
        payments.succeed(stripe, intent)
        row |= {"payment_status": "paid"}
        _invoice(stripe, row, intent)
        stripe.changed("checkout.session", row)
        stripe.emit("checkout.session.async_payment_succeeded", row)
    else:
        payments.fail(stripe, intent)
        stripe.emit("checkout.session.async_payment_failed", row)


def _open_session(stripe: LocalStripe, session_id: str) -> Row:
    row = stripe.get("checkout.session", session_id)
    if row["status"] != "open":
        raise invalid(f"This Session is {row['status']}; only an open one can be changed.")
    return row


def _take_note(stripe: LocalStripe, row: Row, *, saves_card: bool) -> None:
    """What the customer ticks and types: a card that is kept, an address where tax asks for one."""
    may_save = (row["saved_payment_method_options"] or {}).get("payment_method_save") == "enabled"
    if saves_card and not may_save:
        raise invalid("This session has no box to keep the card.", param="saved_payment_method_options")
    plan = stripe.store.get("_intentions", row["id"]) or {}
    stripe.store.put("_intentions", row["id"], plan | {"saves_card": saves_card})
    if row["automatic_tax"]["enabled"] and row["customer"]:
        tax.locate(stripe, stripe.get("customer", row["customer"]))


def _reckon(stripe: LocalStripe, row: Row, code: str) -> None:
    """What there is to pay, once the page knows the customer's code and address: discount first, then tax."""
    off = 0
    if code:
        if not row["allow_promotion_codes"]:
            raise invalid("This session takes no promotion codes.", param="promotion_code")
        promotion, off = promotions.discount(
            stripe, code, row["amount_subtotal"], row["line_items"]["data"][0]["price"]["product"]
        )
        promotions.redeem(stripe, promotion)
        row["discounts"] = [{"coupon": None, "promotion_code": promotion["id"]}]
    line = row["line_items"]["data"][0]
    behavior = tax.behavior_of(line["price"])
    due = row["amount_subtotal"] - off
    amount = tax.part(due, behavior) if row["automatic_tax"]["enabled"] else 0
    if row["automatic_tax"]["enabled"]:
        row["automatic_tax"]["status"] = "complete"
    row["total_details"] = {"amount_discount": off, "amount_shipping": 0, "amount_tax": amount}
    row["amount_total"] = due + (amount if behavior == "exclusive" else 0)
    line |= {"amount_discount": off, "amount_tax": amount, "amount_total": row["amount_total"]}
    stripe.changed("checkout.session", row)


def _line_item(stripe: LocalStripe, item: Row, mode: str) -> Row:
    price = stripe.get("price", item.get("price", ""))
    if not price["active"]:
        raise invalid("The price specified is inactive. This field only accepts active prices.", param="line_items")
    if (price["type"] == "recurring") != (mode == "subscription"):
        raise invalid(f"You specified `{mode}` mode but passed a {price['type']} price.", param="line_items")
    quantity = item.get("quantity", 1)
    amount = price["unit_amount"] * quantity
    return {
        "id": new_id("li"),
        "object": "item",
        "amount_discount": 0,
        "amount_subtotal": amount,
        "amount_tax": 0,
        "amount_total": amount,
        "adjustable_quantity": None,
        "currency": price["currency"],
        "description": stripe.get("product", price["product"])["name"],
        "metadata": {},
        "price": price,
        "quantity": quantity,
    }


def _complete_payment(stripe: LocalStripe, row: Row, outcome: Outcome) -> None:
    if outcome is Outcome.ABANDON:
        return
    if not row["amount_total"]:  # a code took it all off: there is no payment
        row |= {"status": "complete", "url": None, "payment_status": "no_payment_required"}
        stripe.changed("checkout.session", row)
        stripe.emit("checkout.session.completed", row)
        return
    intent = _intent(stripe, row)
    if outcome is Outcome.DECLINED:
        payments.fail(stripe, intent)
        raise declined(payments.DECLINED, payment_intent=intent)
    row |= {"status": "complete", "url": None}
    if outcome is Outcome.SUCCESS:
        payments.succeed(stripe, intent)
        row["payment_status"] = "paid"
        _invoice(stripe, row, intent)
    else:
        payments.process(stripe, intent)
        plan = stripe.store.get("_intentions", row["id"]) or {}
        stripe.store.put("_intentions", row["id"], plan | {"settles": outcome})
        stripe.at(stripe.timestamp() + payments.DELAY_S, "settle_session", row["id"])
    stripe.changed("checkout.session", row)
    stripe.emit("checkout.session.completed", row)


def _invoice(stripe: LocalStripe, row: Row, intent: Row) -> None:
    if (row["invoice_creation"] or {}).get("enabled"):
        row["invoice"] = invoices.for_checkout(stripe, row, intent)["id"]


def _complete_subscription(stripe: LocalStripe, row: Row, outcome: Outcome) -> None:
    if outcome is Outcome.ABANDON:
        return
    if outcome is Outcome.DECLINED:
        raise declined(payments.DECLINED)
    if outcome is not Outcome.SUCCESS:
        raise StripeApiError(400, "invalid_request_error", "Delayed methods are for one-time payments here.")
    customer = stripe.get("customer", row["customer"])
    card = card_of(stripe, customer, saves=True)
    data = (stripe.store.get("_intentions", row["id"]) or {}).get("subscription", {})
    subscription = subscriptions.start(
        stripe,
        customer,
        card,
        [(line["price"], line["quantity"]) for line in row["line_items"]["data"]],
        data.get("metadata", {}),
        trial_days=data.get("trial_period_days", 0),
        discounts=[{"promotion_code": each["promotion_code"]} for each in row["discounts"] or []],
        is_taxed=row["automatic_tax"]["enabled"],
    )
    row |= {
        "status": "complete",
        "url": None,
        "payment_status": "paid" if row["amount_total"] else "no_payment_required",
        "subscription": subscription["id"],
        "invoice": subscription["latest_invoice"],
    }
    stripe.changed("checkout.session", row)
    stripe.emit("checkout.session.completed", row)


def _intent(stripe: LocalStripe, row: Row) -> Row:
    """The session's payment intent, made at the first try to pay."""
    if row["payment_intent"]:
        return stripe.get("payment_intent", row["payment_intent"])
    plan = stripe.store.get("_intentions", row["id"]) or {}
    metadata = plan.get("payment_intent", {}).get("metadata", {})
    customer = stripe.get("customer", row["customer"])
    fields = plan.get("payment_intent", {}).get("setup_future_usage")
    saves = fields or ("off_session" if plan.get("saves_card") else None)
    intent = payments.open_intent(stripe, customer, row["amount_total"], row["currency"], metadata, saves=saves)
    row["payment_intent"] = intent["id"]
    stripe.changed("checkout.session", row)
    return intent


_COMPLETIONS = {"payment": _complete_payment, "subscription": _complete_subscription}
