"""Telling other systems of events, by webhooks after the Standard Webhooks specification (standardwebhooks.com).

One delivery for each event and endpoint, tried again with growing pauses for about three days. Each try is signed;
the message's id stays, so that a receiver can tell a second delivery from a second event.
"""

import base64
import json
import secrets
import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q, QuerySet

from accounts.models import Account, ExternalIdentity, Membership
from common import encryption, webhook_signatures
from common.errors import ApiError
from common.json_types import JsonObject
from common.queue import enqueue
from outbox import alerts, safe_http
from outbox.models import Alert, OutboxEvent, WebhookDelivery, WebhookEndpoint

# What can be listened to. (Other events are internal.)
EVENTS = (
    "account.opened",
    "card.expiring",
    "credits.exhausted",
    "credits.low",
    "order.paid",
    "payment.failed",
    "payment.refunded",
    "spending_limit.reached",
    "subscription.cancelled",
    "subscription.trial_ending",
    "subscription.changed",
    "subscription.renewed",
    "top_up.failed",
    "top_up.stopped",
)
TEST_EVENT = "webhook.test"

PAUSES = [
    timedelta(seconds=5), timedelta(minutes=5), timedelta(minutes=30), timedelta(hours=2), timedelta(hours=5),
    timedelta(hours=10), timedelta(hours=14), timedelta(hours=20), timedelta(hours=24),
]  # fmt: skip
CLAIM = timedelta(minutes=2)  # longer than a try takes (safe_http.DEADLINE_S): until then nobody else tries
MOST_AT_ONCE_PER_OWNER = 2  # endpoints of all accounts of one owner that are sent to at the same time
HOUR = timedelta(hours=1)
BETWEEN_REPLAYS = timedelta(seconds=30)  # of one delivery
OFF_AFTER = timedelta(days=5)
OLD_SECRET_FOR = timedelta(hours=24)
SWEEP_BATCH = 200
SECRET_BYTES = 24
PURPOSE = "outbox.webhooks"
GONE = 410
HEADERS = {"Content-Type": "application/json", "User-Agent": "Tegoed-Webhooks/1"}


class TooManyEndpointsError(ApiError):
    code = "too_many_endpoints"
    title = "Enough endpoints"
    status_code = 409


