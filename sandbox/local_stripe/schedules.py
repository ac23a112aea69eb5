"""Subscription schedules: what a subscription will become at the end of its period."""

from common.json_types import JsonObject
from sandbox.local_stripe import periods
from sandbox.local_stripe.core import LocalStripe, route
from sandbox.local_stripe.errors import invalid

Row = JsonObject

DEFAULT_SETTINGS = {
    "application_fee_percent": None,
    "billing_cycle_anchor": "automatic",
    "billing_thresholds": None,
    "collection_method": "charge_automatically",
    "default_payment_method": None,
    "description": None,
    "invoice_settings": {"account_tax_ids": None, "days_until_due": None, "issuer": {"type": "self"}},
    "on_behalf_of": None,
    "transfer_data": None,
}


@route("POST", "/v1/subscription_schedules", "SubscriptionScheduleCreateParams")
def create_schedule(stripe: LocalStripe, values: Row) -> Row:
    if values.keys() - {"from_subscription", "metadata"}:
        raise invalid("The local Stripe makes a schedule from a subscription.", param="from_subscription")
    subscription = stripe.get("subscription", values["from_subscription"])
    if subscription.get("schedule"):
        raise invalid("This subscription has a schedule already.", param="from_subscription")
    item = subscription["items"]["data"][0]
    row = stripe.new(
        "subscription_schedule",
        "sub_sched",
        customer=subscription["customer"],
        subscription=subscription["id"],
        status="active",
        end_behavior="release",
        metadata=values.get("metadata") or {},
        default_settings=DEFAULT_SETTINGS,
        billing_mode={"type": "flexible", "flexible": None, "updated_at": None},
        current_phase={"start_date": item["current_period_start"], "end_date": item["current_period_end"]},
        phases=[_phase(stripe, item, item["current_period_start"], item["current_period_end"])],
    )
    subscription["schedule"] = row["id"]
    stripe.changed("subscription", subscription)
    stripe.emit("subscription_schedule.created", row)
    stripe.emit("customer.subscription.updated", subscription, {"schedule": None})
    return row


@route("GET", "/v1/subscription_schedules/{schedule_id}")
def schedule(stripe: LocalStripe, values: Row, schedule_id: str) -> Row:
    return stripe.get("subscription_schedule", schedule_id)


@route("POST", "/v1/subscription_schedules/{schedule_id}", "SubscriptionScheduleModifyParams")
def update_schedule(stripe: LocalStripe, values: Row, schedule_id: str) -> Row:
    row = _active(stripe, schedule_id)
    phases = values.get("phases") or []
    if len(phases) != 2 or any(len(phase.get("items", [])) != 1 for phase in phases):  # noqa: PLR2004 - now, and then
        raise invalid("The local Stripe knows two phases of one item: the current one, and the next.", param="phases")
    if phases[0].get("start_date") != row["phases"][0]["start_date"]:
        raise invalid("You can not modify the start date of the current phase.", param="phases")
    first, second = (phase["items"][0] for phase in phases)
    price = stripe.get("price", second["price"])
    if second["price"] != first["price"] and not price["active"]:
        raise invalid("The price specified is inactive. This field only accepts active prices.", param="phases")
    ends = phases[0].get("end_date", row["phases"][0]["end_date"])
    last = periods.after(ends, price, 1)  # one period, unless it says otherwise
    row |= {
        "end_behavior": values.get("end_behavior", row["end_behavior"]),
        "phases": [_phase(stripe, first, row["phases"][0]["start_date"], ends), _phase(stripe, second, ends, last)],
    }
    stripe.changed("subscription_schedule", row)
    stripe.emit("subscription_schedule.updated", row)
    return row


@route("POST", "/v1/subscription_schedules/{schedule_id}/release", "SubscriptionScheduleReleaseParams")
def release_schedule(stripe: LocalStripe, values: Row, schedule_id: str) -> Row:
    row = _active(stripe, schedule_id)
    subscription = stripe.get("subscription", row["subscription"])
    _release(stripe, row, subscription)
    stripe.emit("customer.subscription.updated", subscription, {"schedule": row["id"]})
    return row


def begin_next_phase(stripe: LocalStripe, subscription: Row) -> None:
    """At the end of a period: what was planned becomes so. The schedule lasts to the end of its last phase.

    docs.stripe.com/billing/subscriptions/subscription-schedules: with `end_behavior=release` it lets go then.
    """
    if not subscription.get("schedule"):
        return
    row = stripe.get("subscription_schedule", subscription["schedule"])
    item, now = subscription["items"]["data"][0], subscription["items"]["data"][0]["current_period_end"]
    later = [phase for phase in row["phases"] if phase["start_date"] >= now]
    if not later:
        _release(stripe, row, subscription)
        return
    phase = later[0]
    planned = phase["items"][0]
    price = stripe.get("price", planned["price"])
    if price["recurring"] != item["price"]["recurring"]:
        subscription["billing_cycle_anchor"] = now
    item |= {"price": price, "quantity": planned["quantity"]}
    row["current_phase"] = {"start_date": phase["start_date"], "end_date": phase["end_date"]}
    stripe.changed("subscription_schedule", row)


def end_with(stripe: LocalStripe, subscription: Row) -> None:
    """A subscription that is cancelled takes its schedule along."""
    if subscription.get("schedule"):
        row = stripe.get("subscription_schedule", subscription["schedule"])
        row |= {"status": "canceled", "canceled_at": stripe.timestamp(), "current_phase": None}
        stripe.changed("subscription_schedule", row)
        stripe.emit("subscription_schedule.canceled", row)


def _release(stripe: LocalStripe, row: Row, subscription: Row) -> None:
    row |= {
        "status": "released",
        "released_at": stripe.timestamp(),
        "released_subscription": subscription["id"],
        "subscription": None,
        "current_phase": None,
    }
    subscription["schedule"] = None
    stripe.changed("subscription_schedule", row)
    stripe.changed("subscription", subscription)
    stripe.emit("subscription_schedule.released", row)


def _active(stripe: LocalStripe, schedule_id: str) -> Row:
    row = stripe.get("subscription_schedule", schedule_id)
    if row["status"] != "active":
        raise invalid(f"This schedule is {row['status']}: it cannot be changed.")
    return row


def _phase(stripe: LocalStripe, item: Row, starts: int, ends: int) -> Row:
    price = item["price"] if isinstance(item["price"], str) else item["price"]["id"]
    stripe.get("price", price)
    return {
        "add_invoice_items": [],
        "application_fee_percent": None,
        "billing_cycle_anchor": None,
        "billing_thresholds": None,
        "collection_method": None,
        "currency": "eur",
        "default_payment_method": None,
        "description": None,
        "discounts": [],
        "end_date": ends,
        "invoice_settings": None,
        "items": [
            {
                "billing_thresholds": None,
                "discounts": [],
                "metadata": {},
                "plan": price,
                "price": price,
                "quantity": item.get("quantity", 1),
                "tax_rates": [],
            }
        ],
        "metadata": {},
        "on_behalf_of": None,
        "proration_behavior": "none",
        "start_date": starts,
        "transfer_data": None,
        "trial_end": None,
    }
