"""Subscriptions: started by a checkout or the API, renewed by the clock, changed, cancelled at the end or at once.

They are in flexible billing mode, as Stripe's own are since 2025-09-30
(docs.stripe.com/billing/subscriptions/billing-mode/compare): a stop in the portal sets `cancel_at` only.
"""

import copy
from dataclasses import dataclass

from common.json_types import JsonObject
from sandbox.local_stripe import declines, invoice_collection, invoices, payments, periods, promotions, schedules
from sandbox.local_stripe.catalogue import update
from sandbox.local_stripe.core import LocalStripe, reaction, route, timer
from sandbox.local_stripe.errors import declined, invalid
from sandbox.local_stripe.invoices import Charged
from sandbox.local_stripe.periods import DAY_S
from sandbox.local_stripe.store import new_id

Row = JsonObject

# docs.stripe.com/billing/subscriptions/pending-updates-reference
PENDING_S = 23 * 3600
WITH_PENDING_UPDATES = {
    "payment_behavior", "items", "proration_behavior", "proration_date", "billing_cycle_anchor", "trial_end",
    "trial_from_plan", "add_invoice_items", "metadata",
}  # fmt: skip
CHANGEABLE = {
    "cancel_at", "cancel_at_period_end", "metadata", "default_payment_method", "description", "discounts", "items",
    "billing_cycle_anchor", "pause_collection", "payment_behavior", "proration_behavior", "proration_date", "trial_end",
}  # fmt: skip
WILL_END_S = 3 * DAY_S  # a trial's end is announced so long before


@dataclass(frozen=True, kw_only=True)
class Change:
    """What an update asks of a subscription's items and dates."""

    items: list[Row] | None
    proration: str
    payment_behavior: str
    since: int | None = None  # `proration_date`
    is_anew: bool = False  # `billing_cycle_anchor=now`


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


@route("POST", "/v1/subscriptions", "SubscriptionCreateParams")
def create_subscription(stripe: LocalStripe, values: Row) -> Row:
    """Started by the API, with a card that the customer has left."""
    customer = stripe.get("customer", values["customer"])
    method = values.get("default_payment_method") or customer["invoice_settings"]["default_payment_method"]
    if not method:
        raise invalid("This customer has no attached payment source or default payment method.")
    card = stripe.get("payment_method", method)
    why = declines.refusal(stripe, customer["id"])
    if why and values.get("payment_behavior") == "error_if_incomplete":
        raise declined(payments.DECLINED, code=why)
    return start(
        stripe,
        customer,
        card,
        [(stripe.get("price", item["price"]), item.get("quantity", 1)) for item in values["items"]],
        values.get("metadata") or {},
        trial_days=values.get("trial_period_days", 0),
        discounts=values.get("discounts") or [],
        is_taxed=bool((values.get("automatic_tax") or {}).get("enabled")),
    )


@route("POST", "/v1/subscriptions/{subscription_id}", "SubscriptionModifyParams")
def update_subscription(stripe: LocalStripe, values: Row, subscription_id: str) -> Row:
    if unknown := values.keys() - CHANGEABLE:
        raise invalid(f"The local Stripe cannot change {', '.join(sorted(unknown))} yet.", param=min(unknown))
    row = stripe.get("subscription", subscription_id)
    if row["status"] == "canceled":
        raise invalid("A canceled subscription can only update its cancellation_details and metadata.")
    behavior = values.pop("payment_behavior", "allow_incomplete")
    if behavior == "pending_if_incomplete" and (more := values.keys() - WITH_PENDING_UPDATES):
        raise invalid(
            f"You cannot pass {', '.join(sorted(more))} when `payment_behavior` is `pending_if_incomplete`.",
            param=min(more),
        )
    change = Change(
        items=values.pop("items", None),
        proration=values.pop("proration_behavior", "create_prorations"),
        payment_behavior=behavior,
        since=values.pop("proration_date", None),
        is_anew=values.pop("billing_cycle_anchor", "unchanged") == "now",
    )
    if values.get("trial_end") == "now":
        del values["trial_end"]
        _end_trial(stripe, row)
    values = _stops(stripe, row, values) | _pause(values)
    if "discounts" in values:
        promotions.attach(stripe, row, values.pop("discounts"))
    moved_to = values.pop("trial_end", None)
    if moved_to is not None:
        if change.proration != "none" or moved_to <= stripe.timestamp():
            raise invalid("The local Stripe moves a trial's end ahead, without proration.", param="trial_end")
        _move_next_payment(stripe, row, moved_to)
    if change.items is not None:
        _change_items(stripe, row, change)
    return update(stripe, "subscription", subscription_id, values) if values else row


