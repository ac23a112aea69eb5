"""The pages that Stripe would host: checkout, the billing portal, invoices; and the sandbox's own control page."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.template import Context, Engine

from common.json_types import JsonObject
from sandbox.local_stripe import checkout, events, payments, subscriptions
from sandbox.local_stripe.core import LocalStripe
from sandbox.local_stripe.errors import StripeApiError, invalid
from sandbox.local_stripe.portal import may_switch_to

Row = JsonObject

HERE = Path(__file__).parent
STYLESHEET = (HERE / "templates" / "hosted.css").read_text()
SCRIPT = (HERE / "templates" / "stripe.js").read_text()
_engine = Engine(dirs=[str(HERE / "templates")], autoescape=True)

# What the customer can choose on the hosted page, and how the visit ends with it.
METHODS = {
    "success": ("Card 4242 4242 4242 4242", "the payment succeeds"),
    "declined": ("Card 4000 0000 0000 0002", "the bank declines it"),
    "delayed_success": ("Bank transfer", "arrives some seconds later"),
    "delayed_failure": ("Bank transfer without funds", "fails some seconds later"),
}
RECENT_EVENTS = 50


def render(template: str, **values: Any) -> str:
    """A page of the local Stripe as HTML."""
    return _engine.get_template(template).render(Context(values, use_l10n=False, use_tz=False))


def checkout_page(stripe: LocalStripe, session_id: str, *, error: str = "") -> str:
    """The hosted payment page of a session, whatever state that is in."""
    row = stripe.get("checkout.session", session_id)
    lines = [
        {
            "name": line["description"],
            "quantity": line["quantity"],
            "price": money(line["amount_total"], row["currency"]),
        }
        for line in row["line_items"]["data"]
    ]
    first = row["line_items"]["data"][0]["price"]["recurring"]
    methods = [
        {"outcome": outcome, "name": name, "note": note, "is_first": outcome == "success"}
        for outcome, (name, note) in METHODS.items()
        if row["mode"] == "payment" or not outcome.startswith("delayed")
    ]
    return render(
        "checkout.html",
        session=row,
        lines=lines,
        total=money(row["amount_total"], row["currency"]),
        interval=first["interval"] if first else "",
        methods=methods,
        error=error,
    )


def pay(stripe: LocalStripe, session_id: str, form: dict[str, str]) -> tuple[str, str]:
    """Carry out what the customer chose: where to go next, or the page again with what went wrong."""
    row, outcome = stripe.get("checkout.session", session_id), form.get("outcome", "")
    try:
        checkout.complete(
            stripe,
            session_id,
            checkout.Outcome(outcome),
            promotion_code=form.get("promotion_code", ""),
            saves_card=form.get("saves_card") == "on",
        )
    except StripeApiError as error:
        return "", checkout_page(stripe, session_id, error=str(error))
    if outcome == checkout.Outcome.ABANDON:
        return row["cancel_url"] or row["success_url"], ""
    return row["success_url"].replace("{CHECKOUT_SESSION_ID}", session_id), ""


def confirm(stripe: LocalStripe, payment_intent_id: str, form: dict[str, str]) -> str:
    """Pay an intent from the stand-in for Elements; where the browser goes next."""
    intent = stripe.get("payment_intent", payment_intent_id)
    if form.get("client_secret") != intent["client_secret"]:
        raise invalid("The client_secret provided does not match the PaymentIntent.", param="client_secret")
    status = "succeeded"
    with stripe.lock:
        try:
            payments.confirm(stripe, payment_intent_id, is_there=True, outcome=form.get("outcome", ""))
        except StripeApiError:
            status = "failed"
        stripe.store.save()
    back, joint = form["return_url"], "&" if "?" in form["return_url"] else "?"
    return f"{back}{joint}payment_intent={payment_intent_id}&redirect_status={status}"


def bank_page(stripe: LocalStripe, payment_intent_id: str, back: str) -> str:
    """Where the customer's bank asks whether it is really them."""
    intent = stripe.get("payment_intent", payment_intent_id)
    return render("bank.html", intent=intent, total=money(intent["amount"], intent["currency"]), back=back)


def answer_bank(stripe: LocalStripe, payment_intent_id: str, form: dict[str, str]) -> str:
    """The customer says yes or no to their bank; where the browser goes next."""
    with stripe.lock:
        intent = stripe.get("payment_intent", payment_intent_id)
        if intent["status"] == "requires_action":
            if form.get("answer") == "yes":
                payments.succeed(stripe, intent)
            else:
                payments.fail(stripe, intent, "payment_intent_authentication_failure")
        stripe.store.save()
        return form["back"]


