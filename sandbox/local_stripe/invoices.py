"""Invoices: what a subscription's items cost for a period, less discounts, with tax, and with what is left over.

A renewal's invoice is a draft for an hour, then finalised and collected; one that an API call makes is finalised at
once (docs.stripe.com/billing/invoices/subscription, "Invoice lifecycle"). It shows ten lines; the rest are pages of
`/v1/invoices/{id}/lines` (docs.stripe.com/api/invoice-line-item).
"""

import copy
from dataclasses import dataclass

from common.json_types import JsonObject
from sandbox.local_stripe import promotions, tax
from sandbox.local_stripe.core import LocalStripe, route, timer
from sandbox.local_stripe.errors import invalid
from sandbox.local_stripe.store import new_id

Row = JsonObject

DRAFT_S = 3600  # how long Stripe leaves a renewal's draft for changes
SHOWN_LINES = 10
LINES = "_invoice_lines"  # all lines of an invoice, shown or not


@dataclass(frozen=True, kw_only=True)
class Charged:
    """One thing that an invoice bills: so much of a price, for a period."""

    item: Row
    amount: int
    starts: int
    ends: int
    is_proration: bool = False
    description: str = ""


@route("GET", "/v1/invoices", "InvoiceListParams")
def list_invoices(stripe: LocalStripe, values: Row) -> Row:
    wanted = values.get("subscription")
    return stripe.listed(
        "invoice", values, by=("customer", "status"), where=lambda row: wanted in (None, subscription_id(row))
    )


@route("GET", "/v1/invoices/{invoice_id}")
def invoice(stripe: LocalStripe, values: Row, invoice_id: str) -> Row:
    return stripe.get("invoice", invoice_id)


@route("GET", "/v1/invoices/{invoice_id}/lines", "InvoiceListLinesParams")
def invoice_lines(stripe: LocalStripe, values: Row, invoice_id: str) -> Row:
    stripe.get("invoice", invoice_id)
    rows = all_lines(stripe, invoice_id)
    if after := values.get("starting_after"):
        rows = rows[next((number for number, row in enumerate(rows) if row["id"] == after), len(rows)) + 1 :]
    limit = min(values.get("limit") or SHOWN_LINES, 100)
    return {
        "object": "list", "url": f"/v1/invoices/{invoice_id}/lines", "has_more": len(rows) > limit,
        "data": rows[:limit],
    }  # fmt: skip


@route("GET", "/v1/invoice_payments", "InvoicePaymentListParams")
def list_invoice_payments(stripe: LocalStripe, values: Row) -> Row:
    wanted = (values.get("payment") or {}).get("payment_intent")
    return stripe.listed(
        "invoice_payment",
        values,
        by=("invoice", "status"),
        where=lambda row: wanted is None or row["payment"]["payment_intent"] == wanted,
    )


@route("POST", "/v1/invoices/{invoice_id}/finalize", "InvoiceFinalizeInvoiceParams")
def finalize_invoice(stripe: LocalStripe, values: Row, invoice_id: str) -> Row:
    """A draft becomes open; with `auto_advance` it is collected right after (docs.stripe.com/api/invoices/finalize)."""
    bill = stripe.get("invoice", invoice_id)
    if bill["status"] != "draft":
        raise invalid("This invoice is already finalized, you can't re-finalize a non-draft invoice.")
    finalize(stripe, bill)
    if values.get("auto_advance", bill["auto_advance"]):
        stripe.at(stripe.timestamp() + 1, "collect_invoice", invoice_id)
    return bill


@route("POST", "/v1/invoices/{invoice_id}/void", "InvoiceVoidInvoiceParams")
def void_invoice(stripe: LocalStripe, values: Row, invoice_id: str) -> Row:
    bill = stripe.get("invoice", invoice_id)
    if bill["status"] not in ("open", "uncollectible"):
        raise invalid(f"You can only pass in open invoices. This invoice is {bill['status']}.")
    void(stripe, bill)
    stripe.react("invoice_voided", bill)
    return bill


def subscription_id(bill: Row) -> str | None:
    """The subscription that an invoice bills."""
    details = (bill.get("parent") or {}).get("subscription_details") or {}
    return details.get("subscription")


def all_lines(stripe: LocalStripe, invoice_id: str) -> list[Row]:
    """Every line of an invoice, also those that it does not show."""
    result: list[Row] = (stripe.store.get(LINES, invoice_id) or {}).get("lines", [])
    return result


