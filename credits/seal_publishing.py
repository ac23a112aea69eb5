"""Telling others of the ledger's seals, so that nobody can make another chain unseen: a file, a webhook, e-mail.

A head that cannot be published is logged and alerted; the seal itself stands.
"""

import json
from datetime import datetime
from pathlib import Path

import structlog
from django.conf import settings
from django.core.mail import send_mail

from branding import brand
from credits.models import Seal
from outbox import alerts, safe_http
from outbox.models import Alert

logger = structlog.get_logger(__name__)


class HeadsFileError(ValueError):
    """The file of published heads cannot be read; the text says which line."""


def publish(row: Seal, *, now: datetime) -> None:
    """Publish a new head wherever SEAL_FILE, SEAL_WEBHOOK_URL and SEAL_EMAILS say."""
    reported = {"number": row.number, "head": bytes(row.head).hex(), "sealed_at": row.sealed_at.isoformat()}
    try:
        if settings.SEAL_FILE:
            with Path(settings.SEAL_FILE).open("a") as file:
                file.write(f"{row.number} {reported['head']} {reported['sealed_at']}\n")
        if settings.SEAL_WEBHOOK_URL:
            body = json.dumps({"type": "ledger.sealed", **reported}).encode()
            _post(settings.SEAL_WEBHOOK_URL, body)
        if settings.SEAL_EMAILS:
            text = f"Seal {row.number} of the ledger, made {reported['sealed_at']}:\n\n{reported['head']}\n"
            send_mail(f"{brand.current().name}: ledger seal {row.number}", text, None, settings.SEAL_EMAILS)
    except (OSError, safe_http.UnsafeUrlError, safe_http.UnreachableError) as error:
        logger.exception("seal_not_published", number=row.number)
        detail = f"Seal {row.number} could not be published: {error}"
        alerts.raise_alert(Alert.Kind.LEDGER, "seals", detail=detail, now=now)


def _post(url: str, body: bytes) -> None:
    answer = safe_http.post(url, body=body, headers={"Content-Type": "application/json"})
    if answer.status_code >= 300:  # noqa: PLR2004 - HTTP
        raise safe_http.UnreachableError(f"it answered {answer.status_code}")


def published_heads() -> dict[int, str]:
    """The heads that SEAL_FILE holds; none where it is not set, or nothing was sealed yet. Raises HeadsFileError.

    A file that is gone while there are seals is an error too: whoever removes it would remove what seals are compared
    with.
    """
    if not settings.SEAL_FILE:
        return {}
    if not Path(settings.SEAL_FILE).is_file():
        if Seal.objects.exists():
            raise HeadsFileError(f"{settings.SEAL_FILE} (SEAL_FILE) is not there, and the ledger has seals.")
        return {}
    return read_heads(settings.SEAL_FILE)


def check_chain() -> None:
    """Nothing is sealed onto a chain that is not the published one. Raises HeadsFileError."""
    heads = published_heads()
    known = {row.number: bytes(row.head).hex() for row in Seal.objects.only("number", "head").iterator()}
    for number, head in sorted(heads.items()):
        if known.get(number) != head:
            raise HeadsFileError(f"Seal {number} is not the one that was published: nothing is sealed until you look.")


def read_heads(path: str) -> dict[int, str]:
    """The heads in a file that `publish` wrote. Raises HeadsFileError."""
    heads: dict[int, str] = {}
    for place, line in enumerate(Path(path).read_text().splitlines(), start=1):
        if not line.strip():
            continue
        try:
            number, head, *_when = line.split()
            known = heads.setdefault(int(number), head)
            bytes.fromhex(head)
        except ValueError:
            raise HeadsFileError(f"Line {place} of {path} is no seal: a number, a head, a moment.") from None
        if known != head:
            raise HeadsFileError(f"Line {place} of {path} has another head for seal {number}: it was sealed anew.")
    return heads
