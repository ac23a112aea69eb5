"""The billing portal: a session is a link to a page where the customer manages what they pay for."""

from typing import Any

from sandbox.local_stripe.core import LocalStripe, route
from sandbox.local_stripe.store import new_id

Row = dict[str, Any]


@route("POST", "/v1/billing_portal/sessions", "billing_portal.SessionCreateParams")
def create_portal_session(stripe: LocalStripe, values: Row) -> Row:
    stripe.get("customer", values["customer"])
    identifier = new_id("bps")
    return stripe.new(
        "billing_portal.session",
        "bps",
        id=identifier,
        customer=values["customer"],
        return_url=values.get("return_url"),
        configuration="bpc_sandbox",
        url=f"{stripe.public_url}/p/session/{identifier}",
    )