def _stops(stripe: LocalStripe, row: Row, values: Row) -> Row:
    """When it will end, in both ways of saying so."""
    if row.get("schedule") and {"cancel_at", "cancel_at_period_end"} & values.keys():
        raise invalid(
            f"The subscription is managed by the subscription schedule `{row['schedule']}`, and updating any "
            "cancelation behavior directly is not allowed. Please update the schedule instead."
        )
    if "cancel_at_period_end" in values:
        ends = values["cancel_at_period_end"]
        values["cancel_at"] = _period_end(row) if ends else None
    elif "cancel_at" in values:
        reported = values["cancel_at"] or None
        values["cancel_at"] = _period_end(row) if reported in ("min_period_end", "max_period_end") else reported
        values["cancel_at_period_end"] = False
    if "cancel_at" in values:
        values["canceled_at"] = stripe.timestamp() if values["cancel_at"] else None
        if values["cancel_at"]:
            stripe.at(values["cancel_at"], "cancel_subscription", row["id"])
    return values


def _pause(values: Row) -> Row:
    if "pause_collection" not in values:
        return {}
    pause = values["pause_collection"] or None
    return {"pause_collection": {"resumes_at": None, **pause} if pause else None}


def _change_items(stripe: LocalStripe, row: Row, change: Change) -> None:
    """Another price or quantity from now on: its difference billed at once, with the next renewal, or never.

    What cannot be paid at once is refused, waits as a pending update, or is owed: as `payment_behavior` says.
    """
    if row["pending_update"]:
        drop_pending_update(stripe, stripe.get("invoice", row["latest_invoice"]))
    before = copy.deepcopy(row)
    previous = {"items": {"data": before["items"]["data"]}}
    is_anew = change.is_anew and row["status"] != "trialing"
    _set_items(stripe, row, change.items or [], is_anew=is_anew)
    why = declines.refusal(stripe, row["customer"])
    is_billed = (change.proration == "always_invoice" or is_anew) and row["status"] != "trialing"
    if is_billed and why and change.payment_behavior == "error_if_incomplete":
        _restore(stripe, row, before)
        raise declined(payments.DECLINED, code=why)
    if not is_billed:
        if change.proration == "create_prorations" and row["status"] != "trialing":
            _ride_along(stripe, row, _prorations(stripe, row, before, is_anew=False, since=change.since))
        stripe.emit("customer.subscription.updated", row, previous)
        return
    is_pending = change.payment_behavior == "pending_if_incomplete"
    charged = _prorations(stripe, row, before, is_anew=is_anew, since=change.since)
    bill = invoices.make(stripe, row, "subscription_update", charged)
    if is_paused(row, stripe.timestamp()):
        invoices.void(stripe, bill)  # docs.stripe.com/billing/subscriptions/pause-payment: all that it bills meanwhile
        stripe.emit("customer.subscription.updated", row, previous)
        return
    is_paid = invoice_collection.pay(stripe, bill, is_part_of_a_change=is_pending)
    if not is_paid and is_pending:
        wanted = copy.deepcopy(row["items"]["data"])
        _restore(stripe, row, before)
        row |= {"latest_invoice": bill["id"], "pending_update": _pending(stripe, row, wanted, is_anew=is_anew)}
        stripe.at(row["pending_update"]["expires_at"], "expire_pending_update", row["id"])
        stripe.changed("subscription", row)
        stripe.emit("customer.subscription.updated", row, {"pending_update": None})
        return
    stripe.emit("customer.subscription.updated", row, previous)


