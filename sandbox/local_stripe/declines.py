"""The customers whose card is refused from now on, as a test decides it."""

from common.json_types import JsonObject
from sandbox.local_stripe.core import LocalStripe

Row = JsonObject

DECLINES = "_declines"


def set_declines(
    stripe: LocalStripe, customer_id: str, *, is_on: bool, needs_action: bool = False, is_slow: bool = False
) -> None:
    """From now on this customer's card is refused, wants its owner (3-D Secure), or is taken again.

    `is_slow`: they pay by a bank's debit, whose answer takes days (docs.stripe.com/billing/subscriptions/sepa-debit).
    """
    with stripe.lock:
        stripe.get("customer", customer_id)
        reported = {"is_on": is_on or needs_action, "needs_action": needs_action, "is_slow": is_slow}
        stripe.store.put(DECLINES, customer_id, reported)
        stripe.store.save()


def refusal(stripe: LocalStripe, customer_id: str) -> str:
    """Why this customer's card is refused while they are not there; empty when it is taken."""
    result = stripe.store.get(DECLINES, customer_id) or {}
    return ("authentication_required" if result.get("needs_action") else "card_declined") if result.get("is_on") else ""


def is_slow(stripe: LocalStripe, customer_id: str) -> bool:
    """Whether they pay by a bank's debit, whose answer takes days."""
    return bool((stripe.store.get(DECLINES, customer_id) or {}).get("is_slow"))
