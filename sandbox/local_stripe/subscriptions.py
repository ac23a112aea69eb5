"""Subscriptions and their invoices: started by a checkout, renewed by the clock, cancelled at the end or at once."""

import calendar
import copy
from datetime import UTC, datetime
from typing import Any

from sandbox.local_stripe import collecting, payments, schedules
from sandbox.local_stripe.catalogue import update
from sandbox.local_stripe.core import LocalStripe, route, timer
from sandbox.local_stripe.errors import declined, invalid
from sandbox.local_stripe.store import new_id

Row = dict[str, Any]


@route("GET", "/v1/subscriptions", "SubscriptionListParams")
def list_subscriptions(stripe: LocalStripe, values: Row) -> Row:
    status = values.get("status")
    return stripe.listed(
        "subscription",
        values,
        by=("customer",),
        where=lambda row: status == "all" or row["status"] == status or (not status and row["status"] != "canceled"),
    )


@route("GET", "/v1/subscriptions/{subscription_id}")
def subscription(stripe: LocalStripe, values: Row, subscription_id: str) -> Row:
    return stripe.get("subscription", subscription_id)


@route("POST", "/v1/subscriptions/{subscription_id}", "SubscriptionModifyParams")
def update_subscription(stripe: LocalStripe, values: Row, subscription_id: str) -> Row:
    known = {
        "cancel_at_period_end", "metadata", "default_payment_method", "description", "items", "pause_collection",
        "payment_behavior", "proration_behavior", "trial_end",
    }  # fmt: skip
    unknown = values.keys() - known
    if unknown:
        raise invalid(f"The local Stripe cannot change {', '.join(sorted(unknown))} yet.", param=min(unknown))
    row = stripe.get("subscription", subscription_id)
    if row["status"] == "canceled":
        raise invalid("A canceled subscription can only update its cancellation_details and metadata.")
    if "cancel_at_period_end" in values:
        ends = values["cancel_at_period_end"]
        values["cancel_at"] = row["items"]["data"][0]["current_period_end"] if ends else None
        values["canceled_at"] = stripe.timestamp() if ends else None
    if "pause_collection" in values:
        pause = values["pause_collection"] or None
        values["pause_collection"] = {"resumes_at": None, **pause} if pause else None
    items, proration = values.pop("items", None), values.pop("proration_behavior", "create_prorations")
    must_be_paid = values.pop("payment_behavior", "allow_incomplete") == "error_if_incomplete"
    why = collecting.refusal(stripe, row["customer"])
    if items is not None and must_be_paid and proration == "always_invoice" and why:
        raise declined(payments.DECLINED, code=why)
    if values.get("trial_end") == "now":
        del values["trial_end"]
        _end_trial(stripe, row)
    if isinstance(values.get("trial_end"), int):
        if proration != "none" or values["trial_end"] <= stripe.timestamp():
            raise invalid("The local Stripe moves a trial's end ahead, without proration.", param="trial_end")
        values |= _move_next_payment(stripe, row, values["trial_end"])
    if items is not None:
        _change_item(stripe, row, items, proration)
    return update(stripe, "subscription", subscription_id, values) if values else row


def _change_item(stripe: LocalStripe, row: Row, items: list[Row], proration: str) -> None:
    """Another price or quantity from now on: with its difference billed at once, or without any."""
    item = row["items"]["data"][0]
    if len(items) != 1 or items[0].get("id") != item["id"]:
        raise invalid("The local Stripe changes a subscription's one item, named by its id.", param="items")
    price = stripe.get("price", items[0]["price"]) if "price" in items[0] else item["price"]
    if proration not in ("always_invoice", "none"):
        raise invalid("The local Stripe bills a change at once (always_invoice) or not at all (none).")
    before = copy.deepcopy(item)
    previous = {"items": {"data": [before]}}
    item |= {"price": price, "quantity": items[0].get("quantity", item["quantity"])}
    starts_anew = _interval(price) != _interval(before["price"]) and row["status"] != "trialing"
    if starts_anew:
        _begin_anew(stripe, row)
    stripe.changed("subscription_item", item)
    stripe.changed("subscription", row)
    if (proration == "always_invoice" or starts_anew) and row["status"] != "trialing":
        _invoice_change(stripe, row, before, starts_anew=starts_anew)
    stripe.emit("customer.subscription.updated", row, previous)


def _interval(price: Row) -> tuple[str, int]:
    return price["recurring"]["interval"], price["recurring"]["interval_count"]


