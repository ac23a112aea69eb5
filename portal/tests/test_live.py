"""Server-sent events: what there is now, and each change of it; of one's own account alone."""

import json
import uuid
from typing import Any

import pytest
from django.test import Client

from accounts import keys
from accounts.models import Account, User
from accounts.opening import personal_account
from billing import live_states
from billing.tests.conftest import Shop, customer, shop
from common import clock, live_streams
from common.live_streams import LiveStream
from credits import ledger

__all__ = ["customer", "shop"]


def events(answer: Any) -> list[dict[str, Any]]:
    body = b"".join(answer.streaming_content).decode()
    return [json.loads(line.removeprefix("data: ")) for line in body.splitlines() if line.startswith("data: ")]


def test_stream_begins_with_the_account_as_it_is(shop: Shop, customer: Account, client: Client, ada: User) -> None:
    order = shop.checkout(customer)
    client.force_login(ada)

    answer = client.get("/live")

    assert answer["Content-Type"] == "text/event-stream"
    assert (answer["Cache-Control"], answer["X-Accel-Buffering"]) == ("no-store", "no")
    (state,) = events(answer)
    assert (state["account"], state["available"], state["held"]) == (customer.public_id, 8, 0)
    assert state["orders"] == [{"id": order.public_id, "status": "open"}]


def test_key_streams_its_own_account_only(shop: Shop, customer: Account, client: Client) -> None:
    other = personal_account(user=User.objects.create_user("b@example.com"), now=clock.now())
    made = keys.create_key(account=customer, name="k", scopes=["credits:read"], created_by=None, now=clock.now())
    bearer = {"Authorization": f"Bearer {made.secret}", "Accept": "text/event-stream"}

    own = client.get("/api/v1/credits/stream", headers=bearer)
    refused = client.get("/api/v1/credits/stream", {"account": other.public_id}, headers=bearer)

    assert [state["account"] for state in events(own)] == [customer.public_id]
    assert (refused.status_code, refused.json()["code"]) == (404, "not_found")
    assert client.get("/api/v1/credits/stream", headers={"Accept": "text/event-stream"}).status_code == 401
    signed_out = client.get("/live")
    assert (signed_out.status_code, signed_out.cookies) == (204, {})


def test_states_are_two_queries_for_all_listeners(
    shop: Shop, customer: Account, django_assert_num_queries: Any
) -> None:
    others = [Account.objects.create(name="x", created_at=clock.now()).pk for _ in range(5)]

    with django_assert_num_queries(2):
        found = live_states.states([str(customer.pk), *map(str, others)])

    assert {found[str(other)]["available"] for other in others} == {0}
    assert live_states.states([str(uuid.uuid4())])


@pytest.mark.parametrize("is_chunked", [True, False])
def test_listener_is_sent_each_change_once(shop: Shop, customer: Account, is_chunked: bool) -> None:
    watcher, subject = live_streams.WATCHER, str(customer.pk)
    now = live_streams.encoded(live_states.states([subject])[subject])
    stream = LiveStream(subject=subject, states=live_states.states, sent=now, is_chunked=is_chunked)
    watcher._streams.add(stream)  # (without its thread, which has another connection)
    try:
        watcher.look()
        assert stream.news(0) == b""

        ledger.spend(account_id=customer.pk, amount=3, idempotency_key="k", now=clock.now())
        watcher.look()
        sent = stream.news(0)

        assert b'"available":5' in sent
        assert sent.startswith(f"{len(watcher.latest[subject][1]):x}\r\n".encode()) is is_chunked
        assert stream.news(0) == b""
        assert b":\n\n" in stream.news(stream.beat_at + 1)  # a sign of life
        later = LiveStream(subject=subject, states=live_states.states, sent=b"newer", is_chunked=False)
        assert later.news(0) == b""  # what was looked up before it came is older than what it began with
    finally:
        watcher.remove(stream)
    assert subject not in watcher.latest
    watcher.look()
    assert subject not in watcher.latest


def test_stream_takes_a_body_and_a_head(shop: Shop, customer: Account, client: Client) -> None:
    """The answer to a HEAD ends with its head, and its connection is the next request's (RFC 9110, section 9.3.2)."""
    made = keys.create_key(account=customer, name="k", scopes=["credits:read"], created_by=None, now=clock.now())
    bearer = {"Authorization": f"Bearer {made.secret}"}
    socket = Kept()

    assert client.get("/api/v1/credits/stream", headers=bearer, QUERY_STRING="").status_code == 200
    with_body = client.generic(
        "GET", "/api/v1/credits/stream", b"{}", content_type="application/json", headers=bearer,
        **{"gunicorn.socket": socket},
    )  # fmt: skip
    assert (with_body.status_code, socket.stream is not None) == (200, True)
    socket.stream = None
    assert client.head("/api/v1/credits/stream", headers=bearer, **{"gunicorn.socket": socket}).status_code == 200
    assert socket.stream is None


class Kept:
    """As the web worker's socket is for a view."""

    stream: LiveStream | None = None
