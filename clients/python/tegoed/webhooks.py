"""Webhooks by the Standard Webhooks specification: who sent it, and when, before anything is done with it."""

import base64
import binascii
import hashlib
import hmac
import json
import time
from collections.abc import Iterable, Mapping
from typing import Any

from tegoed.errors import ForgedWebhook

TOLERANCE_S = 300
LONGEST_TIMESTAMP = 11


def verify_webhook(
    body: bytes | str,
    headers: Mapping[str, str],
    secrets: str | Iterable[str],
    *,
    tolerance_s: int = TOLERANCE_S,
    now: float | None = None,
) -> dict[str, Any]:
    """The event in a webhook (`type`, `timestamp`, `data`), once it is certain who sent it.

    `body` is the body as it came, not parsed and written anew; `secrets` the endpoint's, two while it is rotated.
    Raises ForgedWebhook.
    """
    sent = {name.lower(): value for name, value in headers.items()}
    message_id, timestamp, signatures = (sent.get(f"webhook-{name}", "") for name in ("id", "timestamp", "signature"))
    if not message_id or not (timestamp.isascii() and timestamp.isdigit()) or len(timestamp) > LONGEST_TIMESTAMP:
        raise ForgedWebhook("no id, or no time")
    if abs((time.time() if now is None else now) - int(timestamp)) > tolerance_s:
        raise ForgedWebhook("signed long ago, or in the future")
    content = body.encode() if isinstance(body, str) else body
    signed = f"{message_id}.{timestamp}.".encode() + content
    given = [part.encode() for part in signatures.split(" ")]
    for secret in [secrets] if isinstance(secrets, str) else secrets:
        expected = b"v1," + base64.b64encode(hmac.digest(_key(secret), signed, hashlib.sha256))
        if any(hmac.compare_digest(expected, signature) for signature in given):
            event: dict[str, Any] = json.loads(content)
            return event
    raise ForgedWebhook("no valid signature")


def _key(secret: str) -> bytes:
    try:
        return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("A webhook secret is whsec_ and base64.") from error
