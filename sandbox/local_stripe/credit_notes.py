"""Credit notes: an invoice lowered after it was made, by a refund, by the customer's balance, or outside of Stripe.

docs.stripe.com/invoicing/integration/programmatic-credit-notes
"""

from common.json_types import JsonObject
from sandbox.local_stripe import refunds_and_disputes
from sandbox.local_stripe.core import LocalStripe, route
from sandbox.local_stripe.errors import invalid

Row = JsonObject
WAYS = ("refund_amount", "credit_amount", "out_of_band_amount")


@route("GET", "/v1/credit_notes", "CreditNoteListParams")
def list_credit_notes(stripe: LocalStripe, values: Row) -> Row:
    return stripe.listed("credit_note", values, by=("invoice", "customer"))


@route("GET", "/v1/credit_notes/{credit_note_id}")
def credit_note(stripe: LocalStripe, values: Row, credit_note_id: str) -> Row:
    return stripe.get("credit_note", credit_note_id)


@route("POST", "/v1/credit_notes", "CreditNoteCreateParams")
def create_credit_note(stripe: LocalStripe, values: Row) -> Row:
    """Of a paid invoice: where its money goes has to add up to the note."""
    bill = stripe.get("invoice", values["invoice"])
    amount = values.get("amount") or 0
    before = sum(
        row["amount"]
        for row in stripe.store.all("credit_note")
        if row["invoice"] == bill["id"] and row["status"] == "issued"
    )
    if bill["status"] != "paid":
        raise invalid("The local Stripe knows credit notes of paid invoices only.", param="invoice")
    if not 0 < amount <= bill["total"] - before:
        raise invalid(f"The credit note amount {amount} exceeds what is left of the invoice.", param="amount")
    if sum(values.get(name) or 0 for name in WAYS) != amount:
        raise invalid(
            "The sum of credit amount, refund amount and out of band amount must equal the credit note amount."
        )
    refunds = []
    if back := values.get("refund_amount"):
        (paid,) = [row for row in stripe.store.all("invoice_payment") if row["invoice"] == bill["id"]]
        created = refunds_and_disputes.create_refund(
            stripe, {"payment_intent": paid["payment"]["payment_intent"], "amount": back}
        )
        refunds = [{"amount_refunded": back, "refund": created["id"], "type": "refund", "payment_record_refund": None}]
    if credited := values.get("credit_amount"):
        customer = stripe.get("customer", bill["customer"])
        customer["balance"] -= credited
        stripe.changed("customer", customer)
    note = stripe.new(
        "credit_note",
        "cn",
        amount=amount,
        currency=bill["currency"],
        customer=bill["customer"],
        customer_balance_transaction="cbtxn_sandbox" if credited else None,
        discount_amount=0,
        discount_amounts=[],
        effective_at=stripe.timestamp(),
        invoice=bill["id"],
        lines={"object": "list", "data": [], "has_more": False, "url": "/v1/credit_notes/lines"},
        memo=values.get("memo"),
        metadata=values.get("metadata") or {},
        number=f"{bill['number']}-CN",
        out_of_band_amount=values.get("out_of_band_amount"),
        pdf=f"{stripe.public_url}/credit-notes/pdf",
        post_payment_amount=amount,
        pre_payment_amount=0,
        pretax_credit_amounts=[],
        reason=values.get("reason"),
        refunds=refunds,
        status="issued",
        subtotal=amount,
        total=amount,
        type="post_payment",
    )
    _count(stripe, bill, amount)
    stripe.emit("credit_note.created", note)
    return note


@route("POST", "/v1/credit_notes/{credit_note_id}/void", "CreditNoteVoidCreditNoteParams")
def void_credit_note(stripe: LocalStripe, values: Row, credit_note_id: str) -> Row:
    note = stripe.get("credit_note", credit_note_id)
    if note["refunds"] or note["status"] == "void":
        raise invalid("You cannot void this credit note.")
    if note["customer_balance_transaction"]:
        customer = stripe.get("customer", note["customer"])
        customer["balance"] += note["amount"] - (note["out_of_band_amount"] or 0)
        stripe.changed("customer", customer)
    _count(stripe, stripe.get("invoice", note["invoice"]), -note["amount"])
    note |= {"status": "void", "voided_at": stripe.timestamp()}
    stripe.changed("credit_note", note)
    stripe.emit("credit_note.voided", note)
    return note


def _count(stripe: LocalStripe, bill: Row, amount: int) -> None:
    bill["post_payment_credit_notes_amount"] = (bill.get("post_payment_credit_notes_amount") or 0) + amount
    stripe.changed("invoice", bill)