def make(stripe: LocalStripe, row: Row, reason: str, charged: list[Charged], *, is_draft: bool = False) -> Row:
    """An invoice of a subscription; announced, and finalised unless it is to be a draft."""
    customer, identifier = stripe.get("customer", row["customer"]), new_id("in")
    lines = [_line(stripe, row, identifier, each) for each in charged]
    discounted = promotions.take_off(stripe, row, lines)
    taxes = tax.put_on(stripe, row, lines) if row["automatic_tax"]["enabled"] else []
    stripe.store.put(LINES, identifier, {"lines": lines})
    subtotal = sum(line["amount"] for line in lines)
    off = sum(each["amount"] for each in discounted)
    on_top = sum(each["amount"] for each in taxes if each["tax_behavior"] == "exclusive")
    total = subtotal - off + on_top
    all_tax = sum(each["amount"] for each in taxes)
    ((starts, ends), *_) = [(item["current_period_start"], item["current_period_end"]) for item in row["items"]["data"]]
    created = stripe.new(
        "invoice",
        "in",
        id=identifier,
        account_name="Tegoed sandbox",
        amount_due=max(0, total),
        amount_paid=0,
        amount_remaining=max(0, total),
        attempt_count=0,
        attempted=False,
        auto_advance=True,
        automatic_tax=tax.state(is_on=row["automatic_tax"]["enabled"]),
        billing_reason=reason,
        collection_method="charge_automatically",
        currency=row["currency"],
        customer=customer["id"],
        customer_email=customer["email"],
        customer_name=customer["name"],
        customer_address=customer["address"],
        discounts=[each["discount"] for each in discounted],
        total_discount_amounts=discounted,
        total_taxes=taxes,
        total_excluding_tax=total - all_tax,
        subtotal_excluding_tax=subtotal - all_tax + on_top,
        lines={
            "object": "list",
            "data": lines[:SHOWN_LINES],
            "has_more": len(lines) > SHOWN_LINES,
            "url": f"/v1/invoices/{identifier}/lines",
        },
        metadata={},
        parent={
            "type": "subscription_details",
            "quote_details": None,
            "subscription_details": {"subscription": row["id"], "metadata": dict(row["metadata"])},
        },
        period_start=starts,
        period_end=ends,
        starting_balance=customer["balance"],
        status="draft",
        subtotal=subtotal,
        total=total,
        status_transitions={
            "finalized_at": None, "paid_at": None, "marked_uncollectible_at": None, "voided_at": None,
        },
    )  # fmt: skip
    row["latest_invoice"] = identifier
    stripe.changed("subscription", row)
    stripe.emit("invoice.created", created)
    if is_draft:
        created["automatically_finalizes_at"] = stripe.timestamp() + DRAFT_S
        stripe.at(created["automatically_finalizes_at"], "finalize_invoice", identifier)
    else:
        finalize(stripe, created)
    return created


def finalize(stripe: LocalStripe, bill: Row) -> None:
    """Number an invoice, and let the customer's balance at Stripe pay its part, or grow by what is credited."""
    customer = stripe.get("customer", bill["customer"])
    number = customer["next_invoice_sequence"]
    customer["next_invoice_sequence"] += 1
    before, total = customer["balance"], bill["total"]
    used = min(-before, total) if before < 0 < total else 0
    customer["balance"] = before + used if total > 0 else before + total
    due = max(0, total - used)
    stripe.changed("customer", customer)
    bill |= {
        "status": "open",
        "number": f"{customer['invoice_prefix']}-{number:04d}",
        "hosted_invoice_url": f"{stripe.public_url}/invoices/{bill['id']}",
        "invoice_pdf": f"{stripe.public_url}/invoices/{bill['id']}/pdf",
        "starting_balance": before,
        "ending_balance": customer["balance"],
        "amount_due": due,
        "amount_remaining": due,
        "automatically_finalizes_at": None,
        "effective_at": stripe.timestamp(),
    }
    bill["status_transitions"] |= {"finalized_at": stripe.timestamp()}
    stripe.changed("invoice", bill)
    stripe.emit("invoice.finalized", bill)


def void(stripe: LocalStripe, bill: Row) -> None:
    """An invoice that nobody need pay."""
    bill |= {"status": "void", "auto_advance": False}
    for attempt in stripe.store.all("invoice_payment"):
        if attempt["invoice"] == bill["id"] and attempt["status"] == "open":
            _cancel(stripe, stripe.get("payment_intent", attempt["payment"]["payment_intent"]))
    bill["status_transitions"] |= {"voided_at": stripe.timestamp()}
    stripe.changed("invoice", bill)
    stripe.emit("invoice.voided", bill)


def _cancel(stripe: LocalStripe, intent: Row) -> None:
    """A void invoice's payment cannot be made any more (docs.stripe.com/api/invoices/void)."""
    if intent["status"] not in ("succeeded", "canceled", "processing"):
        intent |= {"status": "canceled", "canceled_at": stripe.timestamp(), "next_action": None}
        stripe.changed("payment_intent", intent)
        stripe.emit("payment_intent.canceled", intent)


@timer("finalize_invoice")
def _finalize_when_due(stripe: LocalStripe, invoice_id: str) -> None:
    bill = stripe.get("invoice", invoice_id)
    if bill["status"] == "draft" and bill["auto_advance"]:
        finalize(stripe, bill)
        stripe.at(stripe.timestamp(), "collect_invoice", invoice_id)


