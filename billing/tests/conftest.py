"""A shop: the local Stripe in this process, the demo catalogue in it, and its webhooks brought to our door."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.apps import apps
from django.conf import settings
from django.core.management.color import no_style
from django.db import connection, transaction
from django.test import Client
from django.urls import reverse

from accounts.models import Account, User
from accounts.opening import personal_account
from billing.catalogue import price_list
from billing.checkout import purchases
from billing.models import InboxEvent, Order
from billing.setup import bootstrap, presets
from billing.webhooks import inbox
from common import clock
from sandbox.local_stripe import checkout as hosted
from sandbox.local_stripe import declines, events
from sandbox.local_stripe.checkout import Outcome
from sandbox.local_stripe.core import LocalStripe


@dataclass
class Shop:
    """The shop and its Stripe, driven from a test."""

    stripe: LocalStripe
    post: Callable[[str, str, str], int]

    def checkout(self, account: Account, item: str = "credits-20", key: str = "k", quantity: int = 1) -> Order:
        """Start a checkout, as the API does."""
        started = purchases.start_checkout(
            account=account,
            price=price_list.find_price(item=item),
            quantity=quantity,
            idempotency_key=key,
            actor="test",
            now=clock.now(),
        )
        return started.order

    def pay(
        self,
        order: Order,
        outcome: Outcome = Outcome.SUCCESS,
        *,
        promotion_code: str = "",
        saves_card: bool = False,
    ) -> None:
        """Finish the hosted page; `saves_card` ticks that the card is kept."""
        hosted.complete(
            self.stripe,
            order.stripe_session_id or "",
            outcome,
            promotion_code=promotion_code,
            saves_card=saves_card,
        )

    def deliver(self, **how: Any) -> list[int]:
        """Bring every queued webhook to the receiver, and work off the inbox."""
        statuses = events.flush(self.stripe, self.post, **how)
        self.work_off()
        return statuses

    def work_off(self) -> None:
        """What the worker and the sweep do, one event at a time."""
        for event_id in inbox.due(now=self.later()):
            inbox.process(event_id=event_id, now=clock.now())

    def later(self) -> datetime:
        """When the sweep takes what no worker took."""
        return clock.now() + timedelta(minutes=1)

    def advance(self, **span: int) -> None:
        """Move the clock of everything."""
        self.stripe.advance(int(timedelta(**span).total_seconds()))

    def refuse_card(self, *, is_on: bool = True) -> None:
        """From now on the bank refuses the first customer's card, or takes it again."""
        customer = next(iter(self.stripe.store.all("customer")))
        declines.set_declines(self.stripe, customer["id"], is_on=is_on)

    def failures(self) -> list[str]:
        """Why events of the inbox failed."""
        return list(InboxEvent.objects.exclude(error="").values_list("error", flat=True))


def post_webhook(_url: str, body: str, signature: str) -> int:
    """Bring one webhook to our door; the status that it is answered with."""
    answer = Client().post(
        reverse("stripe-webhook"), body, content_type="application/json", headers={"Stripe-Signature": signature}
    )
    return answer.status_code


# What pushing the demo catalogue makes, here and at the local Stripe.
STOCKED = ("djstripe.Account", "djstripe.APIKey", "djstripe.Product", "djstripe.Price", "billing.Plan", "billing.Pack",
           "billing.Price", "usage.Feature", "usage.FeaturePrice")  # fmt: skip
_stock: dict[str, Any] = {}


def stock(local: LocalStripe) -> None:
    """Fill the shelves: the first time as an operator does, and then (it takes a tenth of a second) from a copy."""
    models = [apps.get_model(name) for name in STOCKED]
    if not _stock:
        bootstrap.push(presets.load("demo"), say=lambda _line: None)
        rows = {model: list(model._default_manager.all()) for model in models}
        _stock.update(theirs=copy.deepcopy(local.store._rows), ours=rows)
        return
    local.store._rows = copy.deepcopy(_stock["theirs"])
    with transaction.atomic(), connection.cursor() as cursor:
        for model in models:
            model._default_manager.bulk_create(copy.copy(row) for row in _stock["ours"][model])
        for statement in connection.ops.sequence_reset_sql(no_style(), models):
            cursor.execute(statement)


@pytest.fixture
def shop(db: None, local_stripe: LocalStripe) -> Shop:
    stock(local_stripe)
    events.listen(local_stripe, url="http://127.0.0.1:8000/x", secret=settings.STRIPE_WEBHOOK_SECRETS[0])
    return Shop(local_stripe, post_webhook)


@pytest.fixture
def customer(shop: Shop, ada: User) -> Account:
    """Ada, with the free credits of the demo catalogue: 3 a day and 5 a month."""
    return personal_account(user=ada, now=clock.now())
