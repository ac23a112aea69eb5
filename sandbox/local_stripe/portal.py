"""The billing portal: its settings, and sessions, which are links to a page where a customer manages what they pay for.

docs.stripe.com/customer-management/configure-portal: without saved settings, or a configuration that a session names,
there are no sessions; the settings say what a customer may do, and how a change is billed.
"""

from common.json_types import JsonObject
from sandbox.local_stripe import schedules, subscriptions
from sandbox.local_stripe.core import LocalStripe, route
from sandbox.local_stripe.errors import invalid
from sandbox.local_stripe.store import new_id

Row = JsonObject

CONFIGURATION = "billing_portal.configuration"
NOT_SET_UP = (
    "No configuration provided and your test mode default configuration has not been created. Provide a configuration "
    "or create your default by saving your customer portal settings in test mode."
)


@route("POST", "/v1/billing_portal/configurations", "billing_portal.ConfigurationCreateParams")
def create_configuration(stripe: LocalStripe, values: Row) -> Row:
    profile: Row = {"headline": None, "privacy_policy_url": None, "terms_of_service_url": None}
    return stripe.new(
        CONFIGURATION,
        "bpc",
        active=True,
        business_profile=profile | (values.get("business_profile") or {}),
        default_return_url=values.get("default_return_url"),
        features=_features(stripe, values["features"]),
        is_default=False,
        login_page={"enabled": False, "url": None},
        metadata=values.get("metadata") or {},
        name=values.get("name"),
        updated=stripe.timestamp(),
    )


@route("GET", "/v1/billing_portal/configurations", "billing_portal.ConfigurationListParams")
def list_configurations(stripe: LocalStripe, values: Row) -> Row:
    return stripe.listed(CONFIGURATION, values, by=("active", "is_default"))


@route("GET", "/v1/billing_portal/configurations/{configuration_id}")
def configuration(stripe: LocalStripe, values: Row, configuration_id: str) -> Row:
    return stripe.get(CONFIGURATION, configuration_id)


@route("POST", "/v1/billing_portal/configurations/{configuration_id}", "billing_portal.ConfigurationModifyParams")
def update_configuration(stripe: LocalStripe, values: Row, configuration_id: str) -> Row:
    row = stripe.get(CONFIGURATION, configuration_id)
    if features := values.pop("features", None):
        values["features"] = row["features"] | _features(stripe, features)
    return stripe.changed(CONFIGURATION, row | values | {"updated": stripe.timestamp()})


@route("POST", "/v1/billing_portal/sessions", "billing_portal.SessionCreateParams")
def create_portal_session(stripe: LocalStripe, values: Row) -> Row:
    stripe.get("customer", values.get("customer", ""))
    chosen = values.get("configuration")
    if chosen:
        result = stripe.store.get(CONFIGURATION, chosen)
        if result is None or not result["active"]:
            raise invalid(f"No such configuration: '{chosen}'", param="configuration", code="resource_missing")
    else:
        result = next((row for row in stripe.store.all(CONFIGURATION) if row["is_default"]), None)
        if result is None:
            raise invalid(NOT_SET_UP)
    identifier = new_id("bps")
    return stripe.new(
        "billing_portal.session",
        "bps",
        id=identifier,
        customer=values["customer"],
        return_url=values.get("return_url"),
        configuration=result["id"],
        url=f"{stripe.public_url}/p/session/{identifier}",
    )


def may_switch_to(stripe: LocalStripe, portal: Row) -> set[str]:
    """The prices that a customer may change to in this portal."""
    update = stripe.get(CONFIGURATION, portal["configuration"])["features"]["subscription_update"]
    products = update.get("products") or []
    return {price for product in products for price in product["prices"]} if update["enabled"] else set()


