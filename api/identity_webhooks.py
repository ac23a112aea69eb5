"""Webhooks of identity providers: users created, changed and deleted elsewhere."""

import json
from datetime import datetime

import structlog
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from accounts import identities, issuers
from accounts.errors import UnauthenticatedError
from common import clock, webhook_signatures
from common.json_types import JsonObject

logger = structlog.get_logger(__name__)


@csrf_exempt
@require_POST
def identity_webhook(request: HttpRequest, name: str) -> HttpResponse:
    """A provider that TOKEN_ISSUERS names reports its users: created, changed, deleted. (Stack Auth, by Svix.)"""
    issuer, now = issuers.find(name), clock.now()
    if issuer is None or not issuer.webhook_secrets:
        return HttpResponse("nobody of this name\n", status=404, content_type="text/plain")
    try:
        if int(request.headers.get("Content-Length") or 0) > settings.WEBHOOK_MAX_BYTES:
            return HttpResponse("too large\n", status=413, content_type="text/plain")
        told_at = webhook_signatures.verify(
            secrets=issuer.webhook_secrets,
            headers=request.headers,
            body=request.body,
            tolerance_s=settings.WEBHOOK_TOLERANCE_S,
            now=now,
        )
        kind, data = _event(request.body)
    except (webhook_signatures.ForgedWebhookError, ValueError, KeyError, TypeError, RecursionError) as refusal:
        logger.warning("identity_webhook_refused", issuer=name, reason=str(refusal))
        return HttpResponse("refused\n", status=400, content_type="text/plain")
    try:
        _follow(issuer, kind, data, told_at=told_at, now=now)
    except UnauthenticatedError as refusal:
        logger.warning("identity_webhook_refused", issuer=name, reason=str(refusal))
        return HttpResponse(f"{refusal}\n", status=400, content_type="text/plain")
    return HttpResponse("heard\n", content_type="text/plain")


def _event(body: bytes) -> tuple[str, JsonObject]:
    """What happened, and to which user. Raises ValueError, KeyError or TypeError for what is no such event."""
    event = json.loads(body)
    kind, data = event["type"], event["data"]
    if not isinstance(data["id"], str) or "\\u0000" in json.dumps(event):
        raise ValueError("names no user")
    return kind, data


def _follow(issuer: issuers.Issuer, kind: str, data: JsonObject, *, told_at: datetime, now: datetime) -> None:
    """Act on a provider's event; other kinds of events are none of ours."""
    person = issuers.person_from_claims(
        issuer,
        {
            "email": data.get("primary_email"),
            "email_verified": data.get("primary_email_verified"),
            "name": data.get("display_name"),
        },
        subject=data["id"],
    )
    if kind in ("user.created", "user.updated"):
        identities.sync_person(person, told_at=told_at)
    elif kind == "user.deleted":
        identities.end(person, told_at=told_at, now=now)
