"""Getting a subscription's invoice paid: at once, or after the bank has said no, a few times more."""

from common.json_types import JsonObject
from sandbox.local_stripe import declines, invoices, payments
from sandbox.local_stripe.core import LocalStripe, reaction, route, timer
from sandbox.local_stripe.errors import declined, invalid
from sandbox.local_stripe.periods import DAY_S

Row = JsonObject

# Stripe's own default leaves the rhythm to its learning; this is the schedule that it offers beside it.
RETRY_AFTER_DAYS = (3, 5, 7)
DEBIT_S = 5 * DAY_S


def pay(stripe: LocalStripe, bill: Row, *, is_part_of_a_change: bool = False, is_there: bool = False) -> bool:
    """Collect an invoice with the customer's card, who may be there; whether it was paid.

    A change that waits for its payment (a pending update) is not tried again, and leaves the subscription as it is.
    """
    if not bill["amount_due"]:
        _settle(stripe, bill)  # nothing to pay: what is over is the customer's credit at Stripe
        return True
    intent = _intent_of(stripe, bill)
    if not is_there and declines.is_slow(stripe, bill["customer"]):
        _wait_for_the_bank(stripe, bill, intent)
        return False
    why = "" if is_there else declines.refusal(stripe, bill["customer"])
    if why == "authentication_required":
        payments.ask_owner(stripe, intent)
        stripe.emit("invoice.payment_action_required", bill)
        _fail(stripe, bill, is_tried_again=not is_part_of_a_change)
        return False
    if why:
        payments.fail(stripe, intent, why)
        _fail(stripe, bill, is_tried_again=not is_part_of_a_change)
        return False
    payments.succeed(stripe, intent)
    return True


def _wait_for_the_bank(stripe: LocalStripe, bill: Row, intent: Row) -> None:
    """A debit is under way: the invoice is open and was attempted, and nothing has failed."""
    payments.process(stripe, intent)
    stripe.store.put("_intentions", intent["id"], {"settles": "delayed_success"})
    stripe.at(stripe.timestamp() + DEBIT_S, "settle_intent", intent["id"])
    bill |= {"attempt_count": bill["attempt_count"] + 1, "attempted": True}
    stripe.changed("invoice", bill)
    stripe.emit("invoice.updated", bill)


@reaction("intent_paid")
def intent_paid(stripe: LocalStripe, intent: Row) -> None:
    """A payment arrived: the invoice that it is for, if any, is paid."""
    for attempt in stripe.store.all("invoice_payment"):
        if attempt["payment"]["payment_intent"] == intent["id"] and attempt["status"] == "open":
            bill = stripe.get("invoice", attempt["invoice"])
            attempt |= {"status": "paid", "amount_paid": bill["amount_due"]}
            attempt["status_transitions"] |= {"paid_at": stripe.timestamp()}
            stripe.changed("invoice_payment", attempt)
            _settle(stripe, bill)


@route("POST", "/v1/invoices/{invoice_id}/pay", "InvoicePayParams")
def pay_invoice(stripe: LocalStripe, values: Row, invoice_id: str) -> Row:
    bill = stripe.get("invoice", invoice_id)
    if bill["status"] == "paid":
        raise invalid("Invoice is already paid", code="invoice_already_paid")
    if bill["status"] == "draft":
        invoices.finalize(stripe, bill)
    if bill["status"] != "open":
        raise invalid(f"Invoice is {bill['status']}: it cannot be paid.", code="invoice_not_editable")
    if not pay(stripe, bill):
        why = declines.refusal(stripe, bill["customer"])
        code = "invoice_payment_intent_requires_action" if why == "authentication_required" else why
        raise declined(payments.DECLINED, code=code)
    return bill


def pay_on_page(stripe: LocalStripe, invoice_id: str) -> None:
    """The customer pays an open invoice on its own page, with a card that works from then on."""
    with stripe.lock:
        bill = stripe.get("invoice", invoice_id)
        if bill["status"] != "open":
            raise invalid(f"Invoice is {bill['status']}: it cannot be paid.", code="invoice_not_editable")
        declines.set_declines(stripe, bill["customer"], is_on=False)
        pay(stripe, bill, is_there=True)
        stripe.store.save()


@timer("collect_invoice")
def _collect(stripe: LocalStripe, invoice_id: str) -> None:
    """An invoice that was finalised by itself is charged."""
    bill = stripe.get("invoice", invoice_id)
    if bill["status"] == "open" and not bill["attempted"] and _is_of_a_running_plan(stripe, bill):
        pay(stripe, bill)


@timer("retry_invoice")
def _retry(stripe: LocalStripe, invoice_id: str) -> None:
    bill = stripe.get("invoice", invoice_id)
    if bill["status"] == "open" and _is_of_a_running_plan(stripe, bill):
        pay(stripe, bill)


def _is_of_a_running_plan(stripe: LocalStripe, bill: Row) -> bool:
    row = stripe.store.get("subscription", invoices.subscription_id(bill) or "")
    return row is not None and row["status"] != "canceled"


def _intent_of(stripe: LocalStripe, bill: Row) -> Row:
    """The payment of an invoice, made at the first try (docs.stripe.com/api/invoices/object: `payments`)."""
    for known in stripe.store.all("invoice_payment"):
        if known["invoice"] == bill["id"] and known["status"] == "open":
            return stripe.get("payment_intent", known["payment"]["payment_intent"])
    intent = payments.open_intent(
        stripe, stripe.get("customer", bill["customer"]), bill["amount_due"], bill["currency"], {},
        saves="off_session",
    )  # fmt: skip
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
    listed = {"object": "list", "has_more": False, "url": f"/v1/invoice_payments?invoice={bill['id']}"}
    bill["payments"] = {**listed, "data": [attempt]}
    bill["confirmation_secret"] = {"client_secret": intent["client_secret"], "type": "payment_intent"}
    stripe.changed("invoice", bill)
    return intent


def _settle(stripe: LocalStripe, bill: Row) -> None:
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
    stripe.react("invoice_paid", bill)
    _stand(stripe, bill, "active")


def _fail(stripe: LocalStripe, bill: Row, *, is_tried_again: bool) -> None:
    """The bank said no: try again later; after the last time the subscription ends."""
    tries = bill["attempt_count"]
    may_retry = is_tried_again and tries < len(RETRY_AFTER_DAYS)
    next_at = stripe.timestamp() + RETRY_AFTER_DAYS[tries] * DAY_S if may_retry else None
    bill |= {"attempt_count": tries + 1, "attempted": True, "next_payment_attempt": next_at}
    stripe.changed("invoice", bill)
    stripe.emit("invoice.payment_failed", bill)
    if not is_tried_again:
        return
    if next_at is not None:
        stripe.at(next_at, "retry_invoice", bill["id"])
        _stand(stripe, bill, "past_due")
        return
    stripe.react("invoice_given_up", bill)


def _stand(stripe: LocalStripe, bill: Row, status: str) -> None:
    row = stripe.store.get("subscription", invoices.subscription_id(bill) or "")
    if row is not None and row["status"] not in (status, "trialing", "canceled"):
        previous = {"status": row["status"]}
        row["status"] = status
        stripe.changed("subscription", row)
        stripe.emit("customer.subscription.updated", row, previous)
