"""The webhook's door: what is not Stripe's, of now, and of this account gets no further."""

import json
import os
import random
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
import stripe
from django.conf import settings
from django.db import connection
from django.db.models import QuerySet
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse
from kombu.exceptions import OperationalError
from pytest_django import Settings

from accounts.models import Account
from billing import tasks
from billing.errors import PaymentDeclinedError, PaymentProviderUnavailableError
from billing.models import InboxEvent
from billing.stripe import stripe_client
from billing.tests.conftest import Shop
from billing.webhooks import inbox
from common import advisory_locks, clock
from sandbox.local_stripe import events
from sandbox.local_stripe.events import signature

SECRET = settings.STRIPE_WEBHOOK_SECRETS[0]
EVENT: dict[str, Any] = {
    "id": "evt_1",
    "object": "event",
    "type": "customer.updated",
    "created": 1_790_000_000,
    "livemode": False,
    "data": {"object": {"id": "cus_1", "object": "customer"}},
}

Send = Callable[..., HttpResponse]
FUZZ = int(os.environ.get("FUZZ", "300"))


@pytest.fixture
def send(db: None, client: Client, present: datetime) -> Send:
    """Post a body as Stripe does; say what should be different."""

    def post(body: Any = None, *, secret: str = SECRET, age_s: int = 0, header: str | None = None) -> HttpResponse:
        raw = body if isinstance(body, bytes) else json.dumps(EVENT if body is None else body).encode()
        if header is None:
            header = signature(secret, int(present.timestamp()) - age_s, raw.decode(errors="replace"))
        return client.post(  # type: ignore[return-value]
            reverse("stripe-webhook"), raw, content_type="application/json", headers={"Stripe-Signature": header}
        )

    return post


def test_a_signed_event_is_kept_and_waits_for_a_worker(send: Send, present: datetime) -> None:
    assert send().status_code == 200

    kept = InboxEvent.objects.get()
    assert (kept.event_id, kept.type, kept.object_id, kept.customer_id) == (
        "evt_1",
        "customer.updated",
        "cus_1",
        "cus_1",
    )
    assert (kept.state, kept.attempts, kept.payload) == ("received", 0, EVENT)


def test_a_second_copy_is_answered_and_not_kept(send: Send) -> None:
    assert [send().status_code for _ in range(3)] == [200, 200, 200]
    assert InboxEvent.objects.count() == 1


@pytest.mark.parametrize(
    "how",
    [
        {"secret": "whsec_not_ours"},
        {"age_s": 301},
        {"age_s": -301},
        {"header": ""},
        {"header": "t=abc,v1=00"},
        {"header": "v1=00"},
        {"header": "t=1,t=2"},
        {"header": "nonsense"},
        {"header": "t=1790000000,v1="},
        {"header": "t=٣,v1=00"},
    ],
    ids=str,
)
def test_a_forged_stale_early_or_missing_signature_is_refused(
    send: Send, how: dict[str, Any], present: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clock, "now", lambda: present)  # a second later, 301 seconds early would be 300
    assert send(**how).status_code == 400
    assert not InboxEvent.objects.exists()


def test_time_that_was_not_signed_makes_no_old_signature_new(send: Send, present: datetime) -> None:
    """Stripe's library reads the first `t`; whoever read the last took what was signed a hundred days ago."""
    signed = int(present.timestamp()) - 100 * 86_400
    old = signature(SECRET, signed, json.dumps(EVENT))

    for header in (f"{old},t={int(present.timestamp())}", f"t={int(present.timestamp())},{old}"):
        assert send(header=header).status_code == 400
    assert not InboxEvent.objects.exists()