class TooManyAttemptsError(ApiError):
    """Tests of an account, or replays of one endpoint, in an hour."""

    code = "too_many_attempts"
    title = "Enough for now"
    status_code = 429

    def __init__(self, most: int) -> None:
        super().__init__(f"At most {most} an hour. Try again later.", retryable=True, limit=most)
        self.retry_after_s = int(HOUR.total_seconds() // max(1, most))


def create_endpoint(
    *, account: Account | None, url: str, events: Sequence[str], description: str, actor: str, now: datetime
) -> tuple[WebhookEndpoint, str]:
    """An endpoint and its secret, which can be seen this once. Raises UnsafeUrlError or TooManyEndpointsError."""
    safe_http.check_url(url)
    if WebhookEndpoint.objects.filter(account=account).count() >= settings.MAX_WEBHOOK_ENDPOINTS_PER_ACCOUNT:
        raise TooManyEndpointsError(f"At most {settings.MAX_WEBHOOK_ENDPOINTS_PER_ACCOUNT}. Remove one first.")
    secret = _new_secret()
    created = WebhookEndpoint.objects.create(
        account=account,
        url=url,
        events=sorted(events),
        description=description,
        secret=encryption.encrypt(secret, purpose=PURPOSE),
        created_by=actor,
        created_at=now,
    )
    return created, secret


def rotate_secret(endpoint: WebhookEndpoint, *, now: datetime) -> str:
    """A new secret; for OLD_SECRET_FOR, each message is signed with both."""
    secret = _new_secret()
    endpoint.old_secret, endpoint.old_secret_until = endpoint.secret, now + OLD_SECRET_FOR
    endpoint.secret = encryption.encrypt(secret, purpose=PURPOSE)
    endpoint.save(update_fields=["secret", "old_secret", "old_secret_until"])
    return secret


def switch_on(endpoint: WebhookEndpoint, *, now: datetime) -> None:
    """Have an endpoint listen again."""
    endpoint.disabled_at, endpoint.disabled_why, endpoint.failing_since = None, "", None
    endpoint.save(update_fields=["disabled_at", "disabled_why", "failing_since"])
    alerts.resolve(Alert.Kind.WEBHOOK_OFF, subject=endpoint.public_id, now=now)


def switch_off(endpoint: WebhookEndpoint, why: str, *, now: datetime) -> None:
    """Send an endpoint nothing more until it is switched on again."""
    WebhookEndpoint.objects.filter(pk=endpoint.pk, disabled_at=None).update(disabled_at=now, disabled_why=why)
    endpoint.refresh_from_db(fields=["disabled_at", "disabled_why"])


def create_deliveries(event: OutboxEvent) -> None:
    """Put an event on its way to everybody who listens to it. (A subscriber of the outbox.)"""
    if event.name not in EVENTS:
        return
    listening = WebhookEndpoint.objects.filter(disabled_at=None).filter(Q(account=None) | Q(account=event.account_id))
    for endpoint in listening.filter(Q(events=[]) | Q(events__contains=[event.name])):
        _deliver(endpoint, event, now=event.created_at)


def send_test(endpoint: WebhookEndpoint, *, now: datetime) -> WebhookDelivery:
    """An event that says no more than that it is a test. Raises TooManyAttemptsError."""
    # By account: an endpoint may be removed and recreated.
    tests = OutboxEvent.objects.filter(account=endpoint.account_id, name=TEST_EVENT, created_at__gt=now - HOUR)
    _check_often(tests.count(), settings.MAX_WEBHOOK_TESTS_PER_HOUR)
    event = OutboxEvent.objects.create(
        name=TEST_EVENT,
        key=f"{TEST_EVENT}:{uuid.uuid4().hex}",
        account_id=endpoint.account_id,
        data={"message": "This is a test."},
        happened_at=now,
        created_at=now,
    )
    return _deliver(endpoint, event, now=now)


def resend(delivery: WebhookDelivery, *, now: datetime) -> None:
    """Send once more, delivered before or not, with a fresh row of tries. Raises TooManyAttemptsError."""
    again = WebhookDelivery.objects.filter(endpoint_id=delivery.endpoint_id, resent_at__gt=now - HOUR)
    _check_often(again.count(), settings.MAX_WEBHOOK_REPLAYS_PER_HOUR)
    if again.filter(pk=delivery.pk, resent_at__gt=now - BETWEEN_REPLAYS).exists():
        raise TooManyAttemptsError(int(HOUR / BETWEEN_REPLAYS))
    WebhookDelivery.objects.filter(pk=delivery.pk).update(
        attempts=0, next_attempt_at=now, delivered_at=None, resent_at=now
    )
    _enqueue(delivery.pk)


def attempt(*, delivery_id: uuid.UUID, now: datetime) -> None:
    """One try, if it is due and its endpoint is free. How it went is kept; the next one follows after a pause.

    An endpoint is sent to once at a time, and those of an owner's accounts MOST_AT_ONCE_PER_OWNER at a time: what finds
    them busy stays due, and follows when they are free.
    """
    waiting = WebhookDelivery.objects.filter(pk=delivery_id, next_attempt_at__lte=now)
    delivery = waiting.select_related("endpoint", "event__account").first()
    if delivery is None:
        return
    if delivery.endpoint.disabled_at is not None:
        waiting.update(next_attempt_at=None, answer="The endpoint is switched off.")
        return
    if not _take(delivery.endpoint, now=now):
        return
    try:
        _try(delivery, waiting, now=now)
    finally:
        _give_free(delivery.endpoint, now=now)


def _try(delivery: WebhookDelivery, waiting: QuerySet[WebhookDelivery], *, now: datetime) -> None:
    # Whoever moves the next attempt away tries; a killed worker costs a pause, not the delivery.
    claimed = waiting.filter(attempts=delivery.attempts)
    if not claimed.update(attempts=F("attempts") + 1, next_attempt_at=now + CLAIM):
        return
    delivery.attempts += 1
    body = json.dumps(payload(delivery.event), separators=(",", ":")).encode()
    try:
        answer = safe_http.post(
            delivery.endpoint.url, body=body, headers={**HEADERS, **_signed(delivery, body, now=now)}
        )
    except (safe_http.UnsafeUrlError, safe_http.UnreachableError) as error:
        _record_attempt(delivery, status_code=None, text=str(error), duration_ms=None, now=now)
    else:
        _record_attempt(
            delivery, status_code=answer.status_code, text=answer.text, duration_ms=answer.duration_ms, now=now
        )


def _take(endpoint: WebhookEndpoint, *, now: datetime) -> bool:
    """Have an endpoint to oneself for CLAIM; False when somebody else has it, or its owner has enough."""
    is_busy = Q(busy_until__gt=now)
    if endpoint.account_id is not None:
        others = WebhookEndpoint.objects.filter(is_busy, account__in=_accounts_with(endpoint.account_id))
        if others.exclude(pk=endpoint.pk).count() >= MOST_AT_ONCE_PER_OWNER:
            return False
    return bool(WebhookEndpoint.objects.filter(pk=endpoint.pk).exclude(is_busy).update(busy_until=now + CLAIM))


def _accounts_with(account_id: uuid.UUID) -> list[uuid.UUID]:
    """An account and all others of its owners: a person's teams are that person's."""
    owned = Membership.objects.filter(role=Membership.Role.OWNER)
    owners = owned.filter(account=account_id).values("user")
    return [account_id, *owned.filter(user__in=owners).exclude(account=account_id).values_list("account", flat=True)]


def _give_free(endpoint: WebhookEndpoint, *, now: datetime) -> None:
    """Let the next one have it: what waited for this endpoint, or for one of the same owner, is rung for."""
    WebhookEndpoint.objects.filter(pk=endpoint.pk).update(busy_until=None)
    same = Q(endpoint=endpoint)
    if endpoint.account_id is not None:
        same = Q(endpoint__account__in=_accounts_with(endpoint.account_id))
    following = WebhookDelivery.objects.filter(same, next_attempt_at__lte=now, endpoint__busy_until=None)
    if (pk := following.order_by("next_attempt_at").values_list("pk", flat=True).first()) is not None:
        transaction.on_commit(lambda: _enqueue(pk))


def due(*, now: datetime) -> list[uuid.UUID]:
    """One delivery of each free endpoint whose next try is due, oldest first; at most SWEEP_BATCH."""
    free = Q(endpoint__busy_until=None) | Q(endpoint__busy_until__lte=now)
    rows = WebhookDelivery.objects.filter(free, next_attempt_at__lte=now)
    first = rows.order_by("endpoint_id", "next_attempt_at").distinct("endpoint_id")
    result = sorted(first.values_list("next_attempt_at", "pk"))
    return [pk for _, pk in result[:SWEEP_BATCH]]


def _check_often(count: int, most: int) -> None:
    if count >= most:
        raise TooManyAttemptsError(most)


def payload(event: OutboxEvent) -> JsonObject:
    """What is sent: the event as it happened, with the account's names."""
    data = _in_api_names(event.data)
    if event.account is not None:
        data["account"] = event.account.public_id
        named = ExternalIdentity.objects.filter(account=event.account, issuer="").values_list("subject", flat=True)
        data["external_id"] = named.first()
    return {"type": event.name, "timestamp": event.happened_at.isoformat().replace("+00:00", "Z"), "data": data}


# What an event is stored with, and what the API calls the same.
API_NAMES = {"plan": "plan_name", "plan_code": "plan", "whose": "name", "from_minor": "from_amount"}
# Stored as an empty text where there is none, for which the API has null.
NULLABLE = {"next_try_at", "receipt_url", "renews_at", "url"}


def _in_api_names(data: JsonObject) -> JsonObject:
    """An event's data as the API says the same things: `amount`, not `amount_minor`; null for none; times with a Z."""
    return {
        API_NAMES.get(name, name.removesuffix("_minor")): _in_api_terms(name, value) for name, value in data.items()
    }


def _in_api_terms(name: str, value: Any) -> Any:
    if isinstance(value, dict):
        return _in_api_names(value)
    if value == "" and name in NULLABLE:
        return None
    is_time = isinstance(value, str) and f"_{name}".endswith("_at")
    return value.replace("+00:00", "Z") if is_time else value


def _deliver(endpoint: WebhookEndpoint, event: OutboxEvent, *, now: datetime) -> WebhookDelivery:
    delivery, is_new = WebhookDelivery.objects.get_or_create(
        endpoint=endpoint, event=event, defaults={"next_attempt_at": now, "created_at": now}
    )
    if is_new:
        transaction.on_commit(lambda: _enqueue(delivery.pk))
    return delivery


def _enqueue(delivery_id: uuid.UUID) -> None:
    enqueue("outbox.tasks.deliver_webhook", delivery_id=str(delivery_id))


def _signed(delivery: WebhookDelivery, body: bytes, *, now: datetime) -> dict[str, str]:
    """The specification's headers: with two secrets during a rotation, two signatures."""
    endpoint, message_id, seconds = delivery.endpoint, delivery.event.public_id, int(now.timestamp())
    kept = [endpoint.secret]
    if endpoint.old_secret_until is not None and endpoint.old_secret_until > now:
        kept.append(endpoint.old_secret)
    signatures = [
        webhook_signatures.sign(
            secret=encryption.decrypt(secret, purpose=PURPOSE), message_id=message_id, timestamp=seconds, body=body
        )
        for secret in kept
    ]
    return {"webhook-id": message_id, "webhook-timestamp": str(seconds), "webhook-signature": " ".join(signatures)}


def _record_attempt(
    delivery: WebhookDelivery, *, status_code: int | None, text: str, duration_ms: int | None, now: datetime
) -> None:
    is_delivered = status_code is not None and 200 <= status_code < 300  # noqa: PLR2004 - HTTP
    pauses_left = PAUSES[delivery.attempts - 1 :]
    next_attempt_at = None if is_delivered or not pauses_left else now + _jittered(pauses_left[0])
    WebhookDelivery.objects.filter(pk=delivery.pk).update(
        status_code=status_code,
        answer=text,
        duration_ms=duration_ms,
        delivered_at=now if is_delivered else None,
        next_attempt_at=next_attempt_at,
    )
    endpoint = WebhookEndpoint.objects.filter(pk=delivery.endpoint_id)
    if is_delivered:
        endpoint.exclude(failing_since=None).update(failing_since=None)
    elif status_code == GONE:
        _give_up(delivery.endpoint, "It answered 410 Gone.", now=now)
    else:
        endpoint.filter(failing_since=None).update(failing_since=now)
        since = delivery.endpoint.failing_since
        if since is not None and since <= now - OFF_AFTER:
            _give_up(delivery.endpoint, f"Nothing was taken for {OFF_AFTER.days} days.", now=now)


def _give_up(endpoint: WebhookEndpoint, why: str, *, now: datetime) -> None:
    switch_off(endpoint, why, now=now)
    detail = f"{endpoint.url}: {why}"
    alerts.raise_alert(
        Alert.Kind.WEBHOOK_OFF, endpoint.public_id, detail=detail, account_id=endpoint.account_id, now=now
    )


def _jittered(pause: timedelta) -> timedelta:
    """Up to a tenth longer, so that what failed together is not tried together."""
    longer: timedelta = pause * (1 + secrets.randbelow(100) / 1000)
    return longer


def _new_secret() -> str:
    return webhook_signatures.PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()
