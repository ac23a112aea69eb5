"""Telling others of the ledger's seals, so that nobody can make another chain unseen: a file, a webhook, e-mail.

A head that cannot be told is logged and alerted; the seal itself stands.
"""

import json
from datetime import datetime
from pathlib import Path

import structlog
from django.conf import settings
from django.core.mail import send_mail

from credits.models import Seal
from outbox import alerts, safe_http
from outbox.models import Alert

logger = structlog.get_logger(__name__)


class HeadsFileError(ValueError):
    """The file of published heads cannot be read; the text says which line."""


def publish(row: Seal, *, now: datetime) -> None:
    """Tell a new head wherever SEAL_FILE, SEAL_WEBHOOK_URL and SEAL_EMAILS say."""
    told = {"number": row.number, "head": bytes(row.head).hex(), "sealed_at": row.sealed_at.isoformat()}
    try:
        if settings.SEAL_FILE:
            with Path(settings.SEAL_FILE).open("a") as file:
                file.write(f"{row.number} {told['head']} {told['sealed_at']}\n")
        if settings.SEAL_WEBHOOK_URL:
            body = json.dumps({"type": "ledger.sealed", **told}).encode()
            _post(settings.SEAL_WEBHOOK_URL, body)
        if settings.SEAL_EMAILS:
            text = f"Seal {row.number} of the ledger, made {told['sealed_at']}:\n\n{told['head']}\n"
            send_mail(f"{settings.SITE_NAME}: ledger seal {row.number}", text, None, settings.SEAL_EMAILS)
    except (OSError, safe_http.UnsafeUrlError, safe_http.UnreachableError) as error:
        logger.exception("seal_not_published", number=row.number)
        detail = f"Seal {row.number} could not be published: {error}"
        alerts.raise_alert(Alert.Kind.LEDGER, "seals", detail=detail, now=now)


def _post(url: str, body: bytes) -> None:
    answer = safe_http.post(url, body=body, headers={"Content-Type": "application/json"})
    if answer.status_code >= 300:  # noqa: PLR2004 - HTTP
        raise safe_http.UnreachableError(f"it answered {answer.status_code}")


def read_heads(path: str) -> dict[int, str]:
    """The heads in a file that `publish` wrote. Raises HeadsFileError."""
    heads: dict[int, str] = {}
    for place, line in enumerate(Path(path).read_text().splitlines(), start=1):
        if not line.strip():
            continue
        try:
            number, head, *_when = line.split()
            heads[int(number)] = bytes.fromhex(head).hex()
        except ValueError:
            raise HeadsFileError(f"Line {place} of {path} is no seal: a number, a head, a moment.") from None
    return heads