@pytest.mark.parametrize(
    "body",
    [
        b"123",
        b"null",
        b"[]",
        b'"text"',
        b"not json",
        b"\xff\xfe",
        b" ",
        b"{}",
        b"[" * 100_000,
        json.dumps(EVENT | {"id": 5}).encode(),
        json.dumps(EVENT | {"data": {"object": "x"}}).encode(),
        json.dumps(EVENT | {"type": "a\x00b"}).encode(),
        b'{"id": "evt_\x00"}',
        json.dumps(EVENT | {"id": "e" * 256}).encode(),
        json.dumps(EVENT | {"created": 10**40}).encode(),
        json.dumps(EVENT | {"created": True}).encode(),
        json.dumps(EVENT | {"data": {"object": {"id": {"a": 1}}}}).encode(),
        json.dumps(EVENT | {"data": {"object": {"id": "in_1", "customer": {"id": "c" * 300}}}}).encode(),
    ],
    ids=range(18),
)
def test_a_signed_body_that_is_no_event_is_refused(send: Send, body: bytes) -> None:
    assert send(body).status_code == 400
    assert not InboxEvent.objects.exists()


def test_a_body_over_the_limit_is_refused_before_it_is_read(send: Send, settings: Settings) -> None:
    huge = json.dumps(EVENT | {"padding": "x" * settings.WEBHOOK_MAX_BYTES}).encode()

    assert send(huge).status_code == 413
    assert not InboxEvent.objects.exists()


def test_during_a_rotation_either_secret_is_accepted(send: Send, settings: Settings) -> None:
    settings.STRIPE_WEBHOOK_SECRETS = ["whsec_old", "whsec_new"]

    assert send(secret="whsec_old").status_code == 200
    assert send(EVENT | {"id": "evt_2"}, secret="whsec_new").status_code == 200
    assert send(EVENT | {"id": "evt_3"}, secret=SECRET).status_code == 400
    assert InboxEvent.objects.count() == 2


def test_a_header_may_carry_the_signatures_of_two_secrets(send: Send, present: datetime) -> None:
    body = json.dumps(EVENT)
    ours = signature(SECRET, int(present.timestamp()), body)
    other = signature("whsec_other", int(present.timestamp()), body).split(",")[1]

    assert send(body.encode(), header=f"{ours},{other}").status_code == 200


@pytest.mark.parametrize(
    ("change", "why"), [({"livemode": True}, "livemode is True"), ({"account": "acct_other"}, "acct_other")]
)
def test_event_of_other_mode_or_account_is_stored_and_ignored(send: Send, change: dict[str, Any], why: str) -> None:
    assert send(EVENT | change).status_code == 200

    kept = InboxEvent.objects.get()
    assert (kept.state, kept.next_attempt_at) == ("ignored", None)
    assert why in kept.error


def test_djstripe_s_way_around_the_signature_is_no_way_in(client: Client, db: None) -> None:
    answer = client.post(
        reverse("stripe-webhook"),
        json.dumps(EVENT),
        content_type="application/json",
        headers={
            "X-Djstripe-Webhook-Secret": "whsec_mine",
            "X-Forwarded-For": "not-an-ip",
            "Stripe-Signature": "t=1,v1=1",
        },
    )

    assert answer.status_code == 400
    assert not InboxEvent.objects.exists()


def test_only_post_is_taken(client: Client) -> None:
    assert client.get(reverse("stripe-webhook")).status_code == 405


def test_a_body_of_unknown_length_is_refused(client: Client) -> None:
    answer = client.generic("POST", reverse("stripe-webhook"), b"", content_type="application/json", CONTENT_LENGTH="x")

    assert answer.status_code == 411


def test_without_redis_an_event_is_kept_and_the_sweep_finds_it(
    send: Send, present: datetime, monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any
) -> None:
    def unreachable(**_what: Any) -> None:
        raise OperationalError("Error 111 connecting to 127.0.0.1:1.")

    monkeypatch.setattr(tasks.process_event, "delay", unreachable)

    with django_capture_on_commit_callbacks(execute=True) as rung:
        assert send().status_code == 200

    assert len(rung) == 1
    assert inbox.due(now=present) == []  # a worker has its moment first
    assert inbox.due(now=present + timedelta(minutes=1)) == ["evt_1"]


