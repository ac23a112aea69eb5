"""Getting a subscription's invoice paid: at once, or after the bank has said no, a few times more."""

from typing import Any

from sandbox.local_stripe import payments
from sandbox.local_stripe.core import LocalStripe, route, timer
from sandbox.local_stripe.errors import declined, invalid

Row = dict[str, Any]

# Stripe's own default leaves the rhythm to its learning; this is the schedule that it offers beside it.
RETRY_AFTER_DAYS = (3, 5, 7)
DAY_S = 86_400
DECLINES = "_declines"  # the customers whose card is refused from now on


def set_declines(stripe: LocalStripe, customer_id: str, *, is_on: bool, needs_action: bool = False) -> None:
    """From now on this customer's card is refused, wants its owner (3-D Secure), or is taken again."""
    with stripe.lock:
        stripe.get("customer", customer_id)
        stripe.store.put(DECLINES, customer_id, {"is_on": is_on or needs_action, "needs_action": needs_action})
        stripe.store.save()


def refusal(stripe: LocalStripe, customer_id: str) -> str:
    """Why this customer's card is refused while they are not there; empty when it is taken."""
    found = stripe.store.get(DECLINES, customer_id) or {}
    return ("authentication_required" if found.get("needs_action") else "card_declined") if found.get("is_on") else ""


def void(stripe: LocalStripe, bill: Row) -> None:
    """An invoice that nobody need pay: its subscription is paused."""
    bill |= {"status": "void", "auto_advance": False}
    bill["status_transitions"] |= {"voided_at": stripe.timestamp()}
    stripe.changed("invoice", bill)
    stripe.emit("invoice.voided", bill)


def pay(stripe: LocalStripe, row: Row) -> bool:
    """Collect a subscription's latest invoice with the customer's card; whether it was paid."""
    bill = stripe.get("invoice", row["latest_invoice"])
    if not bill["amount_due"]:
        _settle(stripe, bill, row)  # nothing to pay: what is over is the customer's credit at Stripe
        return True
    intent = payments.open_intent(
        stripe, stripe.get("customer", row["customer"]), bill["amount_due"], bill["currency"], {}
    )
    attempt = stripe.new(
        "invoice_payment",
        "inpay",
        invoice=bill["id"],
        amount_requested=bill["amount_due"],
        currency=bill["currency"],
        is_default=True,
        payment={"type": "payment_intent", "payment_intent": intent["id"]},
        status="open",
        status_transitions={"canceled_at": None, "paid_at": None},
    )
    if why := refusal(stripe, row["customer"]):
        payments.fail(stripe, intent, why)
        if why == "authentication_required":
            stripe.emit("invoice.payment_action_required", bill)
        _fail(stripe, bill, row)
        return False
    payments.succeed(stripe, intent)
    attempt |= {"status": "paid", "amount_paid": bill["amount_due"]}
    attempt["status_transitions"] |= {"paid_at": stripe.timestamp()}
    stripe.changed("invoice_payment", attempt)
    _settle(stripe, bill, row)
    return True


@route("POST", "/v1/invoices/{invoice_id}/pay", "InvoicePayParams")
def pay_invoice(stripe: LocalStripe, values: Row, invoice_id: str) -> Row:
    bill = stripe.get("invoice", invoice_id)
    if bill["status"] != "open":
        raise invalid(f"Invoice is {bill['status']}: it cannot be paid.", code="invoice_not_editable")
    row = stripe.get("subscription", bill["parent"]["subscription_details"]["subscription"])
    if not pay(stripe, row):
        raise declined(payments.DECLINED)
    return stripe.get("invoice", invoice_id)


def pay_on_page(stripe: LocalStripe, invoice_id: str) -> None:
    """The customer pays an open invoice on its own page, with a card that works from then on."""
    with stripe.lock:
        bill = stripe.get("invoice", invoice_id)
        set_declines(stripe, bill["customer"], is_on=False)
        pay_invoice(stripe, {}, invoice_id)
        stripe.store.save()


@timer("retry_invoice")
def _retry(stripe: LocalStripe, invoice_id: str) -> None:
    bill = stripe.get("invoice", invoice_id)
    row = stripe.get("subscription", bill["parent"]["subscription_details"]["subscription"])
    if bill["status"] == "open" and row["status"] != "canceled":
        pay(stripe, row)


def _settle(stripe: LocalStripe, bill: Row, row: Row) -> None:
    bill |= {
        "status": "paid",
        "amount_paid": bill["amount_due"],
        "amount_remaining": 0,
        "attempt_count": bill["attempt_count"] + 1,
        "attempted": True,
        "auto_advance": False,
        "next_payment_attempt": None,
        "status_transitions": bill["status_transitions"] | {"paid_at": stripe.timestamp()},
    }
    stripe.changed("invoice", bill)
    stripe.emit("invoice.paid", bill)
    stripe.emit("invoice.payment_succeeded", bill)
    _stand(stripe, row, "active")


def _fail(stripe: LocalStripe, bill: Row, row: Row) -> None:
    """The bank said no: try again later; after the last time the subscription ends."""
    tries = bill["attempt_count"]
    next_at = stripe.timestamp() + RETRY_AFTER_DAYS[tries] * DAY_S if tries < len(RETRY_AFTER_DAYS) else None
    bill |= {"attempt_count": tries + 1, "attempted": True, "next_payment_attempt": next_at}
    stripe.changed("invoice", bill)
    stripe.emit("invoice.payment_failed", bill)
    if next_at is not None:
        stripe.at(next_at, "retry_invoice", bill["id"])
        _stand(stripe, row, "past_due")
        return
    from sandbox.local_stripe import subscriptions  # which begins and renews what is collected here

    subscriptions.cancel_subscription(stripe, {}, row["id"])


def _stand(stripe: LocalStripe, row: Row, status: str) -> None:
    if row["status"] not in (status, "trialing", "canceled"):
        previous = {"status": row["status"]}
        row["status"] = status
        stripe.changed("subscription", row)
        stripe.emit("customer.subscription.updated", row, previous)
