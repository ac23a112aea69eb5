"""Test clocks: time that a test moves (docs.stripe.com/billing/testing/test-clocks).

At Stripe each clock moves the customers that were made on it. Here there is one time for everything: a clock that is
advanced takes all of it along.
"""

from common.json_types import JsonObject
from sandbox.local_stripe.core import LocalStripe, route
from sandbox.local_stripe.customers import delete_customer
from sandbox.local_stripe.errors import invalid

Row = JsonObject

KIND = "test_helpers.test_clock"
KEPT_S = 30 * 86_400


@route("POST", "/v1/test_helpers/test_clocks", "test_helpers.TestClockCreateParams")
def create_test_clock(stripe: LocalStripe, values: Row) -> Row:
    now = stripe.timestamp()
    if values["frozen_time"] > now:
        stripe.advance(values["frozen_time"] - now)
    return stripe.new(
        KIND,
        "clock",
        frozen_time=stripe.timestamp(),
        name=values.get("name"),
        status="ready",
        status_details={},
        deletes_after=stripe.timestamp() + KEPT_S,
    )


@route("GET", "/v1/test_helpers/test_clocks/{clock_id}")
def read_test_clock(stripe: LocalStripe, values: Row, clock_id: str) -> Row:
    return stripe.get(KIND, clock_id)


@route("POST", "/v1/test_helpers/test_clocks/{clock_id}/advance", "test_helpers.TestClockAdvanceParams")
def advance_test_clock(stripe: LocalStripe, values: Row, clock_id: str) -> Row:
    row = stripe.get(KIND, clock_id)
    if values["frozen_time"] <= row["frozen_time"]:
        raise invalid("The test clock can only be advanced to a later time.", param="frozen_time")
    stripe.advance(max(0, values["frozen_time"] - stripe.timestamp()))
    row["frozen_time"] = values["frozen_time"]
    return stripe.changed(KIND, row)


@route("DELETE", "/v1/test_helpers/test_clocks/{clock_id}")
def delete_test_clock(stripe: LocalStripe, values: Row, clock_id: str) -> Row:
    """Its customers go with it."""
    stripe.get(KIND, clock_id)
    for customer in list(stripe.store.all("customer")):
        if customer.get("test_clock") == clock_id:
            delete_customer(stripe, {}, customer["id"])
    stripe.store.remove(KIND, clock_id)
    return {"id": clock_id, "object": KIND, "deleted": True}
