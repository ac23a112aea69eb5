"""Reading Stripe's objects. Fields moved between API versions; where each one lives now is said here, once.

Everything takes the plain dictionary of an object in the pinned API version. (Since 2025-03-31 a subscription's
period is on its items, an invoice's subscription under `parent`, a line's price under `pricing`.)
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from common.json_types import JsonObject

Stripe = JsonObject

# Payments that are ours to act on without a checkout session: as we named them when we made them.
CARD_FORM, TOP_UP = "elements", "top_up"
INTENT_KINDS = (CARD_FORM, TOP_UP)


@dataclass(frozen=True, kw_only=True)
class InvoiceLine:
    """One line of an invoice: which price, for which period, how many, for how much."""

    price_id: str
    starts_at: datetime
    ends_at: datetime
    quantity: int
    listed_minor: int  # before discounts, as Stripe's `amount`
    amount_minor: int  # after discounts, and without tax, whether that is inside the price or comes on top
    is_proration: bool

    @property
    def buys_part(self) -> bool:
        """Whether it bills a part of a period, as for the new plan of an upgrade; not what the old plan gives back."""
        return self.is_proration and self.listed_minor > 0 and bool(self.quantity)


def reference(value: object) -> str:
    """The id in a field that holds an id, an expanded object, or nothing."""
    if isinstance(value, dict):
        value = value.get("id")
    return str(value or "")


def whole_number(text: Any) -> int:
    """A number in an object's metadata, where everything is text; 0 for none."""
    return int(text) if str(text or "").isdigit() else 0


def moment(timestamp: int) -> datetime:
    """Stripe's seconds since 1970 as an instant."""
    return datetime.fromtimestamp(timestamp, UTC)


def customer_id(row: Stripe) -> str:
    """The customer an object belongs to; a customer's own id for a customer."""
    return str(row.get("id") or "") if row.get("object") == "customer" else reference(row.get("customer"))


def subscription_price_ids(subscription: Stripe) -> list[str]:
    """The prices of all of its items: a plan may have add-ons and metered items beside it."""
    return [reference(item["price"]) for item in subscription["items"]["data"]]


def subscription_price_id(subscription: Stripe) -> str:
    return reference(_first_item(subscription)["price"])


def subscription_period_end(subscription: Stripe) -> datetime:
    return moment(_first_item(subscription)["current_period_end"])


def subscription_next_price_id(subscription: Stripe) -> str:
    """The price that a schedule (`schedule` expanded) puts in place at the end of the period; empty for no change."""
    schedule = subscription.get("schedule")
    if not isinstance(schedule, dict) or schedule.get("status") != "active":
        return ""
    ends = _first_item(subscription)["current_period_end"]
    later = [phase for phase in schedule["phases"] if phase["start_date"] >= ends]
    return reference(later[0]["items"][0]["price"]) if later else ""


def pending_update(subscription: Stripe) -> tuple[list[str], datetime, str] | None:
    """A change that waits for its payment: the prices there will be, until when it waits, and its invoice."""
    pending = subscription.get("pending_update")
    if not pending or not pending.get("subscription_items"):
        return None
    prices = [reference(item["price"]) for item in pending["subscription_items"]]
    return prices, moment(pending["expires_at"]), reference(subscription.get("latest_invoice"))


def subscription_pause(subscription: Stripe) -> tuple[bool, datetime | None]:
    """Whether its invoices are not collected, and until when (None for until further notice)."""
    pause = subscription.get("pause_collection")
    if not pause:
        return False, None
    return True, moment(pause["resumes_at"]) if pause.get("resumes_at") else None


def invoice_tax_minor(invoice: Stripe, *, on: int) -> int:
    """The tax on a part of an invoice that comes to `on` without it, in minor units."""
    net = invoice.get("total_excluding_tax")
    tax = 0 if net is None else invoice["total"] - net
    return tax * on // net if net else 0


def is_refused_invoice(invoice: Stripe) -> bool:
    """An invoice that was to be paid, and the bank said no."""
    return bool(invoice.get("status") == "open" and invoice.get("attempt_count"))


