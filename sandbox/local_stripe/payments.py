"""Payment intents and the charges that carry them out."""

from common.json_types import JsonObject
from sandbox.local_stripe import declines
from sandbox.local_stripe.core import LocalStripe, route, timer
from sandbox.local_stripe.customers import card_of
from sandbox.local_stripe.errors import declined, invalid
from sandbox.local_stripe.store import new_id

Row = JsonObject

DELAY_S = 5  # a delayed payment arrives so much later; real ones take days
DECLINED = "Your card was declined."
WANTS_OWNER = "Your card was declined. This transaction requires authentication."


@route("GET", "/v1/payment_intents", "PaymentIntentListParams")
def list_payment_intents(stripe: LocalStripe, values: Row) -> Row:
    return stripe.listed("payment_intent", values, by=("customer",))


@route("GET", "/v1/payment_intents/{payment_intent_id}")
def payment_intent(stripe: LocalStripe, values: Row, payment_intent_id: str) -> Row:
    return stripe.get("payment_intent", payment_intent_id)


@route("POST", "/v1/payment_intents", "PaymentIntentCreateParams")
def create_payment_intent(stripe: LocalStripe, values: Row) -> Row:
    if values.get("amount", 0) <= 0:
        raise invalid("This value must be greater than or equal to 1.", param="amount")
    if values.get("confirm"):
        _check_return_url(values)
    customer = stripe.get("customer", values.get("customer", ""))
    intent = open_intent(
        stripe, customer, values["amount"], values["currency"], values.get("metadata") or {},
        saves=values.get("setup_future_usage"),
    )  # fmt: skip
    intent["description"] = values.get("description")
    _take_tax(stripe, intent, values.get("hooks"))
    stripe.changed("payment_intent", intent)
    if values.get("confirm"):
        confirm(stripe, intent["id"], payment_method=values.get("payment_method"), is_there=False)
    return intent


@route("POST", "/v1/payment_intents/{payment_intent_id}", "PaymentIntentModifyParams")
def update_payment_intent(stripe: LocalStripe, values: Row, payment_intent_id: str) -> Row:
    intent = stripe.get("payment_intent", payment_intent_id)
    if intent["status"] not in ("requires_payment_method", "requires_confirmation", "requires_action"):
        raise invalid(f"This PaymentIntent's status is {intent['status']}: it cannot be changed.")
    _take_tax(stripe, intent, values.pop("hooks", None))
    intent |= values
    return stripe.changed("payment_intent", intent)


@route("POST", "/v1/payment_intents/{payment_intent_id}/confirm", "PaymentIntentConfirmParams")
def confirm_payment_intent(stripe: LocalStripe, values: Row, payment_intent_id: str) -> Row:
    """With the customer there (docs.stripe.com/testing: `pm_card_visa` and others stand for what they would type)."""
    _check_return_url({"automatic_payment_methods": {"enabled": True}, **values})
    outcome = "declined" if values.get("payment_method") == "pm_card_visa_chargeDeclined" else ""
    return confirm(stripe, payment_intent_id, is_there=True, outcome=outcome)


def _check_return_url(values: Row) -> None:
    """docs.stripe.com/api/payment_intents/create: a method that redirects needs somewhere to come back to."""
    automatic = values.get("automatic_payment_methods") or {}
    may_redirect = automatic.get("enabled") and automatic.get("allow_redirects", "always") == "always"
    if may_redirect and not values.get("return_url"):
        raise invalid(
            "This PaymentIntent is configured to accept payment methods enabled in your Dashboard. Because some of "
            "these payment methods might redirect your customer off of your page, you must provide a `return_url`.",
            param="return_url",
        )


def _take_tax(stripe: LocalStripe, intent: Row, hooks: Row | None) -> None:
    """A tax calculation may belong to a payment, whose amount is then the calculation's total."""
    if not hooks:
        return
    calculation = stripe.get("tax.calculation", hooks["inputs"]["tax"]["calculation"])
    intent["hooks"] = {"inputs": {"tax": {"calculation": calculation["id"]}}}


