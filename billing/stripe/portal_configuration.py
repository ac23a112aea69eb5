"""The settings of Stripe's billing portal that our rules need: a configuration of our own, made once and kept up.

In the portal, as on our own pages, an upgrade is billed at once, a downgrade and a shorter interval wait for the end of
the period, and a cancellation takes effect then. (docs.stripe.com/customer-management/configure-portal)
"""

from collections.abc import Callable, Mapping
from typing import Any

import stripe
from django.core.cache import cache

from billing.models import Plan, Price
from billing.stripe import stripe_client
from common.json_types import JsonObject

MARK = {"tegoed": "portal"}  # in the metadata of the configuration that is ours
MOST_PRODUCTS = 10  # what Stripe takes
CACHE_KEY, CACHED_S = "stripe-portal-configuration", 3600

Say = Callable[[str], None]


def features() -> JsonObject:
    """What customers may do in the portal."""
    products = _products()
    return {
        "customer_update": {"enabled": True, "allowed_updates": ["address", "name", "phone", "tax_id"]},
        "invoice_history": {"enabled": True},
        "payment_method_update": {"enabled": True},
        "subscription_cancel": {"enabled": True, "mode": "at_period_end", "proration_behavior": "none"},
        "subscription_update": {
            "enabled": bool(products),
            "default_allowed_updates": ["price"] if products else "",
            "products": products or "",
            "proration_behavior": "always_invoice",
            "schedule_at_period_end": {
                "conditions": [{"type": "decreasing_item_amount"}, {"type": "shortening_interval"}]
            },
            "trial_update_behavior": "continue_trial",
        },
    }


def keep(*, say: Say) -> str:
    """Make the configuration, or sync it with the catalogue; its id. Running it again changes nothing."""
    wanted: Any = features()
    known = find()
    with stripe_client.calling():
        if known is None:
            created = stripe.billing_portal.Configuration.create(features=wanted, metadata=MARK, name="Tegoed")
            say("Stripe: made the settings of the billing portal.")
            known = stripe_client.plain(created)
        elif differences(known):
            stripe.billing_portal.Configuration.modify(known["id"], features=wanted)
            say("Stripe: the billing portal follows the catalogue.")
    cache.delete(CACHE_KEY)
    return str(known["id"])


def find() -> JsonObject | None:
    """Our configuration as Stripe has it; None when there is none."""
    with stripe_client.calling():
        # The products are shown only when they are asked for.
        shown = ["data.features.subscription_update.products"]
        rows = stripe.billing_portal.Configuration.list(active=True, limit=100, expand=shown)
        for row in rows.auto_paging_iter():
            result = stripe_client.plain(row)
            if MARK.items() <= (result.get("metadata") or {}).items():
                return result
    return None


def known_id() -> str:
    """The id of our configuration, remembered for an hour; empty when there is none, and Stripe's default is used."""
    result = cache.get(CACHE_KEY)
    if result is None:
        known = find()
        result = str(known["id"]) if known else ""
        cache.set(CACHE_KEY, result, CACHED_S)
    return str(result)


def forget() -> None:
    """Ask Stripe again next time: the configuration that we knew is gone."""
    cache.delete(CACHE_KEY)


def differences(known: Mapping[str, Any]) -> list[str]:
    """Which of the features stand otherwise at Stripe than our rules need."""
    there = known.get("features") or {}
    return [name for name, wanted in features().items() if not _holds(wanted, there.get(name))]


def _holds(wanted: Any, there: Any) -> bool:
    """Whether everything that is wanted is there; what Stripe adds by itself does not matter."""
    if isinstance(wanted, dict):
        return isinstance(there, dict) and all(_holds(value, there.get(name)) for name, value in wanted.items())
    if isinstance(wanted, list):
        rows = there if isinstance(there, list) else []
        return len(rows) == len(wanted) and all(any(_holds(each, row) for row in rows) for each in wanted)
    return bool(wanted == there) or (wanted == "" and not there)


def _products() -> list[JsonObject]:
    plans = Plan.objects.filter(is_active=True, stripe_product_id__isnull=False).order_by("position", "code")
    result = [{"product": plan.stripe_product_id, "prices": _prices(plan)} for plan in plans]
    return [product for product in result if product["prices"]][:MOST_PRODUCTS]


def _prices(plan: Plan) -> list[str]:
    """One price an interval, which is all that the portal takes: the first one that is on sale."""
    chosen: dict[str, Price] = {}
    for price in plan.prices.filter(is_active=True).order_by("id"):
        chosen.setdefault(price.interval, price)
    return [price.stripe_price_id for price in chosen.values()]
