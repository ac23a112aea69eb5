"""An event is dispatched once to each subscriber, and again when that failed."""

from datetime import datetime, timedelta

import pytest
from django.core import mail
from django.db import transaction
from django.utils import translation
from pytest_django import Settings

from accounts.models import Account
from outbox import alerts, dispatching, publishing
from outbox.models import Alert, OutboxEvent


class Listener:
    """Receives events, and fails when configured to."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.fails = 0

    def __call__(self, event: OutboxEvent) -> None:
        if self.fails:
            self.fails -= 1
            raise OSError("no connection")
        self.heard.append(event.key)


@pytest.fixture
def listener(monkeypatch: pytest.MonkeyPatch) -> Listener:
    monkeypatch.setattr(dispatching, "_subscriptions", [])
    received = Listener()
    dispatching.subscribe("test", "thing.", received)
    return received


def publish(now: datetime, key: str = "k", name: str = "thing.done") -> OutboxEvent:
    publishing.publish(name=name, key=key, data={"n": 1}, now=now)
    return OutboxEvent.objects.get(key=key)


def test_an_event_is_told_once(db: None, listener: Listener, now: datetime) -> None:
    event = publish(now)

    assert [dispatching.dispatch(event_id=event.pk, now=now) for _ in range(3)] == [True, True, True]
    assert listener.heard == ["k"]


def test_a_key_is_kept_once(db: None, listener: Listener, now: datetime) -> None:
    assert publishing.publish(name="thing.done", key="k", data={}, now=now)
    assert not publishing.publish(name="thing.done", key="k", data={}, now=now)


def test_what_is_rolled_back_did_not_happen(db: None, listener: Listener, now: datetime) -> None:
    with transaction.atomic():
        publish(now)
        transaction.set_rollback(True)

    assert not OutboxEvent.objects.exists()


def test_who_did_not_ask_is_not_told(db: None, listener: Listener, now: datetime) -> None:
    dispatching.dispatch(event_id=publish(now, name="other.done").pk, now=now)

    assert listener.heard == []


def test_a_failure_is_kept_and_tried_again_later(db: None, listener: Listener, now: datetime) -> None:
    listener.fails = 1
    event = publish(now)
    assert not dispatching.dispatch(event_id=event.pk, now=now)
    event.refresh_from_db()
    assert (event.attempts, event.error) == (1, "test: OSError: no connection")
    assert dispatching.due(now=now) == []

    later = now + dispatching.backoff(1)
    assert dispatching.due(now=later) == [event.pk]
    assert dispatching.dispatch(event_id=event.pk, now=later)
    assert listener.heard == ["k"]


def test_handled_subscribers_are_not_called_again_on_retry(db: None, listener: Listener, now: datetime) -> None:
    second = Listener()
    second.fails = 1
    dispatching.subscribe("second", "thing.", second)
    event = publish(now)
    dispatching.dispatch(event_id=event.pk, now=now)
    dispatching.dispatch(event_id=event.pk, now=now + timedelta(hours=1))

    assert (listener.heard, second.heard) == (["k"], ["k"])


def test_a_worker_that_dies_costs_a_pause(db: None, listener: Listener, now: datetime) -> None:
    """Nobody else dispatches while it may be at it, and somebody does once that time is over."""
    event = publish(now)
    OutboxEvent.objects.update(attempts=1, next_attempt_at=now + dispatching.backoff(1))  # as it left the row

    assert dispatching.due(now=now + timedelta(seconds=30)) == []
    assert dispatching.due(now=now + dispatching.backoff(1)) == [event.pk]


def test_it_is_given_up_after_so_many_tries(db: None, listener: Listener, now: datetime, settings: Settings) -> None:
    settings.OUTBOX_MAX_ATTEMPTS = 2
    listener.fails = 99
    event = publish(now)
    for hours in (0, 1, 2):
        dispatching.dispatch(event_id=event.pk, now=now + timedelta(hours=hours))

    event.refresh_from_db()
    assert (event.attempts, event.next_attempt_at) == (2, None)


def test_the_pauses_grow_to_four_hours() -> None:
    assert [dispatching.backoff(n).total_seconds() / 60 for n in (1, 2, 3, 9, 20)] == [1, 2, 4, 240, 240]
    assert timedelta(days=1.5) < sum(map(dispatching.backoff, range(1, 20)), timedelta()) < timedelta(days=3)


# --- alerts ----------------------------------------------------------------------------------------


def relay_all(now: datetime) -> None:
    for event_id in dispatching.due(now=now + timedelta(minutes=1)):
        dispatching.dispatch(event_id=event_id, now=now)


def test_an_incident_is_one_alert_and_one_mail(db: None, now: datetime, settings: Settings) -> None:
    settings.OPERATOR_EMAILS = ["ops@example.com"]
    for minutes in range(3):
        alerts.raise_alert(Alert.Kind.DISPUTE, "ch_1", detail="EUR 5", now=now + timedelta(minutes=minutes))
    relay_all(now)

    row = Alert.objects.get()
    assert (row.times, row.seen_at - row.opened_at) == (3, timedelta(minutes=2))
    assert [message.to for message in mail.outbox] == [["ops@example.com"]]
    assert "Dispute: ch_1" in mail.outbox[0].subject


def test_an_incident_that_comes_back_is_a_new_one(db: None, now: datetime) -> None:
    alerts.raise_alert(Alert.Kind.DISPUTE, "ch_1", detail="", now=now)
    assert alerts.resolve(Alert.Kind.DISPUTE, subject="ch_1", now=now, note="won")
    assert not alerts.resolve(Alert.Kind.DISPUTE, subject="ch_1", now=now)

    assert alerts.raise_alert(Alert.Kind.DISPUTE, "ch_1", detail="", now=now)
    assert Alert.objects.count() == 2


def test_an_account_s_alerts_outlive_it(db: None, now: datetime) -> None:
    account = Account.objects.create()
    alerts.raise_alert(Alert.Kind.DISPUTE, "ch_1", detail="", account_id=account.pk, now=now)
    OutboxEvent.objects.all().delete()
    account.delete()

    assert Alert.objects.get().account is None


def test_operators_are_mailed_in_one_language(db: None, now: datetime) -> None:
    """The request in which something is found may be a Dutch customer's."""
    with translation.override("nl"):
        alerts.raise_alert(Alert.Kind.DISPUTE, "ch_2", detail="x", now=now)

    assert OutboxEvent.objects.get(name=alerts.EVENT).data["title"].startswith("Dispute")