def _set_items(stripe: LocalStripe, row: Row, wanted: list[Row], *, is_anew: bool) -> None:
    """Put the items in place. A price of another interval keeps to the anchor, unless that is to be now.

    docs.stripe.com/billing/subscriptions/billing-mode/compare: in flexible mode nothing else moves the anchor.
    """
    for change in wanted:
        item = next((item for item in row["items"]["data"] if item["id"] == change.get("id")), None)
        if item is None:
            if change.get("id"):
                raise invalid(f"No such subscription item: '{change['id']}'", param="items", code="resource_missing")
            _add_item(stripe, row, stripe.get("price", change["price"]), change.get("quantity", 1))
            continue
        price = stripe.get("price", change["price"]) if "price" in change else item["price"]
        if _interval(price) != _interval(item["price"]) and row["status"] != "trialing" and not is_anew:
            _keep_to_anchor(stripe, row, item, price)
        item |= {"price": price, "quantity": change.get("quantity", item["quantity"])}
        stripe.changed("subscription_item", item)
    if is_anew:
        _begin_anew(stripe, row)
    stripe.changed("subscription", row)


def _keep_to_anchor(stripe: LocalStripe, row: Row, item: Row, price: Row) -> None:
    """The period of a price of another interval, counted from the anchor that there is."""
    count = periods.count_until(row["billing_cycle_anchor"], stripe.timestamp() + 1, price)
    item |= {
        "current_period_start": periods.after(row["billing_cycle_anchor"], price, max(0, count - 1)),
        "current_period_end": periods.after(row["billing_cycle_anchor"], price, max(1, count)),
    }
    stripe.at(int(item["current_period_end"]), "renew_subscription", row["id"])


def _restore(stripe: LocalStripe, row: Row, before: Row) -> None:
    """Take a change of items back."""
    row.clear()
    row |= copy.deepcopy(before)
    for item in row["items"]["data"]:
        stripe.changed("subscription_item", item)
    stripe.changed("subscription", row)
    stripe.at(_period_end(row), "renew_subscription", row["id"])


def _pending(stripe: LocalStripe, row: Row, items: list[Row], *, is_anew: bool) -> Row:
    """It expires after 23 hours, and with the running period.

    docs.stripe.com/billing/subscriptions/pending-updates.
    """
    return {
        "billing_cycle_anchor": stripe.timestamp() if is_anew else None,
        "discount": None,
        "discounts": None,
        "expires_at": min(stripe.timestamp() + PENDING_S, _period_end(row)),
        "metadata": None,
        "subscription_items": items,
        "trial_end": None,
        "trial_from_plan": None,
    }


@reaction("invoice_paid")
def apply_pending_update(stripe: LocalStripe, bill: Row) -> None:
    """The invoice of a pending update is paid: the change takes place."""
    row = _of_pending_update(stripe, bill)
    if row is None:
        return
    previous = {"items": {"data": copy.deepcopy(row["items"]["data"])}, "pending_update": row["pending_update"]}
    wanted = [
        {"id": item["id"], "price": item["price"]["id"], "quantity": item["quantity"]}
        for item in row["pending_update"]["subscription_items"]
    ]
    is_anew = row["pending_update"]["billing_cycle_anchor"] is not None
    row["pending_update"] = None
    _set_items(stripe, row, wanted, is_anew=is_anew)
    stripe.emit("customer.subscription.pending_update_applied", row)
    stripe.emit("customer.subscription.updated", row, previous)


@reaction("invoice_voided")
def drop_pending_update(stripe: LocalStripe, bill: Row) -> None:
    """A pending update whose invoice is void, or that another change replaces, is gone."""
    row = _of_pending_update(stripe, bill)
    if row is None:
        return
    row["pending_update"] = None
    stripe.changed("subscription", row)
    if bill["status"] == "open":
        invoices.void(stripe, bill)
    stripe.emit("customer.subscription.updated", row, {"pending_update": {}})


@timer("expire_pending_update")
def _expire_pending_update(stripe: LocalStripe, subscription_id: str) -> None:
    row = stripe.get("subscription", subscription_id)
    if row["pending_update"] and row["pending_update"]["expires_at"] <= stripe.timestamp():
        bill = stripe.get("invoice", row["latest_invoice"])
        row["pending_update"] = None
        if bill["status"] == "open":
            invoices.void(stripe, bill)
        stripe.changed("subscription", row)
        stripe.emit("customer.subscription.pending_update_expired", row)