def act(stripe: LocalStripe, portal_id: str, subscription_id: str, action: str, price_id: str = "") -> None:
    """What a button on the portal's page does, by the portal's settings."""
    with stripe.lock:
        portal = stripe.get("billing_portal.session", portal_id)
        row = stripe.get("subscription", subscription_id)
        if row["customer"] != portal["customer"]:
            raise invalid(f"No such subscription: '{subscription_id}'", code="resource_missing", status=404)
        features = stripe.get(CONFIGURATION, portal["configuration"])["features"]
        if action == "switch":
            if price_id not in may_switch_to(stripe, portal):
                raise invalid("This portal does not offer that price.", param="price")
            _switch(stripe, row, price_id, features["subscription_update"])
        elif action == "resume":
            subscriptions.update_subscription(stripe, {"cancel_at": ""}, subscription_id)
        elif not features["subscription_cancel"]["enabled"]:
            raise invalid("This portal does not let customers cancel.", param="action")
        elif features["subscription_cancel"]["mode"] == "immediately":
            subscriptions.cancel_subscription(stripe, {}, subscription_id)
        else:
            subscriptions.update_subscription(stripe, {"cancel_at": "min_period_end"}, subscription_id)
        stripe.store.save()


def _switch(stripe: LocalStripe, row: Row, price_id: str, how: Row) -> None:
    """At once, or at the end of the period where a condition of `schedule_at_period_end` holds."""
    item, price = row["items"]["data"][0], stripe.get("price", price_id)
    conditions = {each["type"] for each in (how.get("schedule_at_period_end") or {}).get("conditions", [])}
    lengths = {"day": 1, "week": 7, "month": 30, "year": 365}
    before, after = item["price"], price
    is_shorter = lengths[after["recurring"]["interval"]] < lengths[before["recurring"]["interval"]]
    is_cheaper = not is_shorter and after["unit_amount"] < before["unit_amount"]
    if (is_shorter and "shortening_interval" in conditions) or (
        is_cheaper and after["recurring"] == before["recurring"] and "decreasing_item_amount" in conditions
    ):
        created = schedules.create_schedule(stripe, {"from_subscription": row["id"]})
        phase = created["phases"][0]
        kept = {"start_date": phase["start_date"], "end_date": phase["end_date"]}
        now = [{"price": before["id"], "quantity": item["quantity"]}]
        then = [{"price": after["id"], "quantity": item["quantity"]}]
        schedules.update_schedule(
            stripe, {"phases": [{"items": now, **kept}, {"items": then}], "end_behavior": "release"}, created["id"]
        )
        return
    change = {"items": [{"id": item["id"], "price": price_id}], "proration_behavior": how["proration_behavior"]}
    subscriptions.update_subscription(stripe, change, row["id"])


def _features(stripe: LocalStripe, wanted: Row) -> Row:
    """The features of a configuration, each as Stripe shows it. Raises what it refuses."""
    update = wanted.get("subscription_update") or {"enabled": False}
    products = update.get("products") or []
    for product in products:
        stripe.get("product", product["product"])
        prices = [stripe.get("price", price) for price in product["prices"]]
        intervals = [(row["recurring"]["interval"], row["recurring"]["interval_count"]) for row in prices]
        if len(set(intervals)) < len(intervals):
            raise invalid("The prices of a product must have billing intervals of their own.", param="features")
    if update.get("enabled") and (not products or not update.get("default_allowed_updates")):
        raise invalid("subscription_update needs products and default_allowed_updates.", param="features")
    cancel = wanted.get("subscription_cancel") or {"enabled": False}
    conditions = (update.get("schedule_at_period_end") or {}).get("conditions", [])
    return {
        "customer_update": {"allowed_updates": [], **(wanted.get("customer_update") or {"enabled": False})},
        "invoice_history": wanted.get("invoice_history") or {"enabled": False},
        "payment_method_update": {
            "payment_method_configuration": None,
            **(wanted.get("payment_method_update") or {"enabled": False}),
        },
        "subscription_cancel": {
            "cancellation_reason": {"enabled": False, "options": []},
            "mode": "at_period_end",
            "proration_behavior": "none",
            **cancel,
        },
        "subscription_update": {
            "billing_cycle_anchor": None,
            "proration_behavior": "none",
            "trial_update_behavior": "end_trial",
            **update,
            "default_allowed_updates": update.get("default_allowed_updates") or [],
            "products": [_product(each) for each in products],
            "schedule_at_period_end": {"conditions": conditions},
        },
    }


def _product(given: Row) -> Row:
    return {"adjustable_quantity": {"enabled": False, "maximum": None, "minimum": 1}, **given}