def portal_page(stripe: LocalStripe, portal_id: str) -> str:
    """Where the customer sees what they pay for, and stops or resumes it."""
    portal = stripe.get("billing_portal.session", portal_id)
    rows = [row for row in stripe.store.all("subscription") if row["customer"] == portal["customer"]]
    offered = may_switch_to(stripe, portal)
    return render(
        "portal.html",
        portal=portal,
        customer=stripe.get("customer", portal["customer"]),
        subscriptions=[_subscription(stripe, row, offered) for row in reversed(rows)],
        invoices=[_invoice(row) for row in reversed(list(stripe.store.all("invoice"))) if _is_of(row, portal)],
    )


def change_subscription(stripe: LocalStripe, subscription_id: str, action: str, price_id: str = "") -> None:
    """What somebody does in Stripe's dashboard: it bills each change at once, whatever the portal's settings say."""
    with stripe.lock:
        if action == "cancel_now":
            subscriptions.cancel_subscription(stripe, {}, subscription_id)
        elif action == "switch":
            item = stripe.get("subscription", subscription_id)["items"]["data"][0]
            change = {"items": [{"id": item["id"], "price": price_id}], "proration_behavior": "always_invoice"}
            subscriptions.update_subscription(stripe, change, subscription_id)
        else:
            ends = {"cancel": "min_period_end", "resume": ""}[action]
            subscriptions.update_subscription(stripe, {"cancel_at": ends}, subscription_id)
        stripe.store.save()


def invoice_page(stripe: LocalStripe, invoice_id: str) -> str:
    """One invoice, to look at or to print."""
    row = stripe.get("invoice", invoice_id)
    lines = [
        {"name": line["description"], "price": money(line["amount"], row["currency"])} for line in row["lines"]["data"]
    ]
    return render("invoice.html", invoice=_invoice(row), lines=lines, customer_email=row["customer_email"])


def receipt_page(stripe: LocalStripe, charge_id: str) -> str:
    """The receipt of one payment."""
    row = stripe.get("charge", charge_id)
    return render("receipt.html", charge=row, total=money(row["amount"], row["currency"]), at=_time(row["created"]))


def control_page(stripe: LocalStripe) -> str:
    """The sandbox's own page: the clock, and the latest events."""
    latest = list(stripe.store.all("event"))[-RECENT_EVENTS:]
    return render(
        "control.html",
        now=stripe.clock.now().strftime("%A %d %B %Y, %H:%M UTC"),
        ahead_days=stripe.clock.ahead_s() // 86_400,
        is_held=events.is_held(stripe),
        events=[{"row": row, "at": _time(row["created"])} for row in reversed(latest)],
    )


def money(minor: int, currency: str) -> str:
    """An amount as a Dutch or English reader knows it."""
    return f"{ {'eur': '€', 'usd': '$', 'gbp': '£'}.get(currency, currency.upper()) } {minor // 100}.{minor % 100:02d}"


def _subscription(stripe: LocalStripe, row: Row, offered: set[str]) -> Row:
    item = row["items"]["data"][0]
    others = [stripe.get("price", price) for price in sorted(offered)]
    return {
        "id": row["id"],
        "name": stripe.get("product", item["price"]["product"])["name"],
        "price": money(item["price"]["unit_amount"], item["price"]["currency"]),
        "interval": item["price"]["recurring"]["interval"],
        "is_active": row["status"] != "canceled",
        "is_ending": bool(row["cancel_at"]),
        "until": _time(item["current_period_end"]),
        "others": [_offer(stripe, price) for price in others if _is_other(price, item["price"])],
    }


def _is_other(price: Row, current: Row) -> bool:
    is_alike = price["type"] == "recurring" and price["currency"] == current["currency"]
    return bool(is_alike and price["active"] and price["id"] != current["id"])


def _offer(stripe: LocalStripe, price: Row) -> Row:
    return {
        "id": price["id"],
        "name": stripe.get("product", price["product"])["name"],
        "price": money(price["unit_amount"], price["currency"]),
        "interval": price["recurring"]["interval"],
    }


def _invoice(row: Row) -> Row:
    return {
        "id": row["id"],
        "number": row["number"],
        "status": row["status"],
        "total": money(row["total"], row["currency"]),
        "at": _time(row["created"]),
    }


def _is_of(row: Row, portal: Row) -> bool:
    return bool(row["customer"] == portal["customer"])


def _time(timestamp: int) -> str:
    return datetime.fromtimestamp(timestamp, UTC).strftime("%d %b %Y, %H:%M")
