"""Alerts to operators: one an incident, by e-mail once, resolved by what finds it in order again."""

import uuid
from datetime import datetime

from django.conf import settings
from django.core.mail import EmailMessage
from django.db import transaction
from django.db.models import F
from django.utils import translation

from branding import brand
from common.json_types import JsonObject
from common.urls import absolute_url
from outbox import publishing
from outbox.models import Alert, OutboxEvent

EVENT = "alert.opened"


def raise_alert(
    kind: Alert.Kind, subject: str, *, detail: str, now: datetime, account_id: uuid.UUID | None = None
) -> bool:
    """Open an alert about `subject`, or note that it goes on. Whether it is a new one: only that is mailed."""
    with transaction.atomic():
        known = Alert.objects.filter(kind=kind, subject=subject, resolved_at=None)
        if known.update(times=F("times") + 1, seen_at=now, detail=detail):
            return False
        row = Alert(kind=kind, subject=subject, detail=detail, account_id=account_id, opened_at=now, seen_at=now)
        Alert.objects.bulk_create([row], ignore_conflicts=True)
        opened = known.get()
        with translation.override(settings.LANGUAGE_CODE):  # whatever language the customer reads whose request it was
            data: JsonObject = {"title": str(opened), "detail": detail, "opened_at": now.isoformat()}
        return publishing.publish(name=EVENT, key=f"alert:{opened.pk}", data=data, account_id=account_id, now=now)


def resolve(*kinds: Alert.Kind, subject: str, now: datetime, note: str = "") -> bool:
    """Close the alerts of these kinds about `subject`; whether there was one."""
    unresolved = Alert.objects.filter(kind__in=kinds, subject=subject, resolved_at=None)
    return bool(unresolved.update(resolved_at=now, note=note))


def mail_operators(event: OutboxEvent) -> None:
    """Mail the operators a new alert."""
    if not settings.OPERATOR_EMAILS:
        return
    body = f"{event.data['detail']}\n\n{absolute_url('admin:outbox_alert_changelist')}\n"
    EmailMessage(f"[{brand.current().name}] {event.data['title']}", body, to=settings.OPERATOR_EMAILS).send()
