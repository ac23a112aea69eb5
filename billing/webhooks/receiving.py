"""Taking webhooks in: verified, stored, answered. Nothing is acted on here, and nobody is called.

dj-stripe's own view stays unmounted (docs/decisions.md says what it does with unsigned requests).
"""

import json
from datetime import datetime, timedelta

import stripe
from django.conf import settings
from django.db import transaction

from billing.models import InboxEvent
from billing.stripe import payloads
from common.json_types import JsonObject
from common.queue import enqueue

# How long a worker has to take a queued event before the sweep does.
GRACE = timedelta(seconds=15)
LATEST_TIMESTAMP = 4_102_444_800  # the year 2100: later ones are no times
LONGEST_NAME = 120  # of an id or a type; the columns take this much


class RefusedWebhookError(Exception):
    """The request is no event of Stripe's; `status` is how it is answered."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


def check_size(content_length: str) -> None:
    """Refuse a body that is too large before it is read. Raises RefusedWebhookError."""
    if not content_length.isdigit():
        raise RefusedWebhookError(411, "no Content-Length")
    if int(content_length) > settings.WEBHOOK_MAX_BYTES:
        raise RefusedWebhookError(413, f"the body is over {settings.WEBHOOK_MAX_BYTES} bytes")


def receive(*, body: bytes, signature: str, now: datetime) -> None:
    """Store a webhook's event in the inbox, unless it is there already, and queue it.

    Raises RefusedWebhookError; then nothing was stored.
    """
    _verify(body, signature, now=now)
    store_event(_parse(body), now=now)


def store_event(event: JsonObject, *, now: datetime) -> bool:
    """Store an event of Stripe's, whichever way it came, and queue it; False when it was there already."""
    about = event["data"]["object"]
    state, error = _initial_state(event)
    row = InboxEvent(
        event_id=event["id"],
        type=event["type"],
        object_id=str(about.get("id") or ""),
        customer_id=payloads.customer_id(about),
        payload=event,
        state=state,
        error=error,
        created_at=payloads.moment(event["created"]),
        received_at=now,
        processed_at=None if state == InboxEvent.State.RECEIVED else now,
        next_attempt_at=now + GRACE if state == InboxEvent.State.RECEIVED else None,
    )
    with transaction.atomic():
        # Stripe sends an event as often as it likes; the first copy is kept.
        known = InboxEvent.objects.filter(event_id=event["id"]).exists()
        InboxEvent.objects.bulk_create([row], ignore_conflicts=True)
        if state == InboxEvent.State.RECEIVED:
            transaction.on_commit(lambda: enqueue("billing.tasks.process_event", event_id=event["id"]))
    return not known


def _verify(body: bytes, signature: str, *, now: datetime) -> None:
    """Signed with one of our secrets, at about this time: neither long ago nor in the future."""
    try:
        text = body.decode()
        # Of two times, Stripe's library takes one and we the other: only one is signed.
        (sent_at,) = (int(part[2:]) for part in signature.split(",") if part.startswith("t="))
    except (UnicodeDecodeError, ValueError):
        raise RefusedWebhookError(400, "no signature, or a malformed one") from None
    if abs(now.timestamp() - sent_at) > settings.WEBHOOK_TOLERANCE_S:
        raise RefusedWebhookError(400, "the signature is too old, or from the future")
    for secret in settings.STRIPE_WEBHOOK_SECRETS:
        try:
            stripe.WebhookSignature.verify_header(text, signature, secret)
        except stripe.SignatureVerificationError:
            continue
        return
    raise RefusedWebhookError(400, "the signature is not by any of our secrets")


def _parse(body: bytes) -> JsonObject:
    if b"\\u0000" in body or b"\x00" in body:
        raise RefusedWebhookError(400, "holds a NUL, which PostgreSQL cannot keep")
    try:
        event = json.loads(body)
    except (ValueError, RecursionError):
        raise RefusedWebhookError(400, "not JSON") from None
    if not _is_event(event):
        raise RefusedWebhookError(400, "not an event")
    result: JsonObject = event
    return result


def _is_event(event: object) -> bool:
    """Everything that is read from an event before it is stored is what it should be."""
    if not isinstance(event, dict) or not isinstance(event.get("data"), dict):
        return False
    about = event["data"].get("object")
    created = event.get("created")
    return (
        isinstance(about, dict)
        and _is_name(event.get("id"))
        and _is_name(event.get("type"))
        and isinstance(created, int)
        and not isinstance(created, bool)
        and 0 <= created <= LATEST_TIMESTAMP
        and _is_name(about.get("id", "none"))
        and _is_name(payloads.reference(about.get("customer")) or "none")
    )


def _is_name(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= LONGEST_NAME


def _initial_state(event: JsonObject) -> tuple[InboxEvent.State, str]:
    """Events of another mode or account are kept to be seen, and not acted on."""
    if bool(event.get("livemode")) != settings.STRIPE_LIVE_MODE:
        return InboxEvent.State.IGNORED, f"livemode is {event.get('livemode')}, ours is {settings.STRIPE_LIVE_MODE}"
    if event.get("account"):
        return InboxEvent.State.IGNORED, f"of another account: {event['account']}"
    return InboxEvent.State.RECEIVED, ""
