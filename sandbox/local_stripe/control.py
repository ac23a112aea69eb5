"""`/_sandbox/`: how scripts and tests move the local Stripe. JSON in, JSON out."""

import re
from collections.abc import Callable

from common.json_types import JsonObject
from sandbox.local_stripe import checkout, declines, events, faults, invoice_collection, pages, refunds_and_disputes
from sandbox.local_stripe.core import LocalStripe
from sandbox.local_stripe.errors import StripeApiError, invalid

Row = JsonObject

LONGEST_ADVANCE_S = 3 * 366 * 86_400  # three years; more is a typing mistake
MAX_COPIES = 50


def answer(stripe: LocalStripe, method: str, path: str, values: Row, send: events.Send) -> Row:
    """Carry out one control call. Raises StripeApiError, whose text says what was wrong."""
    for wanted, pattern, handler in _ROUTES:
        match = re.fullmatch(pattern, path)
        if match and method == wanted:
            return handler(stripe, values, send, *match.groups())
    raise invalid(f"There is no {method} /_sandbox/{path}.", status=404)


def _complete(stripe: LocalStripe, values: Row, _send: events.Send, session_id: str) -> Row:
    try:
        outcome = checkout.Outcome(values.get("outcome", ""))
    except ValueError:
        raise invalid(f"outcome must be one of {', '.join(checkout.Outcome)}.", param="outcome") from None
    try:
        checkout.complete(
            stripe,
            session_id,
            outcome,
            promotion_code=values.get("promotion_code", ""),
            saves_card=values.get("saves_card") is True,
        )
    except StripeApiError as error:
        if error.body["error"]["type"] != "card_error":
            raise
        return {"outcome": outcome, "error": error.body["error"]["message"], "status": "open"}
    row = stripe.get("checkout.session", session_id)
    return {"outcome": outcome, "status": row["status"], "payment_status": row["payment_status"]}


def _card(stripe: LocalStripe, values: Row, _send: events.Send, customer_id: str) -> Row:
    if not isinstance(values.get("declines"), bool):
        raise invalid("declines must be true or false.", param="declines")
    how = {name: values.get(name) is True for name in ("needs_action", "is_slow")}
    declines.set_declines(stripe, customer_id, is_on=values["declines"], **how)
    return {"customer": customer_id, "declines": values["declines"]}


def _change(stripe: LocalStripe, values: Row, _send: events.Send, subscription_id: str) -> Row:
    actions = ("cancel", "resume", "cancel_now", "switch")
    if values.get("action") not in actions:
        raise invalid(f"action must be one of {', '.join(actions)}.", param="action")
    pages.change_subscription(stripe, subscription_id, values["action"], values.get("price", ""))
    return {"subscription": subscription_id, "status": stripe.get("subscription", subscription_id)["status"]}


def _pay_invoice(stripe: LocalStripe, _values: Row, _send: events.Send, invoice_id: str) -> Row:
    invoice_collection.pay_on_page(stripe, invoice_id)
    return {"invoice": invoice_id, "status": stripe.get("invoice", invoice_id)["status"]}


def _refund(stripe: LocalStripe, values: Row, _send: events.Send, charge_id: str) -> Row:
    about = {name: values[name] for name in ("amount", "reason") if name in values}
    with stripe.lock:
        created = refunds_and_disputes.create_refund(stripe, {"charge": charge_id, **about})
        stripe.store.save()
    return {"refund": created["id"], "amount": created["amount"]}


def _fail(stripe: LocalStripe, values: Row, _send: events.Send) -> Row:
    with stripe.lock:
        return faults.plan(stripe.store, values)


def _dispute(stripe: LocalStripe, _values: Row, _send: events.Send, charge_id: str) -> Row:
    opened = refunds_and_disputes.open_dispute(stripe, charge_id)
    return {"dispute": opened["id"], "status": opened["status"]}


def _close_dispute(stripe: LocalStripe, values: Row, _send: events.Send, dispute_id: str) -> Row:
    closed = refunds_and_disputes.close_dispute(stripe, dispute_id, values.get("outcome", ""))
    return {"dispute": closed["id"], "status": closed["status"]}


def _advance(stripe: LocalStripe, values: Row, _send: events.Send) -> Row:
    seconds = values.get("seconds")
    if not isinstance(seconds, int) or not 0 <= seconds <= LONGEST_ADVANCE_S:
        raise invalid(f"seconds must be a whole number from 0 to {LONGEST_ADVANCE_S}.", param="seconds")
    stripe.advance(seconds)
    return {"now": stripe.clock.now().isoformat(), "ahead_seconds": stripe.clock.ahead_s()}


def _mode(stripe: LocalStripe, values: Row, _send: events.Send) -> Row:
    if values.get("mode") not in ("deliver", "hold"):
        raise invalid("mode must be deliver or hold.", param="mode")
    events.hold(stripe, is_on=values["mode"] == "hold")
    return {"mode": values["mode"]}


def _flush(stripe: LocalStripe, values: Row, send: events.Send) -> Row:
    copies = values.get("copies", 1)
    if not isinstance(copies, int) or not 1 <= copies <= MAX_COPIES:
        raise invalid(f"copies must be a whole number from 1 to {MAX_COPIES}.", param="copies")
    statuses = events.flush(stripe, send, order=values.get("order", "fifo"), copies=copies, seed=values.get("seed", 0))
    return {"sent": len(statuses), "accepted": sum(1 for status in statuses if status)}


def _list_events(stripe: LocalStripe, _values: Row, _send: events.Send) -> Row:
    return {"data": list(stripe.store.all("event"))}


def _resend(stripe: LocalStripe, _values: Row, _send: events.Send, event_id: str) -> Row:
    events.resend(stripe, event_id)
    return {"queued": event_id}


_ROUTES: list[tuple[str, str, Callable[..., Row]]] = [
    ("POST", r"checkout/(\w+)/complete", _complete),
    ("POST", r"customers/(\w+)/card", _card),
    ("POST", r"subscriptions/(\w+)/change", _change),
    ("POST", r"invoices/(\w+)/pay", _pay_invoice),
    ("POST", r"charges/(\w+)/refund", _refund),
    ("POST", r"charges/(\w+)/dispute", _dispute),
    ("POST", r"faults", _fail),
    ("POST", r"disputes/(\w+)/close", _close_dispute),
    ("POST", r"clock/advance", _advance),
    ("POST", r"webhooks", _mode),
    ("POST", r"webhooks/flush", _flush),
    ("GET", r"events", _list_events),
    ("POST", r"events/(\w+)/resend", _resend),
]