def _of_pending_update(stripe: LocalStripe, bill: Row) -> Row | None:
    row = stripe.store.get("subscription", invoices.subscription_id(bill) or "")
    return row if row and row["pending_update"] and row["latest_invoice"] == bill["id"] else None


def _interval(price: Row) -> tuple[str, int]:
    return price["recurring"]["interval"], price["recurring"]["interval_count"]


def _begin_anew(stripe: LocalStripe, row: Row) -> None:
    """A price of another interval starts its own period now, and is billed on this day from then on."""
    now = stripe.timestamp()
    row["billing_cycle_anchor"] = now
    for item in row["items"]["data"]:
        item |= {"current_period_start": now, "current_period_end": periods.after(now, item["price"], 1)}
        stripe.changed("subscription_item", item)
    stripe.at(_period_end(row), "renew_subscription", row["id"])


def _prorations(stripe: LocalStripe, row: Row, before: Row, *, is_anew: bool, since: int | None) -> list[Charged]:
    """What is left of the period: the old price back, the new one on top (or whole, for a period of its own)."""
    now, charged = since or stripe.timestamp(), []
    if since and not _began(before) <= since <= _period_end(before):
        raise invalid("The proration date must be within the subscription's current period.", param="proration_date")
    known = {item["id"]: item for item in before["items"]["data"]}
    for item in row["items"]["data"]:
        old = known.get(item["id"])
        if old and (old["price"]["id"], old["quantity"]) == (item["price"]["id"], item["quantity"]):
            continue
        for sign, side in ((-1, old), (1, item)):
            if side is None:
                continue
            begins, ends = side["current_period_start"], side["current_period_end"]
            is_part = sign < 0 or not is_anew
            whole = side["price"]["unit_amount"] * side["quantity"]
            amount = sign * whole * (ends - now) // (ends - begins) if is_part else whole
            charged.append(
                Charged(item=copy.deepcopy(side), amount=amount, starts=now, ends=ends, is_proration=is_part)
            )
    return charged


def _ride_along(stripe: LocalStripe, row: Row, charged: list[Charged]) -> None:
    """Prorations that wait for the renewal (`create_prorations`)."""
    waiting = (stripe.store.get("_riding", row["id"]) or {}).get("charged", [])
    rows = [each.__dict__ for each in charged]
    stripe.store.put("_riding", row["id"], {"charged": [*waiting, *rows]})


@route("DELETE", "/v1/subscriptions/{subscription_id}", "SubscriptionCancelParams")
def cancel_subscription(stripe: LocalStripe, values: Row, subscription_id: str) -> Row:
    row = stripe.get("subscription", subscription_id)
    if row["status"] == "canceled":
        raise invalid(f"No such subscription: '{subscription_id}'", code="resource_missing", status=404)
    now = stripe.timestamp()
    row |= {"status": "canceled", "canceled_at": row["canceled_at"] or now, "ended_at": now}
    schedules.end_with(stripe, row)
    stripe.changed("subscription", row)
    stripe.emit("customer.subscription.deleted", row)
    return row


@route("GET", "/v1/subscription_items/{item_id}")
def subscription_item(stripe: LocalStripe, values: Row, item_id: str) -> Row:
    return stripe.get("subscription_item", item_id)


@route("POST", "/v1/invoices/create_preview", "InvoiceCreatePreviewParams")
def preview_invoice(stripe: LocalStripe, values: Row) -> Row:
    """What a change would be billed: the change is made, its invoice looked at, and all of it taken back."""
    details = values.get("subscription_details") or {}
    unknown = (values.keys() | details.keys()) - {
        "customer", "subscription", "subscription_details", "items", "proration_behavior", "proration_date",
        "billing_cycle_anchor",
    }  # fmt: skip
    if unknown or not details.get("items") or details.get("proration_behavior") != "always_invoice":
        raise invalid("The local Stripe previews a change of price that is billed at once (always_invoice).")
    with stripe.store.rehearsal():
        row = stripe.get("subscription", values["subscription"])
        before = row["latest_invoice"]
        since = details.get("proration_date")
        is_anew = details.get("billing_cycle_anchor") == "now"
        change = Change(
            items=details["items"], proration="always_invoice", payment_behavior="", since=since, is_anew=is_anew
        )
        _change_items(stripe, row, change)
        if row["latest_invoice"] == before:
            raise invalid("Nothing is billed for this change.", code="invoice_upcoming_none")
        return invoices.as_preview(stripe, stripe.get("invoice", row["latest_invoice"]))


