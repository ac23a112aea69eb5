"""Working off the inbox: each event names an object, which is looked at again and fulfilled as it is now.

One Stripe customer at a time; retried with backoff; given up after about a day, and then for an operator to replay.
Stripe sends several events about an object at once: what has arrived by then is done with it, by one look.
"""

from datetime import datetime, timedelta

import structlog
from django.conf import settings
from django.db.models import F

from billing.errors import FulfilmentError
from billing.models import InboxEvent
from billing.stripe import djstripe_store, erasing, event_types
from billing.stripe.payloads import reference
from billing.webhooks import sync
from common.advisory_locks import BusyError, exclusive
from common.json_types import JsonObject
from outbox import alerts
from outbox.models import Alert

logger = structlog.get_logger(__name__)

FIRST_PAUSE = timedelta(seconds=10)
LONGEST_PAUSE = timedelta(hours=2)
SWEEP_BATCH = 200
STATE = InboxEvent.State

NOT_FINALISED = "invoice.finalization_failed"


def process(*, event_id: str, now: datetime) -> InboxEvent.State | None:
    """Act on one event, unless that was done; answers how it stands. A failure is noted, not raised."""
    row = InboxEvent.objects.filter(event_id=event_id, state__in=InboxEvent.UNFINISHED).first()
    if row is None:
        return None
    # From here on a killed worker costs a pause, not the event: the sweep finds it again.
    attempts = row.attempts + 1
    # (Another worker may have done it since: what is done stays done.)
    mine = InboxEvent.objects.filter(pk=row.pk, state__in=InboxEvent.UNFINISHED)
    if not mine.update(attempts=F("attempts") + 1, next_attempt_at=now + backoff(attempts)):
        return None
    others: list[InboxEvent] = []
    try:
        with exclusive(row.customer_id or row.object_id):
            if not mine.exists():
                return None  # with another event of its object, while this worker waited
            others = _others_of_object(row)
            state = _process_object(row, now=now)
    except BusyError:
        mine.update(attempts=row.attempts, next_attempt_at=now + FIRST_PAUSE / 10)
        return STATE(row.state)
    except Exception as error:  # noqa: BLE001 - whatever it was, the event is kept, counted and tried again
        return _record_failure(row, attempts, error, now=now)
    for event in (row, *(others if state == STATE.PROCESSED else ())):
        _record_done(event, state, now=now)
    return state


def replay(*, event_id: str, now: datetime) -> InboxEvent.State | None:
    """Try an event again from the start, whatever became of it before."""
    InboxEvent.objects.filter(event_id=event_id).update(
        state=STATE.RECEIVED, attempts=0, error="", processed_at=None, next_attempt_at=now
    )
    return process(event_id=event_id, now=now)


def due(*, now: datetime) -> list[str]:
    """The events that nobody has processed yet though it is time, oldest first; at most SWEEP_BATCH."""
    rows = InboxEvent.objects.filter(next_attempt_at__lte=now).order_by("next_attempt_at")
    return list(rows.values_list("event_id", flat=True)[:SWEEP_BATCH])


def backoff(attempts: int) -> timedelta:
    """How long to wait after this many attempts: 10 s, doubling, at most 2 h; twenty attempts take about a day."""
    doubled: timedelta = FIRST_PAUSE * 2 ** (attempts - 1)
    return min(doubled, LONGEST_PAUSE)


def _others_of_object(row: InboxEvent) -> list[InboxEvent]:
    """The events that have arrived about the same object, and for which nothing but a look at it is to be done.

    Looked up before the object is fetched, so that what is fetched is no older than any of them.
    """
    kind = event_types.kind_of(row.type)
    if not kind or kind == "subscription_schedule":  # (these are about another object than the one they name)
        return []
    rows = InboxEvent.objects.filter(object_id=row.object_id, state__in=InboxEvent.UNFINISHED).exclude(pk=row.pk)
    return [other for other in rows if other.type != NOT_FINALISED and _is_about(kind, other)]