def test_fuzzed_webhook_bodies_never_cause_an_error(send: Send) -> None:
    """An event with a few bytes changed, signed as it is and as it was: `FUZZ=10000` for the figure in docs."""
    chance = random.Random(20261121)
    original = json.dumps(EVENT).encode()
    header = signature(SECRET, EVENT["created"], original.decode())
    answered: Counter[int] = Counter()
    for _ in range(FUZZ):
        body = bytearray(original)
        for _ in range(chance.randrange(1, 6)):
            place = chance.randrange(len(body))
            body[place : place + chance.randrange(3)] = chance.randbytes(chance.randrange(3))
        answered[send(bytes(body)).status_code] += 1
        if bytes(body) != original:
            assert send(bytes(body), header=header).status_code == 400

    assert set(answered) <= {200, 400}
    assert InboxEvent.objects.count() <= answered[200]


@pytest.mark.parametrize(
    ("error", "refusal"),
    [
        (stripe.RateLimitError("Too many requests"), PaymentProviderUnavailableError),
        (stripe.APIConnectionError("timed out"), PaymentProviderUnavailableError),
        (stripe.APIError("Our mistake"), PaymentProviderUnavailableError),
        (stripe.CardError("Your card was declined.", None, "card_declined"), PaymentDeclinedError),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_what_goes_wrong_at_stripe_is_told_apart(error: Exception, refusal: type[Exception]) -> None:
    with pytest.raises(refusal), stripe_client.calling():
        raise error


def test_busy_customer_costs_an_event_no_attempt(shop: Shop, customer: Account) -> None:
    """Twenty attempts are a day; waiting for another worker is none of them."""
    shop.pay(shop.checkout(customer))
    events.flush(shop.stripe, shop.post)
    event = InboxEvent.objects.filter(type="checkout.session.completed").get()

    with connection.get_new_connection(connection.get_connection_params()) as other:
        other.execute("SELECT pg_advisory_lock(%s)", [advisory_locks.number_of(event.customer_id)])
        for _ in range(25):
            inbox.process(event_id=event.event_id, now=clock.now())

    event.refresh_from_db()
    assert (event.attempts, event.state) == (0, InboxEvent.State.RECEIVED)
    assert event.next_attempt_at is not None
    shop.work_off()
    event.refresh_from_db()
    assert event.state == InboxEvent.State.PROCESSED


@pytest.fixture
def burst(shop: Shop, customer: Account) -> QuerySet[InboxEvent]:
    """Four events about one subscription, as Stripe sends them within a second."""
    shop.pay(shop.checkout(customer, item="pro"))
    events.flush(shop.stripe, shop.post)
    first = InboxEvent.objects.get(type="customer.subscription.created")
    for number in range(3):
        InboxEvent.objects.create(
            event_id=f"evt_more_{number}", type="customer.subscription.updated", object_id=first.object_id,
            customer_id=first.customer_id, payload=first.payload, created_at=clock.now(),
            received_at=clock.now(), next_attempt_at=clock.now(),
        )  # fmt: skip
    return InboxEvent.objects.filter(object_id=first.object_id).order_by("created_at")


def test_burst_about_one_object_is_one_look_at_it(burst: QuerySet[InboxEvent], monkeypatch: pytest.MonkeyPatch) -> None:
    fetched: list[str] = []
    retrieve = stripe_client.retrieve
    monkeypatch.setattr(
        stripe_client, "retrieve", lambda kind, object_id: fetched.append(object_id) or retrieve(kind, object_id)
    )

    inbox.process(event_id=burst[0].event_id, now=clock.now())

    assert list(burst.values_list("state", flat=True)) == [InboxEvent.State.PROCESSED] * 4
    assert fetched.count(burst[0].object_id) == 1


def test_failed_look_leaves_the_other_events_to_try(
    shop: Shop, burst: QuerySet[InboxEvent], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(stripe_client, "retrieve", _unavailable)
        assert inbox.process(event_id=burst[0].event_id, now=clock.now()) == InboxEvent.State.FAILED

    assert list(burst.values_list("state", "attempts"))[1:] == [(InboxEvent.State.RECEIVED, 0)] * 3
    shop.work_off()
    assert set(burst.values_list("state", flat=True)) == {InboxEvent.State.PROCESSED}


def _unavailable(kind: str, object_id: str) -> None:
    raise PaymentProviderUnavailableError("Not now.")
