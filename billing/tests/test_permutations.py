"""A subscription's events in every order: one end. (`PERMUTATIONS=720` runs them all; a sample otherwise.)"""

import itertools
import os
import random
from typing import Any

from django.db import transaction

from accounts.models import Account
from billing.models import InboxEvent
from billing.tests.conftest import Shop
from billing.tests.test_lifecycles import the_end
from billing.webhooks import inbox
from common import clock
from credits import audit
from sandbox.local_stripe import events

ORDERS = int(os.environ.get("PERMUTATIONS", "10"))
TYPES = (
    "checkout.session.completed",
    "customer.subscription.created",
    "invoice.paid",
    "customer.subscription.updated",
    "invoice.paid",
    "customer.subscription.deleted",
)


def test_a_subscription_s_events_have_one_end_in_every_order(shop: Shop, customer: Account) -> None:
    began = clock.now()
    shop.pay(shop.checkout(customer, item="pro"))
    shop.advance(days=31)
    subscription = next(iter(shop.stripe.store.all("subscription")))["id"]
    events.flush(shop.stripe, shop.post)
    shop.stripe.request("DELETE", f"/v1/subscriptions/{subscription}", "", {"authorization": "Bearer sk_test_x"})
    events.flush(shop.stripe, shop.post)
    chosen = _six()

    orders = list(itertools.permutations(chosen))
    if len(orders) > ORDERS:
        orders = random.Random(20261121).sample(orders, ORDERS)
    ends = [_end_of(order, customer, began) for order in orders]

    assert len(chosen) == len(TYPES)
    assert ends[0]["plans"] == [("pro", "month", "canceled")]
    assert all(end == ends[0] for end in ends)


def _six() -> list[str]:
    left = list(InboxEvent.objects.filter(type__in=TYPES).order_by("created_at", "pk").values_list("type", "event_id"))
    result = []
    for kind in TYPES:
        entry = next(entry for entry in left if entry[0] == kind)
        left.remove(entry)
        result.append(entry[1])
    return result


def _end_of(order: tuple[str, ...], account: Account, began: Any) -> dict[str, Any]:
    """Process the events in this order, again where one came too early, look, and take it all back."""
    block = transaction.atomic()
    block._from_testcase = True  # Stripe may be called in it, as in a test's own transaction
    with block:
        waiting = InboxEvent.objects.filter(event_id__in=order, state__in=("received", "failed"))
        for _ in range(len(order)):
            for event_id in order:
                inbox.process(event_id=event_id, now=clock.now())
            if not waiting.exists():
                break
        assert not waiting.exists()
        assert list(audit.all_disagreements()) == []
        end = the_end(account, began)
        transaction.set_rollback(True)
    return end