def _line(stripe: LocalStripe, row: Row, invoice_id: str, charged: Charged) -> Row:
    item = charged.item
    product = stripe.get("product", item["price"]["product"])
    return {
        "id": new_id("il"),
        "object": "line_item",
        "amount": charged.amount,
        "currency": row["currency"],
        "description": charged.description or f"{item['quantity']} x {product['name']}",
        "discount_amounts": [],
        "discountable": not charged.is_proration,
        "discounts": [],
        "invoice": invoice_id,
        "livemode": False,
        "metadata": dict(row["metadata"]),
        "parent": {
            "type": "subscription_item_details",
            "invoice_item_details": None,
            "subscription_item_details": {
                "invoice_item": None,
                "proration": charged.is_proration,
                "proration_details": {"credited_items": None},
                "subscription": row["id"],
                "subscription_item": item["id"],
            },
        },
        "period": {"start": charged.starts, "end": charged.ends},
        "pretax_credit_amounts": [],
        "pricing": {
            "type": "price_details",
            "price_details": {"price": item["price"]["id"], "product": item["price"]["product"]},
            "unit_amount_decimal": str(item["price"]["unit_amount"]),
        },
        "quantity": item["quantity"],
        "quantity_decimal": str(item["quantity"]),
        "subtotal": charged.amount,
        "taxes": [],
        "subscription": row["id"],
    }


def for_checkout(stripe: LocalStripe, session: Row, intent: Row) -> Row:
    """The invoice of a paid checkout that asked for one: paid from the start (`invoice_creation`).

    docs.stripe.com/receipts#paid-invoices.
    """
    customer, identifier = stripe.get("customer", session["customer"]), new_id("in")
    rows = session["line_items"]["data"]
    lines = [_line_of_item(stripe, session, each, identifier) for each in rows]
    stripe.store.put(LINES, identifier, {"lines": lines})
    details = session["total_details"]
    created = stripe.new(
        "invoice",
        "in",
        id=identifier,
        account_name="Tegoed sandbox",
        amount_due=session["amount_total"],
        amount_paid=session["amount_total"],
        amount_remaining=0,
        attempt_count=1,
        attempted=True,
        auto_advance=False,
        automatic_tax=tax.state(is_on=session["automatic_tax"]["enabled"]),
        billing_reason="manual",
        collection_method="charge_automatically",
        currency=session["currency"],
        customer=customer["id"],
        customer_email=customer["email"],
        customer_name=customer["name"],
        customer_address=customer["address"],
        discounts=[],
        total_discount_amounts=[],
        total_taxes=[each for line in lines for each in line["taxes"]],
        total_excluding_tax=session["amount_total"] - details["amount_tax"],
        lines={
            "object": "list", "data": lines, "has_more": False, "url": f"/v1/invoices/{identifier}/lines",
        },
        metadata={},
        parent=None,
        period_start=stripe.timestamp(),
        period_end=stripe.timestamp(),
        starting_balance=0,
        status="draft",
        subtotal=session["amount_subtotal"],
        total=session["amount_total"],
        status_transitions={
            "finalized_at": None, "paid_at": stripe.timestamp(), "marked_uncollectible_at": None, "voided_at": None,
        },
    )  # fmt: skip
    stripe.emit("invoice.created", created)
    finalize(stripe, created)
    created |= {"status": "paid", "amount_due": created["amount_paid"], "amount_remaining": 0}
    stripe.changed("invoice", created)
    stripe.new(
        "invoice_payment",
        "inpay",
        invoice=identifier,
        amount_requested=intent["amount"],
        amount_paid=intent["amount"],
        currency=intent["currency"],
        is_default=True,
        payment={"type": "payment_intent", "payment_intent": intent["id"]},
        status="paid",
        status_transitions={"canceled_at": None, "paid_at": stripe.timestamp()},
    )
    stripe.emit("invoice.paid", created)
    stripe.emit("invoice.payment_succeeded", created)
    return created


def _line_of_item(stripe: LocalStripe, session: Row, bought: Row, invoice_id: str) -> Row:
    item = {"id": "", "price": bought["price"], "quantity": bought["quantity"]}
    about = {"currency": session["currency"], "metadata": {}, "id": ""}
    now = stripe.timestamp()
    line = _line(stripe, about, invoice_id, Charged(item=item, amount=bought["amount_subtotal"], starts=now, ends=now))
    line["parent"] = {
        "type": "invoice_item_details",
        "subscription_item_details": None,
        "invoice_item_details": {
            "invoice_item": new_id("ii"), "proration": False, "proration_details": {"credited_items": None},
            "subscription": None,
        },
    }  # fmt: skip
    line["subscription"] = None
    if session["automatic_tax"]["enabled"]:
        behavior = tax.behavior_of(bought["price"])
        net = bought["amount_total"] - bought["amount_tax"]
        line["taxes"] = [tax.one(bought["amount_tax"], behavior, net)]
    return line


def as_preview(stripe: LocalStripe, bill: Row) -> Row:
    """A copy of an invoice as it is shown before there is one."""
    seen = copy.deepcopy(bill) | {"id": new_id("upcoming_in"), "status": "draft", "number": None}
    seen |= {"attempted": False, "attempt_count": 0, "hosted_invoice_url": None, "invoice_pdf": None}
    seen |= {"amount_paid": 0, "amount_remaining": seen["amount_due"]}
    for line in seen["lines"]["data"]:
        line["invoice"] = seen["id"]
    return seen