def _is_about(kind: str, row: InboxEvent) -> bool:
    """Whether an event is about an object of this kind, by its type and by what it carries, while that is kept."""
    return event_types.kind_of(row.type) == kind and _carried(row).get("object", kind) == kind


def _carried(row: InboxEvent) -> JsonObject:
    """The object that an event carried; empty once its payload was forgotten."""
    result: JsonObject = row.payload["data"]["object"] if row.payload else {}
    return result


def _record_done(row: InboxEvent, state: InboxEvent.State, *, now: datetime) -> None:
    # What it said of a person was for the journey only: the object itself was fetched again.
    payload = erasing.redacted(row.payload)
    InboxEvent.objects.filter(pk=row.pk).update(
        state=state, error="", processed_at=now, next_attempt_at=None, payload=payload
    )
    if state == STATE.PROCESSED:
        alerts.resolve(Alert.Kind.UNPLACED, Alert.Kind.WEBHOOK_DEAD, subject=row.event_id, now=now, note="processed")


def _process_object(row: InboxEvent, *, now: datetime) -> InboxEvent.State:
    kind = event_types.kind_of(row.type)
    if not kind or not _is_about(kind, row):
        return STATE.IGNORED
    if row.type == NOT_FINALISED:
        _notify_not_finalised(row, now=now)
    if kind == "subscription_schedule":
        # What is planned is read with its subscription.
        about = _carried(row)
        subscription_id = reference(about.get("subscription")) or reference(about.get("released_subscription"))
        if not subscription_id:
            return STATE.IGNORED
        is_there = sync.sync_object(kind="subscription", object_id=subscription_id, now=now)
        return STATE.PROCESSED if is_there else STATE.IGNORED
    is_there = sync.sync_object(kind=kind, object_id=row.object_id, now=now)
    if not is_there and row.type in event_types.PAID:
        # A key of another account than the webhooks' would hide every payment.
        detail = (
            f"{row.type}: Stripe does not know {row.object_id}. Is STRIPE_SECRET_KEY of the account that sends this?"
        )
        alerts.raise_alert(Alert.Kind.UNPLACED, row.event_id, detail=detail, now=now)
    return STATE.PROCESSED if is_there else STATE.IGNORED  # deleted since: there is nothing to sync


def _notify_not_finalised(row: InboxEvent, *, now: datetime) -> None:
    """An invoice cannot be finalised (its tax has no address): nobody is charged for it, or it goes on without tax."""
    account = djstripe_store.account_of_customer(row.customer_id)
    if account is not None:
        why = (_carried(row).get("last_finalization_error") or {}).get("message") or ""
        detail = f"Stripe could not finalise {row.object_id}: {why}"
        alerts.raise_alert(Alert.Kind.REVIEW, row.object_id, detail=detail, account_id=account.pk, now=now)


def _record_failure(row: InboxEvent, attempts: int, error: Exception, *, now: datetime) -> InboxEvent.State:
    is_dead = attempts >= settings.WEBHOOK_MAX_ATTEMPTS
    state = STATE.DEAD if is_dead else STATE.FAILED
    unfinished = InboxEvent.objects.filter(pk=row.pk, state__in=InboxEvent.UNFINISHED)
    next_attempt_at = None if is_dead else now + backoff(attempts)
    if not unfinished.update(state=state, error=f"{type(error).__name__}: {error}", next_attempt_at=next_attempt_at):
        return STATE(InboxEvent.objects.get(pk=row.pk).state)  # another worker has done it meanwhile
    detail = f"{row.type} about {row.object_id}: {error}"
    if is_dead:
        alerts.raise_alert(Alert.Kind.WEBHOOK_DEAD, row.event_id, detail=detail, now=now)
    elif isinstance(error, FulfilmentError):
        alerts.raise_alert(Alert.Kind.UNPLACED, row.event_id, detail=detail, now=now)
    logger.warning("webhook_failed", event_id=row.event_id, type=row.type, attempts=attempts, exc_info=error)
    return state
