"""Events and their delivery: signed, retried, and held back or shuffled when a test asks for it."""

import hashlib
import hmac
import random
from collections.abc import Callable

from common.json_types import JsonObject
from sandbox.local_stripe.core import LocalStripe, encoded_json, reaction, route
from sandbox.local_stripe.errors import invalid
from sandbox.local_stripe.store import DELIVERY, new_id

Row = JsonObject

# Sends a body with its signature to a URL and answers the HTTP status, or 0 when nobody answered.
Send = Callable[[str, str, str], int]

# docs.stripe.com/webhooks#automatic-retries: for up to three days, with an exponential back-off.
LONGEST_PAUSE_S = 12 * 3600
GIVEN_UP_AFTER_S = 3 * 86_400
MODE = "_mode"


@route("GET", "/v1/events", "EventListParams")
def list_events(stripe: LocalStripe, values: Row) -> Row:
    since = (values.get("created") or {}).get("gte", 0) if isinstance(values.get("created"), dict) else 0
    kinds = values.get("types")
    return stripe.listed(
        "event",
        values,
        by=("type",),
        where=lambda row: row["created"] >= since and (kinds is None or row["type"] in kinds),
    )


@route("GET", "/v1/events/{event_id}")
def event(stripe: LocalStripe, values: Row, event_id: str) -> Row:
    return stripe.get("event", event_id)


@route("POST", "/v1/webhook_endpoints", "WebhookEndpointCreateParams")
def create_endpoint(stripe: LocalStripe, values: Row) -> Row:
    if not values["url"].startswith(("http://127.0.0.1", "http://localhost", "https://")):
        raise invalid("Invalid URL: URL must be publicly accessible, or on this machine.", param="url")
    values = {"metadata": {}, "status": "enabled", "api_version": None} | values
    return stripe.new("webhook_endpoint", "we", **values, secret=new_id("whsec"))


@route("GET", "/v1/webhook_endpoints", "WebhookEndpointListParams")
def list_endpoints(stripe: LocalStripe, values: Row) -> Row:
    result = stripe.listed("webhook_endpoint", values)
    return result | {"data": [_without_secret(row) for row in result["data"]]}


@route("GET", "/v1/webhook_endpoints/{endpoint_id}")
def endpoint(stripe: LocalStripe, values: Row, endpoint_id: str) -> Row:
    return _without_secret(stripe.get("webhook_endpoint", endpoint_id))


@route("POST", "/v1/webhook_endpoints/{endpoint_id}", "WebhookEndpointModifyParams")
def update_endpoint(stripe: LocalStripe, values: Row, endpoint_id: str) -> Row:
    row = stripe.get("webhook_endpoint", endpoint_id)
    if "disabled" in values:
        row["status"] = "disabled" if values.pop("disabled") else "enabled"
    return _without_secret(stripe.changed("webhook_endpoint", row | values))


@route("DELETE", "/v1/webhook_endpoints/{endpoint_id}")
def delete_endpoint(stripe: LocalStripe, values: Row, endpoint_id: str) -> Row:
    stripe.get("webhook_endpoint", endpoint_id)
    stripe.store.remove("webhook_endpoint", endpoint_id)
    return {"id": endpoint_id, "object": "webhook_endpoint", "deleted": True}


def listen(stripe: LocalStripe, *, url: str, secret: str) -> None:
    """Deliver every event to `url`, signed with `secret`: what the demo's runner sets up."""
    identifier = "we_demo"
    row = stripe.store.get("webhook_endpoint", identifier) or stripe.new("webhook_endpoint", "we", id=identifier)
    row |= {"url": url, "secret": secret, "status": "enabled", "enabled_events": ["*"]}
    stripe.changed("webhook_endpoint", row)
    stripe.store.save()


@reaction("event")
def queue(stripe: LocalStripe, event: Row) -> None:
    """Plan one delivery per endpoint that wants this event."""
    for endpoint in stripe.store.all("webhook_endpoint"):
        wanted = endpoint["enabled_events"]
        if endpoint["status"] == "enabled" and ("*" in wanted or event["type"] in wanted):
            event["pending_webhooks"] += 1
            identifier = new_id("wd")
            row = {"id": identifier, "event": event["id"], "endpoint": endpoint["id"], "tries": 0, "not_before": 0}
            stripe.store.put(DELIVERY, identifier, row)


def resend(stripe: LocalStripe, event_id: str) -> None:
    """Plan the deliveries of an event once more."""
    with stripe.lock:
        queue(stripe, stripe.get("event", event_id))
        stripe.store.save()


def hold(stripe: LocalStripe, *, is_on: bool) -> None:
    """Keep deliveries back, or let them go by themselves again."""
    with stripe.lock:
        stripe.store.put(MODE, "delivery", {"held": is_on})
        stripe.store.save()


def is_held(stripe: LocalStripe) -> bool:
    return bool((stripe.store.get(MODE, "delivery") or {}).get("held"))


def deliver_due(stripe: LocalStripe, send: Send) -> None:
    """Send what is due, in order; what is refused is tried again, later each time, over days of the clock."""
    with stripe.lock:
        if is_held(stripe):
            return
        now = stripe.timestamp()
        due = [row for row in stripe.store.all(DELIVERY) if row["not_before"] <= now]
    for row in due:
        if not _deliver(stripe, row, send):
            with stripe.lock:
                row["tries"] += 1
                row["since"] = row.get("since") or now
                row["not_before"] = now + min(2 ** row["tries"], LONGEST_PAUSE_S)
                if now - row["since"] > GIVEN_UP_AFTER_S:
                    stripe.store.remove(DELIVERY, row["id"])
                stripe.store.save()


def flush(stripe: LocalStripe, send: Send, *, order: str = "fifo", copies: int = 1, seed: int = 0) -> list[int]:
    """Send everything that is queued, in the order asked for and as often; answers the HTTP statuses."""
    with stripe.lock:
        rows = [row for row in stripe.store.all(DELIVERY) for _ in range(copies)]
    if order == "reversed":
        rows.reverse()
    elif order == "shuffled":
        random.Random(seed).shuffle(rows)  # noqa: S311 - a repeatable order, no secret
    elif order != "fifo":
        raise invalid("Invalid order: must be one of fifo, reversed, shuffled", param="order")
    return [_deliver(stripe, row, send) for row in rows]


def signature(secret: str, timestamp: int, body: str) -> str:
    """The Stripe-Signature header for a body sent at `timestamp`."""
    digest = hmac.new(secret.encode(), f"{timestamp}.{body}".encode(), hashlib.sha256).hexdigest()
    return f"t={timestamp},v1={digest}"


def _deliver(stripe: LocalStripe, row: Row, send: Send) -> int:
    """One try; answers the status when it was taken, and 0 when it was not."""
    with stripe.lock:
        endpoint = stripe.store.get("webhook_endpoint", row["endpoint"])
        event = stripe.store.get("event", row["event"])
        if endpoint is None or event is None:
            stripe.store.remove(DELIVERY, row["id"])
            return 0
        body = encoded_json(event)
        header = signature(endpoint["secret"], stripe.timestamp(), body)
    status = send(endpoint["url"], body, header)  # not under the lock: the receiver may call us back
    if not 200 <= status < 300:  # noqa: PLR2004 - what HTTP calls success
        return 0
    with stripe.lock:
        if stripe.store.get(DELIVERY, row["id"]):
            stripe.store.remove(DELIVERY, row["id"])
            event["pending_webhooks"] -= 1
            stripe.changed("event", event)
        stripe.store.save()
    return status


def _without_secret(row: Row) -> Row:
    return {name: value for name, value in row.items() if name != "secret"}