def _begin_anew(stripe: LocalStripe, row: Row) -> None:
    """A price of another interval starts its own period now, and is billed on this day from then on."""
    item, now = row["items"]["data"][0], stripe.timestamp()
    row["billing_cycle_anchor"] = now
    item |= {"current_period_start": now, "current_period_end": _after(now, item["price"], 1)}
    stripe.at(item["current_period_end"], "renew_subscription", row["id"])


def _invoice_change(stripe: LocalStripe, row: Row, before: Row, *, starts_anew: bool) -> None:
    """Bill what is left of the period: the old price back, the new one on top (or whole, for a period of its own)."""
    item, now = row["items"]["data"][0], stripe.timestamp()
    bill = _invoice(stripe, row, "subscription_update", announce=False)
    (template,) = bill["lines"]["data"]
    lines = []
    for sign, side in ((-1, before), (1, item)):
        begins, ends = side["current_period_start"], side["current_period_end"]
        is_part = sign < 0 or not starts_anew
        amount = side["price"]["unit_amount"] * side["quantity"]
        if is_part:
            amount = sign * amount * (ends - now) // (ends - begins)
        line = copy.deepcopy(template) | {"id": new_id("il"), "amount": amount}
        line |= {"subtotal": line["amount"], "quantity": side["quantity"], "quantity_decimal": str(side["quantity"])}
        line["period"] = {"start": now, "end": ends}
        line["parent"]["subscription_item_details"]["proration"] = is_part
        line["pricing"]["price_details"] = {"price": side["price"]["id"], "product": side["price"]["product"]}
        line["pricing"]["unit_amount_decimal"] = str(side["price"]["unit_amount"])
        lines.append(line)
    total = sum(line["amount"] for line in lines)
    bill["lines"]["data"] = lines
    bill |= {"subtotal": total, "total": total, "amount_due": max(0, total), "amount_remaining": max(0, total)}
    stripe.changed("invoice", bill)
    stripe.emit("invoice.created", bill)
    stripe.emit("invoice.finalized", bill)
    collecting.pay(stripe, row)


@route("DELETE", "/v1/subscriptions/{subscription_id}", "SubscriptionCancelParams")
def cancel_subscription(stripe: LocalStripe, values: Row, subscription_id: str) -> Row:
    row = stripe.get("subscription", subscription_id)
    now = stripe.timestamp()
    row |= {"status": "canceled", "canceled_at": row["canceled_at"] or now, "ended_at": now}
    stripe.changed("subscription", row)
    stripe.emit("customer.subscription.deleted", row)
    return row


@route("GET", "/v1/subscription_items/{item_id}")
def subscription_item(stripe: LocalStripe, values: Row, item_id: str) -> Row:
    return stripe.get("subscription_item", item_id)


@route("GET", "/v1/invoices", "InvoiceListParams")
def list_invoices(stripe: LocalStripe, values: Row) -> Row:
    wanted = values.get("subscription")
    return stripe.listed(
        "invoice",
        values,
        by=("customer", "status"),
        where=lambda row: wanted is None or row["parent"]["subscription_details"]["subscription"] == wanted,
    )


@route("POST", "/v1/invoices/create_preview", "InvoiceCreatePreviewParams")
def preview_invoice(stripe: LocalStripe, values: Row) -> Row:
    """What a change would be billed: the change is made, its invoice looked at, and all of it taken back."""
    details = values.get("subscription_details") or {}
    unknown = (values.keys() | details.keys()) - {
        "customer", "subscription", "subscription_details", "items", "proration_behavior", "proration_date",
    }  # fmt: skip
    if unknown or not details.get("items") or details.get("proration_behavior") != "always_invoice":
        raise invalid("The local Stripe previews a change of price that is billed at once (always_invoice).")
    with stripe.store.rehearsal():
        row = stripe.get("subscription", values["subscription"])
        before = row["latest_invoice"]
        _change_item(stripe, row, details["items"], "always_invoice")
        if row["latest_invoice"] == before:
            raise invalid("Nothing is billed for this change.", code="invoice_upcoming_none")
        bill = copy.deepcopy(stripe.get("invoice", row["latest_invoice"]))
    bill |= {"id": new_id("upcoming_in"), "status": "draft", "number": None, "attempted": False, "attempt_count": 0}
    bill |= {"hosted_invoice_url": None, "invoice_pdf": None, "amount_paid": 0, "amount_remaining": bill["amount_due"]}
    for line in bill["lines"]["data"]:
        line["invoice"] = bill["id"]
    return bill


@route("GET", "/v1/invoices/{invoice_id}")
def invoice(stripe: LocalStripe, values: Row, invoice_id: str) -> Row:
    return stripe.get("invoice", invoice_id)