def start(
    stripe: LocalStripe,
    customer: Row,
    card: Row,
    bought: list[tuple[Row, int]],
    metadata: dict[str, str],
    *,
    trial_days: int = 0,
    discounts: list[Row] | None = None,
    is_taxed: bool = False,
) -> Row:
    """Begin a subscription to some prices, and pay its first invoice; a trial's is over nothing."""
    now = stripe.timestamp()
    trial_ends = now + trial_days * DAY_S if trial_days else None
    identifier = new_id("sub")
    row = stripe.new(
        "subscription",
        "sub",
        id=identifier,
        customer=customer["id"],
        currency=bought[0][0]["currency"],
        metadata=metadata,
        items={
            "object": "list",
            "data": [],
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
        automatic_tax={
            "enabled": is_taxed, "liability": {"type": "self"} if is_taxed else None, "disabled_reason": None,
        },
        billing_mode={"type": "flexible", "flexible": {"proration_discounts": "included"}, "updated_at": None},
        default_tax_rates=[],
        discounts=[],
    )  # fmt: skip
    for price, quantity in bought:
        _add_item(stripe, row, price, quantity)
    promotions.attach(stripe, row, discounts)
    bill = invoices.make(stripe, row, "subscription_create", _whole_period(row))
    stripe.emit("customer.subscription.created", row)
    invoice_collection.pay(stripe, bill)
    stripe.at(_period_end(row), "renew_subscription", identifier)
    if trial_ends:
        _announce_end_of_trial(stripe, row)
    return row


def _add_item(stripe: LocalStripe, row: Row, price: Row, quantity: int) -> None:
    known = row["items"]["data"]
    starts = known[0]["current_period_start"] if known else stripe.timestamp()
    item = stripe.new(
        "subscription_item",
        "si",
        subscription=row["id"],
        price=price,
        quantity=quantity,
        metadata={},
        tax_rates=[],
        discounts=[],
        current_period_start=starts,
        current_period_end=known[0]["current_period_end"]
        if known
        else row["trial_end"] or periods.after(starts, price, 1),
        billing_thresholds=None,
    )
    known.append(item)


def _whole_period(row: Row) -> list[Charged]:
    """What the items cost for their running period; on a trial, nothing."""
    is_free = row["status"] == "trialing"
    return [
        Charged(
            item=item,
            amount=0 if is_free else item["price"]["unit_amount"] * item["quantity"],
            starts=item["current_period_start"],
            ends=item["current_period_end"],
            description="Trial period" if is_free else "",
        )
        for item in row["items"]["data"]
    ]


def _began(row: Row) -> int:
    """When the last of its items' periods began."""
    return max(int(item["current_period_start"]) for item in row["items"]["data"])


def _period_end(row: Row) -> int:
    """When the first of its items' periods ends."""
    return min(int(item["current_period_end"]) for item in row["items"]["data"])


@timer("cancel_subscription")
def _cancel_when_due(stripe: LocalStripe, subscription_id: str) -> None:
    row = stripe.get("subscription", subscription_id)
    if row["status"] != "canceled" and row["cancel_at"] and row["cancel_at"] <= stripe.timestamp():
        cancel_subscription(stripe, {}, subscription_id)


@timer("renew_subscription")
def _renew(stripe: LocalStripe, subscription_id: str, *, reason: str = "subscription_cycle") -> None:
    """The period is over: end what was cancelled, bill the next period of the rest."""
    row = stripe.get("subscription", subscription_id)
    if row["status"] == "canceled":
        return
    if row["cancel_at"] and row["cancel_at"] <= stripe.timestamp():
        cancel_subscription(stripe, {}, subscription_id)
        return
    if row["pending_update"]:
        _expire_pending_update(stripe, row["id"])
    previous = {"latest_invoice": row["latest_invoice"], "items": {"data": copy.deepcopy(row["items"]["data"])}}
    if row["status"] == "trialing":
        previous["status"], row["status"] = "trialing", "active"
    begins = _period_end(row)
    schedules.begin_next_phase(stripe, row)
    for item in row["items"]["data"]:
        count = periods.count_until(row["billing_cycle_anchor"], begins, item["price"])
        item |= {
            "current_period_start": begins,
            "current_period_end": periods.after(row["billing_cycle_anchor"], item["price"], count + 1),
        }
        stripe.changed("subscription_item", item)
    riding = [Charged(**each) for each in (stripe.store.get("_riding", row["id"]) or {}).get("charged", [])]
    stripe.store.remove("_riding", row["id"])
    is_due_to_a_call = reason != "subscription_cycle"
    bill = invoices.make(stripe, row, reason, [*riding, *_whole_period(row)], is_draft=not is_due_to_a_call)
    stripe.emit("customer.subscription.updated", row, previous)
    if is_paused(row, begins):
        if bill["status"] == "draft":
            invoices.finalize(stripe, bill)
        invoices.void(stripe, bill)
    elif is_due_to_a_call:
        invoice_collection.pay(stripe, bill)
    stripe.at(_period_end(row), "renew_subscription", subscription_id)


def _end_trial(stripe: LocalStripe, row: Row) -> None:
    """The customer wants to begin at once: the first period that is paid for starts now."""
    now = stripe.timestamp()
    row |= {"trial_end": now, "billing_cycle_anchor": now}
    for item in row["items"]["data"]:
        item["current_period_end"] = now
        stripe.changed("subscription_item", item)
    stripe.changed("subscription", row)
    _renew(stripe, row["id"], reason="subscription_update")


def _move_next_payment(stripe: LocalStripe, row: Row, at: int) -> None:
    """A running subscription is on trial until then; its next period begins there.

    An invoice over nothing says so (docs.stripe.com/billing/subscriptions/trials: a trial begins with one).
    """
    previous = {"trial_end": row["trial_end"], "status": row["status"]}
    for item in row["items"]["data"]:
        item["current_period_end"] = at
        stripe.changed("subscription_item", item)
    # Later than the start, as it always is at Stripe, also where both are asked for within one second here.
    began = max(stripe.timestamp(), row["start_date"] + 1)
    row |= {"trial_start": began, "trial_end": at, "billing_cycle_anchor": at, "status": "trialing"}
    stripe.at(at, "renew_subscription", row["id"])
    now = stripe.timestamp()
    free = [
        Charged(item=item, amount=0, starts=now, ends=at, description="Trial period") for item in row["items"]["data"]
    ]
    invoice_collection.pay(stripe, invoices.make(stripe, row, "subscription_update", free))
    stripe.emit("customer.subscription.updated", row, previous)
    _announce_end_of_trial(stripe, row)


def _announce_end_of_trial(stripe: LocalStripe, row: Row) -> None:
    stripe.at(max(stripe.timestamp() + 1, row["trial_end"] - WILL_END_S), "announce_end_of_trial", row["id"])


@timer("announce_end_of_trial")
def _trial_will_end(stripe: LocalStripe, subscription_id: str) -> None:
    row = stripe.get("subscription", subscription_id)
    if row["status"] == "trialing":
        stripe.emit("customer.subscription.trial_will_end", row)


def is_paused(row: Row, at: int) -> bool:
    """Whether invoices are not collected at that time; a pause that is over leaves the subscription."""
    pause = row.get("pause_collection")
    if pause and pause["resumes_at"] and pause["resumes_at"] <= at:
        row["pause_collection"] = None
        return False
    return bool(pause)


@reaction("invoice_given_up")
def _end_unpaid(stripe: LocalStripe, bill: Row) -> None:
    """The last try to collect an invoice failed: what it bills ends."""
    row = stripe.get("subscription", invoices.subscription_id(bill) or "")
    if row["status"] != "canceled":
        cancel_subscription(stripe, {}, row["id"])