@route("POST", "/v1/payment_intents/{payment_intent_id}/cancel", "PaymentIntentCancelParams")
def cancel_payment_intent(stripe: LocalStripe, values: Row, payment_intent_id: str) -> Row:
    intent = stripe.get("payment_intent", payment_intent_id)
    if intent["status"] in ("succeeded", "canceled"):
        raise invalid(f"You cannot cancel this PaymentIntent because it has a status of {intent['status']}.")
    intent |= {"status": "canceled", "canceled_at": stripe.timestamp()}
    stripe.changed("payment_intent", intent)
    stripe.emit("payment_intent.canceled", intent)
    return intent


def confirm(
    stripe: LocalStripe, payment_intent_id: str, *, payment_method: str | None = None, is_there: bool, outcome: str = ""
) -> Row:
    """Try to pay an intent, with its customer at the page or without. Raises the card error of a refusal."""
    intent = stripe.get("payment_intent", payment_intent_id)
    if intent["status"] not in ("requires_payment_method", "requires_confirmation", "requires_action"):
        raise invalid(f"You cannot confirm this PaymentIntent because it has a status of {intent['status']}.")
    if not is_there and stripe.get("payment_method", payment_method or "")["customer"] != intent["customer"]:
        raise invalid("The payment method does not belong to the customer.", param="payment_method")
    why = "card_declined" if outcome == "declined" else "" if is_there else declines.refusal(stripe, intent["customer"])
    if why:
        fail(stripe, intent, why)
        raise declined(intent["last_payment_error"]["message"], payment_intent=intent, code=why)
    if outcome in ("delayed_success", "delayed_failure"):
        process(stripe, intent)
        stripe.store.put("_intentions", intent["id"], {"settles": outcome})
        stripe.at(stripe.timestamp() + DELAY_S, "settle_intent", intent["id"])
        return intent
    succeed(stripe, intent)
    return intent


@timer("settle_intent")
def _settle(stripe: LocalStripe, payment_intent_id: str) -> None:
    """The delayed payment's answer arrives."""
    intent = stripe.get("payment_intent", payment_intent_id)
    plan = stripe.store.get("_intentions", payment_intent_id) or {}
    if plan.get("settles") == "delayed_success":
        succeed(stripe, intent)
    else:
        fail(stripe, intent)


@route("GET", "/v1/payment_method_configurations", "PaymentMethodConfigurationListParams")
def list_ways_to_pay(stripe: LocalStripe, values: Row) -> Row:
    """Which ways to pay the account has switched on."""
    on = {"available": True, "display_preference": {"overridable": None, "preference": "on", "value": "on"}}
    row = {
        "id": "pmc_sandbox",
        "object": "payment_method_configuration",
        "active": True,
        "application": None,
        "card": on,
        "ideal": on,
        "is_default": True,
        "livemode": False,
        "name": "Default",
        "parent": None,
    }
    return {"object": "list", "url": "/v1/payment_method_configurations", "has_more": False, "data": [row]}


@route("GET", "/v1/balance_transactions", "BalanceTransactionListParams")
def list_balance_transactions(stripe: LocalStripe, values: Row) -> Row:
    """The sandbox keeps no balance."""
    return stripe.listed("balance_transaction", values)


@route("GET", "/v1/charges", "ChargeListParams")
def list_charges(stripe: LocalStripe, values: Row) -> Row:
    return stripe.listed("charge", values, by=("customer", "payment_intent"))


@route("GET", "/v1/charges/{charge_id}")
def charge(stripe: LocalStripe, values: Row, charge_id: str) -> Row:
    return stripe.get("charge", charge_id)


