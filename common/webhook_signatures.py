"""Signatures of webhooks by the Standard Webhooks specification: those that come in (Svix) and those that go out."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable, Mapping
from datetime import datetime

PREFIX = "whsec_"
# The specification's headers, and the names that Svix gave them before.
HEADERS = ("id", "timestamp", "signature")
FAMILIES = ("webhook", "svix")


class ForgedWebhookError(Exception):
    """Not signed as it should be, or not about now."""


def sign(*, secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """The signature of a message: `v1,` and HMAC-SHA256 of its id, time and body."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(_key(secret), signed, hashlib.sha256)).decode()


def verify(
    *, secrets: Iterable[str], headers: Mapping[str, str], body: bytes, now: datetime, tolerance_s: int
) -> datetime:
    """When a message was sent, once it is certain who sent it. Raises ForgedWebhookError."""
    for family in FAMILIES:
        message_id, timestamp, signatures = (headers.get(f"{family}-{name}", "") for name in HEADERS)
        if message_id:
            break
    if not (message_id and timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 11):  # noqa: PLR2004
        raise ForgedWebhookError("no id, or no time")
    if abs(now.timestamp() - int(timestamp)) > tolerance_s:
        raise ForgedWebhookError("signed long ago, or in the future")
    sent = [part.encode() for part in signatures.split(" ")]
    for secret in secrets:
        expected = sign(secret=secret, message_id=message_id, timestamp=int(timestamp), body=body).encode()
        if any(hmac.compare_digest(expected, signature) for signature in sent):
            return datetime.fromtimestamp(int(timestamp), now.tzinfo)
    raise ForgedWebhookError("no valid signature")


def _key(secret: str) -> bytes:
    try:
        return base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("a webhook secret is whsec_ and base64") from error