@route("GET", "/v1/invoices/{invoice_id}/lines")
def invoice_lines(stripe: LocalStripe, values: Row, invoice_id: str) -> Row:
    found: Row = stripe.get("invoice", invoice_id)["lines"]
    return found


@route("GET", "/v1/invoice_payments", "InvoicePaymentListParams")
def list_invoice_payments(stripe: LocalStripe, values: Row) -> Row:
    wanted = (values.get("payment") or {}).get("payment_intent")
    return stripe.listed(
        "invoice_payment",
        values,
        by=("invoice", "status"),
        where=lambda row: wanted is None or row["payment"]["payment_intent"] == wanted,
    )


def start(
    stripe: LocalStripe,
    customer: Row,
    card: Row,
    price: Row,
    quantity: int,
    metadata: dict[str, str],
    *,
    trial_days: int = 0,
) -> Row:
    """Begin a subscription and pay its first invoice; a trial's is over nothing."""
    now = stripe.timestamp()
    trial_ends = now + trial_days * collecting.DAY_S if trial_days else None
    identifier = new_id("sub")
    item = stripe.new(
        "subscription_item",
        "si",
        subscription=identifier,
        price=price,
        quantity=quantity,
        metadata={},
        tax_rates=[],
        discounts=[],
        current_period_start=now,
        current_period_end=trial_ends or _after(now, price, 1),
        billing_thresholds=None,
    )
    row = stripe.new(
        "subscription",
        "sub",
        id=identifier,
        customer=customer["id"],
        currency=price["currency"],
        metadata=metadata,
        items={
            "object": "list",
            "data": [item],
            "has_more": False,
            "url": f"/v1/subscription_items?subscription={identifier}",
        },
        status="trialing" if trial_ends else "active",
        start_date=now,
        trial_start=now if trial_ends else None,
        trial_end=trial_ends,
        billing_cycle_anchor=trial_ends or now,
        collection_method="charge_automatically",
        default_payment_method=card["id"],
        cancel_at_period_end=False,
        automatic_tax={"enabled": False, "liability": None, "disabled_reason": None},
        billing_mode={"type": "flexible", "flexible": None, "updated_at": None},
        default_tax_rates=[],
        discounts=[],
    )
    _invoice(stripe, row, "subscription_create")
    stripe.emit("customer.subscription.created", row)
    collecting.pay(stripe, row)
    stripe.at(item["current_period_end"], "renew_subscription", identifier)
    return row


@timer("renew_subscription")
def _renew(stripe: LocalStripe, subscription_id: str) -> None:
    """The period is over: end what was cancelled, bill the next period of the rest."""
    row = stripe.get("subscription", subscription_id)
    if row["status"] == "canceled":
        return
    if row["cancel_at_period_end"]:
        cancel_subscription(stripe, {}, subscription_id)
        return
    item = row["items"]["data"][0]
    previous = {"latest_invoice": row["latest_invoice"], "items": {"data": [dict(item)]}}
    if row["status"] == "trialing":
        previous["status"], row["status"] = "trialing", "active"
    begins = item["current_period_end"]
    schedules.begin_next_phase(stripe, row)
    count = _periods_between(row["billing_cycle_anchor"], begins, item["price"])
    item |= {
        "current_period_start": begins,
        "current_period_end": _after(row["billing_cycle_anchor"], item["price"], count + 1),
    }
    stripe.changed("subscription_item", item)
    bill = _invoice(stripe, row, "subscription_cycle")
    if _is_paused(row, begins):
        collecting.void(stripe, bill)
    else:
        collecting.pay(stripe, row)
    stripe.emit("customer.subscription.updated", row, previous)
    stripe.at(item["current_period_end"], "renew_subscription", subscription_id)


def _end_trial(stripe: LocalStripe, row: Row) -> None:
    """The customer wants to begin at once: the first period that is paid for starts now."""
    now, item = stripe.timestamp(), row["items"]["data"][0]
    row |= {"trial_end": now, "billing_cycle_anchor": now}
    item["current_period_end"] = now
    stripe.changed("subscription", row)
    stripe.changed("subscription_item", item)
    _renew(stripe, row["id"])


def _move_next_payment(stripe: LocalStripe, row: Row, at: int) -> Row:
    """A running subscription is on trial until then; its next period begins there."""
    item = row["items"]["data"][0]
    item["current_period_end"] = at
    stripe.changed("subscription_item", item)
    stripe.at(at, "renew_subscription", row["id"])
    return {"trial_start": stripe.timestamp(), "trial_end": at, "billing_cycle_anchor": at, "status": "trialing"}


