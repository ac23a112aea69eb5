"""Refunds, and disputes that a customer's bank opens and closes."""

from common.json_types import JsonObject
from sandbox.local_stripe.core import LocalStripe, route
from sandbox.local_stripe.errors import invalid

Row = JsonObject

OUTCOMES = ("won", "lost")


@route("POST", "/v1/refunds", "RefundCreateParams")
def create_refund(stripe: LocalStripe, values: Row) -> Row:
    charge = _charge_of(stripe, values)
    left = charge["amount"] - charge["amount_refunded"]
    amount = values.get("amount", left)
    if amount <= 0 or amount > left:
        raise invalid(f"Refund amount ({amount}) is greater than unrefunded amount on charge ({left}).", param="amount")
    if charge["disputed"]:
        raise invalid(f"Charge {charge['id']} has been charged back; cannot issue a refund.", code="charge_disputed")
    refund = stripe.new(
        "refund",
        "re",
        amount=amount,
        currency=charge["currency"],
        charge=charge["id"],
        payment_intent=charge["payment_intent"],
        reason=values.get("reason"),
        metadata=values.get("metadata", {}),
        status="succeeded",
    )
    charge |= {"amount_refunded": charge["amount_refunded"] + amount}
    charge |= {"refunded": charge["amount_refunded"] == charge["amount"]}
    charge["refunds"]["data"].insert(0, refund)
    stripe.changed("charge", charge)
    stripe.emit("refund.created", refund)
    stripe.emit("charge.refunded", charge)
    return refund


@route("GET", "/v1/refunds", "RefundListParams")
def list_refunds(stripe: LocalStripe, values: Row) -> Row:
    return stripe.listed("refund", values, by=("charge", "payment_intent"))


@route("GET", "/v1/refunds/{refund_id}")
def refund(stripe: LocalStripe, values: Row, refund_id: str) -> Row:
    return stripe.get("refund", refund_id)


@route("GET", "/v1/disputes", "DisputeListParams")
def list_disputes(stripe: LocalStripe, values: Row) -> Row:
    return stripe.listed("dispute", values, by=("charge", "payment_intent"))


@route("GET", "/v1/disputes/{dispute_id}")
def dispute(stripe: LocalStripe, values: Row, dispute_id: str) -> Row:
    return stripe.get("dispute", dispute_id)


def open_dispute(stripe: LocalStripe, charge_id: str) -> Row:
    """The customer tells their bank that they did not buy this: the bank takes the money that is left."""
    with stripe.lock:
        charge = stripe.get("charge", charge_id)
        left = charge["amount"] - charge["amount_refunded"]
        if charge["disputed"] or not left:
            raise invalid(f"Charge {charge_id} cannot be disputed: it is already, or nothing of it is left.")
        opened = stripe.new(
            "dispute",
            "du",
            amount=left,
            currency=charge["currency"],
            charge=charge["id"],
            payment_intent=charge["payment_intent"],
            reason="fraudulent",
            status="needs_response",
            is_charge_refundable=False,
        )
        charge["disputed"] = True
        stripe.changed("charge", charge)
        stripe.emit("charge.dispute.created", opened)
        stripe.emit("charge.dispute.funds_withdrawn", opened)
        stripe.store.save()
        return opened


def close_dispute(stripe: LocalStripe, dispute_id: str, outcome: str) -> Row:
    """The bank decides; when the dispute is won the money comes back."""
    if outcome not in OUTCOMES:
        raise invalid(f"outcome must be one of {', '.join(OUTCOMES)}.", param="outcome")
    with stripe.lock:
        row = stripe.get("dispute", dispute_id)
        if row["status"] in OUTCOMES:
            raise invalid(f"Dispute {dispute_id} is closed already: {row['status']}.")
        row["status"] = outcome
        stripe.changed("dispute", row)
        if outcome == "won":
            stripe.emit("charge.dispute.funds_reinstated", row)
        stripe.emit("charge.dispute.closed", row)
        stripe.store.save()
        return row


def _charge_of(stripe: LocalStripe, values: Row) -> Row:
    if values.get("charge"):
        return stripe.get("charge", values["charge"])
    if values.get("payment_intent"):
        intent = stripe.get("payment_intent", values["payment_intent"])
        if intent["latest_charge"]:
            return stripe.get("charge", intent["latest_charge"])
        raise invalid(f"PaymentIntent {intent['id']} does not have a successful charge to refund.")
    raise invalid("One of the following params should be provided for this request: payment_intent or charge.")