def paid_at(invoice: Stripe) -> datetime | None:
    """When an invoice was paid."""
    seconds = (invoice.get("status_transitions") or {}).get("paid_at")
    return moment(seconds) if seconds else None


def receipt_url(intent: Stripe) -> str:
    """Where the receipt of a payment is (`latest_charge` expanded)."""
    charge = intent.get("latest_charge")
    return str(charge.get("receipt_url") or "") if isinstance(charge, dict) else ""


def card_fingerprint(intent: Stripe) -> str:
    """What distinguishes the card that paid from others, the same for every customer (`latest_charge` expanded)."""
    charge = intent.get("latest_charge")
    details = (charge.get("payment_method_details") or {}) if isinstance(charge, dict) else {}
    return str((details.get("card") or {}).get("fingerprint") or "")


def is_paid_here(intent: Stripe) -> bool:
    """Whether a payment was begun by us, for an order, without a checkout session or an invoice."""
    return (intent.get("metadata") or {}).get("kind") in INTENT_KINDS


def begins_on_trial(subscription: Stripe) -> bool:
    """Whether it is on the trial that it began with. (Moving a payment ahead makes a trial of later days as well.)"""
    began = subscription.get("trial_start")
    return subscription.get("status") == "trialing" and began is not None and began <= subscription["start_date"]


def first_trial_ends_at(subscription: Stripe) -> datetime | None:
    """When the trial ends that it began with, while it is on it."""
    ends = subscription.get("trial_end")
    return moment(ends) if ends and begins_on_trial(subscription) else None


def invoice_subscription_id(invoice: Stripe) -> str:
    details = (invoice.get("parent") or {}).get("subscription_details") or {}
    return reference(details.get("subscription"))


def is_paid_invoice(invoice: Stripe) -> bool:
    """`paid` itself is no longer sent."""
    return bool(invoice.get("status") == "paid")


def invoice_lines(invoice: Stripe) -> list[InvoiceLine]:
    """The lines with a price, of subscription items and of invoice items alike. (Prorations are documented under both.)

    An invoice shows ten of its lines; `stripe_client.with_all_lines` brings the rest.
    """
    lines = []
    for line in invoice["lines"]["data"]:
        parent = line.get("parent") or {}
        item = parent.get("subscription_item_details") or parent.get("invoice_item_details")
        price = ((line.get("pricing") or {}).get("price_details") or {}).get("price")
        if item is None or price is None:
            continue
        quantity = line.get("quantity")
        off = sum(discount["amount"] for discount in line.get("discount_amounts") or [])
        inside = sum(tax["amount"] for tax in line.get("taxes") or [] if tax.get("tax_behavior") == "inclusive")
        lines.append(
            InvoiceLine(
                price_id=reference(price),
                starts_at=moment(line["period"]["start"]),
                ends_at=moment(line["period"]["end"]),
                quantity=1 if quantity is None else int(quantity),
                listed_minor=line["amount"],
                amount_minor=line["amount"] - off - inside,
                is_proration=bool(item.get("proration")),
            )
        )
    return lines


def has_more_lines(invoice: Stripe) -> bool:
    """Whether an invoice has lines that it does not show by itself."""
    return bool(invoice["lines"].get("has_more"))


def cancels_at(subscription: Stripe) -> datetime | None:
    """When a subscription will end; None while it renews. In flexible billing mode (the default of API versions from
    2025-09-30 on) a stop is given by `cancel_at` alone, in classic mode by `cancel_at_period_end` as well."""
    if subscription.get("cancel_at"):
        return moment(subscription["cancel_at"])
    return subscription_period_end(subscription) if subscription.get("cancel_at_period_end") else None


def session_order_id(session: Stripe) -> str:
    """Our own order, as we named it when we made the session."""
    return str(session.get("client_reference_id") or "")


def session_failed(session: Stripe) -> bool:
    """A complete but unpaid session whose payment has come to nothing (`payment_intent` expanded)."""
    intent = session.get("payment_intent")
    if not isinstance(intent, dict):
        return False
    return intent.get("status") in ("requires_payment_method", "canceled")


def _first_item(subscription: Stripe) -> Stripe:
    first: Stripe = subscription["items"]["data"][0]
    return first