def _is_paused(row: Row, at: int) -> bool:
    """Whether invoices are not collected at that time; a pause that is over leaves the subscription."""
    pause = row.get("pause_collection")
    if pause and pause["resumes_at"] and pause["resumes_at"] <= at:
        row["pause_collection"] = None
        return False
    return bool(pause)


def _invoice(stripe: LocalStripe, row: Row, reason: str, *, announce: bool = True) -> Row:
    """The bill for the subscription's current period."""
    item, customer = row["items"]["data"][0], stripe.get("customer", row["customer"])
    amount = 0 if row["status"] == "trialing" else item["price"]["unit_amount"] * item["quantity"]
    identifier, line_id = new_id("in"), new_id("il")
    parent = {
        "type": "subscription_details",
        "quote_details": None,
        "subscription_details": {
            "subscription": row["id"],
            "metadata": dict(row["metadata"]),
        },
    }
    line = {
        "id": line_id,
        "object": "line_item",
        "amount": amount,
        "currency": row["currency"],
        "description": f"{item['quantity']} x {stripe.get('product', item['price']['product'])['name']}",
        "discount_amounts": [],
        "discountable": True,
        "discounts": [],
        "invoice": identifier,
        "livemode": False,
        "metadata": dict(row["metadata"]),
        "parent": {
            "type": "subscription_item_details",
            "invoice_item_details": None,
            "subscription_item_details": {
                "invoice_item": None,
                "proration": False,
                "proration_details": {"credited_items": None},
                "subscription": row["id"],
                "subscription_item": item["id"],
            },
        },
        "period": {"start": item["current_period_start"], "end": item["current_period_end"]},
        "pretax_credit_amounts": [],
        "pricing": {
            "type": "price_details",
            "price_details": {"price": item["price"]["id"], "product": item["price"]["product"]},
            "unit_amount_decimal": str(item["price"]["unit_amount"]),
        },
        "quantity": item["quantity"],
        "quantity_decimal": str(item["quantity"]),
        "subtotal": amount,
        "taxes": [],
        "subscription": row["id"],
    }
    number = customer["next_invoice_sequence"]
    customer["next_invoice_sequence"] += 1
    stripe.changed("customer", customer)
    made = stripe.new(
        "invoice",
        "in",
        id=identifier,
        account_name="Tegoed sandbox",
        amount_due=amount,
        amount_paid=0,
        amount_remaining=amount,
        attempt_count=0,
        attempted=False,
        auto_advance=True,
        automatic_tax={"enabled": False, "liability": None, "provider": None, "status": None, "disabled_reason": None},
        billing_reason=reason,
        collection_method="charge_automatically",
        currency=row["currency"],
        customer=customer["id"],
        customer_email=customer["email"],
        customer_name=customer["name"],
        hosted_invoice_url=f"{stripe.public_url}/invoices/{identifier}",
        invoice_pdf=f"{stripe.public_url}/invoices/{identifier}/pdf",
        lines={"object": "list", "data": [line], "has_more": False, "url": f"/v1/invoices/{identifier}/lines"},
        metadata={},
        number=f"{customer['invoice_prefix']}-{number:04d}",
        parent=parent,
        period_start=item["current_period_start"],
        period_end=item["current_period_end"],
        status="open",
        subtotal=amount,
        total=amount,
        status_transitions={
            "finalized_at": stripe.timestamp(),
            "paid_at": None,
            "marked_uncollectible_at": None,
            "voided_at": None,
        },
    )
    row["latest_invoice"] = identifier
    stripe.changed("subscription", row)
    if announce:
        stripe.emit("invoice.created", made)
        stripe.emit("invoice.finalized", made)
    return made


def _after(anchor: int, price: Row, count: int) -> int:
    """The instant `count` periods after the anchor, on the anchor's day or the month's last one."""
    recurring = price["recurring"]
    months = {"month": 1, "year": 12}.get(recurring["interval"])
    if months is None:
        days: int = {"day": 1, "week": 7}[recurring["interval"]] * recurring["interval_count"]
        return anchor + days * collecting.DAY_S * count
    first = datetime.fromtimestamp(anchor, UTC)
    total = first.year * 12 + first.month - 1 + months * recurring["interval_count"] * count
    year, month = divmod(total, 12)
    day = min(first.day, calendar.monthrange(year, month + 1)[1])
    return int(first.replace(year=year, month=month + 1, day=day).timestamp())


def _periods_between(anchor: int, instant: int, price: Row) -> int:
    count = 0
    while _after(anchor, price, count) < instant:
        count += 1
    return count
