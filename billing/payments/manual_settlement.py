"""What a person settles: a payment that fits nothing, an order that was not paid as ordered, a difference that stays.

No credits and no money move by it: it says that somebody has seen to them elsewhere, and why. What differs in another
way afterwards (a refund that comes later) is a difference again.
"""

import uuid
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction

from accounts.models import Account
from billing.models import InboxEvent, KnownDifference, Order
from outbox import alerts
from outbox.models import Alert

ABOUT_OBJECTS = (Alert.Kind.RECONCILIATION, Alert.Kind.REVIEW)
ABOUT_EVENTS = (Alert.Kind.UNPLACED, Alert.Kind.WEBHOOK_DEAD)


@dataclass(frozen=True, kw_only=True)
class OpenItem:
    """Something that waits for a person, by its kind and id at Stripe."""

    kind: str
    object_id: str
    problem: str


def is_settled(kind: str, object_id: str, problem: str | None = None) -> bool:
    """Whether somebody has settled an object at Stripe; with a `problem`, whether it was this one."""
    rows = KnownDifference.objects.filter(kind=kind, object_id=object_id, settled_at__isnull=False)
    return rows.exists() if problem is None else rows.filter(problem=problem).exists()


def record_difference(*, kind: str, object_id: str, problem: str, account_id: uuid.UUID | None, now: datetime) -> None:
    """Keep a difference that was found, for the console to show."""
    reported = {
        "problem": problem,
        "account_id": account_id,
        "found_at": now,
        "settled_at": None,
        "reason": "",
        "actor": "",
    }
    KnownDifference.objects.update_or_create(kind=kind, object_id=object_id, defaults=reported)


def forget_resolved(*, than: datetime) -> None:
    """What was found before and not since is in order by now."""
    KnownDifference.objects.filter(found_at__lt=than, settled_at=None).delete()


def open_items(account: Account) -> list[OpenItem]:
    """What of an account waits for a person: its orders in review, and what differed last night."""
    result = {
        (row.kind, row.object_id): row.problem
        for row in KnownDifference.objects.filter(account=account, settled_at=None).order_by("-found_at")
    }
    for order in Order.objects.filter(account=account, status=Order.Status.REVIEW).order_by("-id"):
        kind = "checkout.session" if order.stripe_session_id else "payment_intent"
        result.setdefault((kind, order.origin_id), order.problem)
    return [OpenItem(kind=kind, object_id=object_id, problem=problem) for (kind, object_id), problem in result.items()]


def settle(
    *, kind: str, object_id: str, problem: str, account_id: uuid.UUID | None, reason: str, actor: str, now: datetime
) -> None:
    """Note that a difference is settled, and let nothing ask for it any more: its webhooks, its alerts, its order.

    A repeated call keeps the latest reason.
    """
    reported = {"problem": problem, "account_id": account_id, "reason": reason, "actor": actor, "settled_at": now}
    with transaction.atomic():
        KnownDifference.objects.update_or_create(
            kind=kind, object_id=object_id, defaults=reported, create_defaults={**reported, "found_at": now}
        )
        open_ = InboxEvent.objects.filter(object_id=object_id).exclude(
            state__in=(InboxEvent.State.PROCESSED, InboxEvent.State.IGNORED)
        )
        events = list(open_.values_list("event_id", flat=True))
        open_.update(state=InboxEvent.State.IGNORED, error="", next_attempt_at=None, processed_at=now)
        subjects = [object_id]
        order = _order_of(kind, object_id)
        if order is not None:
            subjects.append(order.public_id)
            unsettled = Order.objects.filter(pk=order.pk, status__in=(Order.Status.REVIEW, Order.Status.FAILED))
            unsettled.update(status=Order.Status.SETTLED, problem=reason[:255])
        for alert_kinds, names in ((ABOUT_OBJECTS, subjects), (ABOUT_EVENTS, events)):
            for alert_kind in alert_kinds:
                for name in names:
                    alerts.resolve(alert_kind, subject=name, now=now, note=f"{actor}: {reason}"[:255])


def _order_of(kind: str, object_id: str) -> Order | None:
    field = {"checkout.session": "stripe_session_id", "payment_intent": "payment_id"}.get(kind)
    return Order.objects.filter(**{field: object_id}).first() if field else None
