"""Every story, its webhooks in order, reversed, tripled and shuffled, lost, eight at a time: one and the same end.

The local Stripe answers over HTTP here, as in the demo.
"""

import os
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.db.models import Sum
from pytest_django import Settings

from accounts.models import Account, User
from accounts.opening import personal_account
from billing.models import InboxEvent, Order, Subscription
from billing.reconciliation import comparison
from billing.stripe import stripe_client
from billing.tests.conftest import Shop, post_webhook, stock
from billing.tests.lifecycles import STORIES, Hear, Story
from billing.webhooks import inbox
from common import clock
from credits import audit, selectors
from credits.models import Entry, Grant, Wallet
from sandbox.clock import SandboxClock
from sandbox.emptying import empty_database
from sandbox.local_stripe import events, server
from sandbox.local_stripe.store import DELIVERY, Store
from sandbox.local_stripe.whole import LocalStripe

pytestmark = [pytest.mark.django_db(transaction=True)]

THREADS = 8
SEEDS = int(os.environ.get("LIFECYCLE_SEEDS", "1"))  # five, nightly


class StillClock(SandboxClock):
    """A clock that only moves when it is moved, so that two tellings cost the same to the cent."""

    def now(self) -> datetime:
        return datetime(2026, 11, 21, 11, tzinfo=UTC) + timedelta(seconds=self.ahead_s())


@contextmanager
def fresh_shop(folder: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    """An empty database, and a local Stripe of its own behind a socket."""
    empty_database()
    still = StillClock(folder / uuid.uuid4().hex)
    monkeypatch.setattr(clock, "now", still.now)
    local = LocalStripe(store=Store(), clock=still)
    with server.Listening(local, port=0) as listening:
        settings.STRIPE_API_BASE = f"http://127.0.0.1:{listening.server_port}"
        stripe_client.configure()
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        stock(local)
        events.listen(local, url="http://127.0.0.1/x", secret=settings.STRIPE_WEBHOOK_SECRETS[0])
        yield Shop(local, post_webhook)
        listening.shutdown()


# --- ways to hear ----------------------------------------------------------------------------------


def in_order(shop: Shop) -> Hear:
    return lambda: _deliver(shop)


def reversed_(shop: Shop) -> Hear:
    return lambda: _deliver(shop, order="reversed")


def shuffled_thrice(seed: int) -> Callable[[Shop], Hear]:
    return lambda shop: lambda: _deliver(shop, order="shuffled", seed=seed, copies=3)


def lost(shop: Shop) -> Hear:
    """No webhook ever comes; the nightly reconciliation mends."""

    def hear() -> None:
        for row in list(shop.stripe.store.all(DELIVERY)):
            shop.stripe.store.remove(DELIVERY, row["id"])
        now = clock.now()
        for difference in list(comparison.differences(since=now - timedelta(days=500))):
            comparison.repair(difference, now=now)

    return hear


def in_parallel(shop: Shop) -> Hear:
    """Eight deliveries at a time, each worked off at once, and again when its customer was busy."""

    def hear() -> None:
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(lambda _: _closing(lambda: events.flush(shop.stripe, shop.post)), range(2)))
            waiting = InboxEvent.objects.filter(next_attempt_at__isnull=False).order_by("?")
            while chosen := list(waiting.values_list("event_id", flat=True)):
                list(pool.map(lambda event_id: _closing(lambda: _process(event_id)), chosen))
        _deliver(shop)

    return hear


# Every story in every way is for the night. In `make test`, half of the stories are shuffled and half in parallel; a
# shuffle stands for the reverse, and billing/tests/test_recovery.py for what is lost.
AT_LENGTH: dict[str, Callable[[Shop], Hear]] = {"reversed": reversed_, "lost": lost}
WAYS: dict[str, Callable[[Shop], Hear]] = {
    "in order": in_order,
    **{f"shuffled-{seed}": shuffled_thrice(seed) for seed in range(SEEDS)},
    "parallel": in_parallel,
    **(AT_LENGTH if SEEDS > 1 else {}),
}


def _deliver(shop: Shop, **how: Any) -> None:
    """Deliver, and try again what came too early, as the sweep does."""
    shop.deliver(**how)
    for _ in range(5):
        for event_id in InboxEvent.objects.filter(state="failed").values_list("event_id", flat=True):
            _process(event_id)


def _process(event_id: str) -> None:
    inbox.process(event_id=event_id, now=clock.now())


def _closing(work: Callable[[], object]) -> None:
    try:
        work()
    finally:
        connection.close()


# --- the end ---------------------------------------------------------------------------------------


def the_end(account: Account, began: datetime) -> dict[str, Any]:
    """Everything that a customer and an auditor could see, without the names that chance gave."""
    balance = selectors.balance(account_id=account.pk, now=clock.now())
    wallet = Wallet.objects.get(account=account)
    grants = []
    for grant in Grant.objects.filter(account=account):
        moved = dict(
            Entry.objects.filter(grant_id=grant.pk)
            .values_list("transaction__kind")
            .annotate(total=Sum("amount"))
            .values_list("transaction__kind", "total")
        )
        back = moved.pop("revoke", 0) + moved.pop("restore", 0)
        if back == -grant.amount and set(moved) == {"grant"}:
            continue  # taken back whole: as if it had never been (a duplicate plan, which arrived first)
        until = grant.expires_at and round((grant.expires_at - began) / timedelta(hours=1))
        facts = (str(grant.source), grant.amount, grant.remaining, grant.paid_minor, until)
        grants.append((*facts, back, sorted(moved.items())))
    return {
        "balance": (balance.available, balance.held, wallet.debt),
        "grants": sorted(grants, key=str),
        "orders": sorted(Order.objects.values_list("description", "status", "paid_minor", "refunded_minor"), key=str),
        "plans": sorted(Subscription.objects.values_list("price__plan__code", "price__interval", "status")),
    }


def _ways(story: Story) -> dict[str, Callable[[Shop], Hear]]:
    if SEEDS > 1:
        return WAYS
    left_out = "parallel" if STORIES.index(story) % 2 else "shuffled-0"
    return {name: way for name, way in WAYS.items() if name != left_out}


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
def test_story_ends_the_same_in_any_webhook_order(
    story: Story, tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = {}
    for name, way in _ways(story).items():
        with fresh_shop(tmp_path, settings, monkeypatch) as shop:
            began = clock.now()
            ada = User.objects.create_user("ada@example.com", name="Ada")
            account = personal_account(user=ada, now=began)
            story(shop, account, way(shop))
            ends[name] = the_end(account, began)
            differences = list(comparison.differences(since=began - timedelta(days=1)))
            disagreements = list(audit.all_disagreements())
        assert (name, disagreements, differences) == (name, [], [])  # the money at Stripe and the credits agree

    expected = ends["in order"]
    for name, end in ends.items():
        assert {part: (name, end[part]) for part in end} == {part: (name, expected[part]) for part in end}
