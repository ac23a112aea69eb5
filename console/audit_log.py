"""Writing down what staff did. What they change in admin's own forms is written down as well, by its log entries."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import structlog
from django.contrib.admin.models import LogEntry
from django.db import transaction
from django.http import HttpRequest

from accounts.models import Account, User
from common import clock
from common.admin import Effect
from console.models import AuditEvent
from console.operations.base import UNDO_FOR

LONGEST_RESULT = 2_000
OF_PEOPLE = ("user", "emailaddress", "authenticator", "usersession", "membership", "invitation", "account")


def record(
    *,
    key: str,
    action: str,
    operator: User,
    now: datetime,
    account: Account | None = None,
    subject: str = "",
    reason: str = "",
    effects: Sequence[Effect] = (),
    result: str = "",
    undo: Mapping[str, Any] | None = None,
    request: HttpRequest | None = None,
) -> AuditEvent:
    """Keep one event. A repeated key answers the first one."""
    event = AuditEvent(
        key=key,
        at=now,
        operator=operator,
        action=action,
        account=account,
        subject=subject[:255],
        reason=reason[:500],
        effects=[[effect.what, effect.before, effect.after] for effect in effects],
        result=result[:LONGEST_RESULT],
        undo=dict(undo) if undo else None,
        undo_until=now + UNDO_FOR if undo else None,
        ip=_ip(request),
        request_id=str(structlog.contextvars.get_contextvars().get("request_id", ""))[:64],
    )
    with transaction.atomic():
        AuditEvent.objects.bulk_create([event], ignore_conflicts=True)
    return AuditEvent.objects.get(key=key)


def find(key: str) -> AuditEvent | None:
    """What was done under a key, if it was."""
    return AuditEvent.objects.filter(key=key).first()


def record_admin_log_entry(*, instance: LogEntry, created: bool, **_kwargs: object) -> None:
    """A change in an admin form, as Django's log has it."""
    if not created or instance.user_id is None:
        return
    kind = instance.content_type.model if instance.content_type else ""
    record(
        key=f"log:{instance.pk}",
        action=f"{_VERBS.get(instance.action_flag, 'change')} {kind}",
        operator=instance.user,
        # A person's row is named by their address, which does not belong where nothing can be erased.
        subject=str(instance.object_id) if kind in OF_PEOPLE else f"{instance.object_repr} ({instance.object_id})",
        result=instance.get_change_message(),
        now=clock.now(),
    )


_VERBS = {1: "add", 2: "change", 3: "delete"}


def _ip(request: HttpRequest | None) -> str | None:
    """Where the request came from, as the proxy in front of us says (the last hop that it added)."""
    if request is None:
        return None
    from allauth.account.adapter import get_adapter

    result: str | None = get_adapter(request).get_client_ip(request)
    return result