def open_intent(
    stripe: LocalStripe,
    customer: Row,
    amount: int,
    currency: str,
    metadata: dict[str, str],
    *,
    saves: str | None = None,
) -> Row:
    """A payment that waits to be made; `saves` is its `setup_future_usage`."""
    identifier = new_id("pi")
    intent = stripe.new(
        "payment_intent",
        "pi",
        id=identifier,
        amount=amount,
        amount_capturable=0,
        amount_received=0,
        currency=currency,
        customer=customer["id"],
        metadata=metadata,
        status="requires_payment_method",
        capture_method="automatic_async",
        confirmation_method="automatic",
        client_secret=f"{identifier}_secret_{new_id('x')[2:]}",
        payment_method_types=["card", "ideal"],
        setup_future_usage=saves,
    )
    stripe.emit("payment_intent.created", intent)
    return intent


def succeed(stripe: LocalStripe, intent: Row) -> Row:
    """The money arrives: a charge is made and the intent succeeds."""
    customer = stripe.get("customer", intent["customer"])
    card = card_of(stripe, customer, saves=bool(intent["setup_future_usage"]))
    created = _charge(stripe, intent, card, status="succeeded")
    intent |= {
        "status": "succeeded",
        "amount_received": intent["amount"],
        "latest_charge": created["id"],
        "payment_method": card["id"],
        "last_payment_error": None,
        "next_action": None,
    }
    stripe.changed("payment_intent", intent)
    stripe.emit("charge.succeeded", created)
    stripe.emit("payment_intent.succeeded", intent)
    stripe.react("intent_paid", intent)
    return created


def ask_owner(stripe: LocalStripe, intent: Row) -> None:
    """The bank wants to hear from the card's owner (3-D Secure): the payment waits for that."""
    intent |= {
        "status": "requires_action",
        "payment_method": card_of(stripe, stripe.get("customer", intent["customer"]), saves=False)["id"],
        "next_action": {"type": "use_stripe_sdk", "use_stripe_sdk": {"type": "three_d_secure_redirect"}},
    }
    stripe.changed("payment_intent", intent)
    stripe.emit("payment_intent.requires_action", intent)


def fail(stripe: LocalStripe, intent: Row, why: str = "card_declined") -> None:
    """The bank says no; the intent waits for another card."""
    intent |= {
        "status": "requires_payment_method",
        "last_payment_error": {
            "type": "card_error",
            "code": why,
            "decline_code": "generic_decline" if why == "card_declined" else why,
            "message": WANTS_OWNER if why == "authentication_required" else DECLINED,
        },
    }
    stripe.changed("payment_intent", intent)
    stripe.emit("payment_intent.payment_failed", intent)


def process(stripe: LocalStripe, intent: Row) -> None:
    """A delayed method (a bank transfer, SEPA): the answer comes later."""
    intent |= {"status": "processing"}
    stripe.changed("payment_intent", intent)
    stripe.emit("payment_intent.processing", intent)


def _charge(stripe: LocalStripe, intent: Row, card: Row, *, status: str) -> Row:
    identifier = new_id("ch")
    return stripe.new(
        "charge",
        "ch",
        id=identifier,
        amount=intent["amount"],
        amount_captured=intent["amount"],
        amount_refunded=0,
        currency=intent["currency"],
        customer=intent["customer"],
        payment_intent=intent["id"],
        payment_method=card["id"],
        payment_method_details={"type": "card", "card": {**_card_details(card)}},
        billing_details=card["billing_details"],
        metadata=dict(intent["metadata"]),
        captured=True,
        paid=status == "succeeded",
        status=status,
        disputed=False,
        refunded=False,
        receipt_url=f"{stripe.public_url}/receipts/{identifier}",
        refunds={"object": "list", "data": [], "has_more": False, "url": f"/v1/charges/{identifier}/refunds"},
    )


def _card_details(card: Row) -> Row:
    shared = ("brand", "country", "exp_month", "exp_year", "fingerprint", "funding", "last4", "checks")
    return {name: card["card"][name] for name in shared}
