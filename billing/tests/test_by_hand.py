"""What no webhook can bring in order is settled by a person with a reason, and then nothing asks for it any more."""

from datetime import timedelta
from io import StringIO

import pytest
import stripe
from django.core.management import CommandError, call_command

from accounts.models import Account
from billing import tasks
from billing.models import InboxEvent, KnownDifference, Order, Price
from billing.payments import manual_settlement
from billing.reconciliation import comparison
from billing.tests.conftest import Shop
from billing.webhooks import inbox
from common import clock
from credits.models import Grant, Source
from outbox.models import Alert
from sandbox.local_stripe import checkout as hosted
from sandbox.local_stripe import refunds_and_disputes
from sandbox.local_stripe.checkout import Outcome


def differences() -> list[str]:
    since = clock.now() - timedelta(days=30)
    return [f"{row.kind}: {row.problem}" for row in comparison.differences(since=since)]


def reconcile(*options: str) -> str:
    out = StringIO()
    call_command("reconcile", *options, stdout=out)
    return out.getvalue()


@pytest.fixture
def in_review(shop: Shop, customer: Account) -> Order:
    """ai-shifu#2693: EUR 5.00 was paid on an order of EUR 4.99."""
    order = shop.checkout(customer)
    Order.objects.update(amount_minor=499)
    shop.pay(order)
    shop.deliver()
    order.refresh_from_db()
    assert order.status == Order.Status.REVIEW
    return order


def test_an_order_in_review_is_settled_once_and_for_all(shop: Shop, customer: Account, in_review: Order) -> None:
    tasks.reconcile()
    (waiting,) = manual_settlement.open_items(customer)
    assert (waiting.kind, waiting.problem) == ("checkout.session", "paid, and not granted")

    manual_settlement.settle(
        kind=waiting.kind, object_id=waiting.object_id, problem=waiting.problem, account_id=customer.pk,
        reason="EUR 5 in cash", actor="user:1", now=clock.now(),
    )  # fmt: skip
    for row in list(shop.stripe.store.all("event")):
        inbox.replay(event_id=row["id"], now=clock.now())
    tasks.reconcile()

    in_review.refresh_from_db()
    assert (in_review.status, in_review.problem) == ("settled", "EUR 5 in cash")
    assert (differences(), manual_settlement.open_items(customer), shop.failures()) == ([], [], [])
    assert not Alert.objects.filter(resolved_at=None).exists()
    assert not Grant.objects.filter(source=Source.PURCHASE).exists()


def test_refund_of_a_settled_payment_takes_nothing(shop: Shop, customer: Account, in_review: Order) -> None:
    tasks.reconcile()
    reconcile("--settle", f"checkout.session:{in_review.stripe_session_id}", "--reason", "Given back")
    stripe.Refund.create(charge=next(iter(shop.stripe.store.all("charge")))["id"])
    shop.deliver(copies=2)

    in_review.refresh_from_db()
    assert (in_review.refunded_minor, differences(), shop.failures()) == (500, [], [])


def test_by_the_command_it_takes_a_reason_and_a_difference(shop: Shop, customer: Account, in_review: Order) -> None:
    named = f"checkout.session:{in_review.stripe_session_id}"
    with pytest.raises(CommandError, match="--reason"):
        reconcile("--settle", named)
    with pytest.raises(CommandError, match="no difference about"):
        reconcile("--settle", "charge:ch_nothing", "--reason", "r")

    assert "Settled: checkout.session" in reconcile("--settle", named, "--reason", "EUR 15 in cash")
    assert "agree (0 differences" in reconcile("--days", "30", "--repair")
    row = KnownDifference.objects.get()
    assert (row.reason, row.actor, row.account_id) == ("EUR 15 in cash", "manage.py reconcile", customer.pk)


def test_settled_difference_reopens_when_its_problem_changes(shop: Shop, customer: Account) -> None:
    """A charge that was settled when EUR 1 was refunded, and of which EUR 2 more go back unheard."""
    shop.pay(shop.checkout(customer))
    shop.deliver()
    charge = next(iter(shop.stripe.store.all("charge")))
    stripe.Refund.create(charge=charge["id"], amount=100)
    assert differences() == ["charge: 100 refunded; credits are not in line with it"]
    reconcile("--settle", f"charge:{charge['id']}", "--reason", "Goodwill: they keep the credits")
    assert differences() == []

    stripe.Refund.create(charge=charge["id"], amount=200)
    assert differences() == ["charge: 300 refunded; credits are not in line with it"]


def test_a_repair_that_is_repeated_has_nothing_to_do(shop: Shop, customer: Account) -> None:
    """Packs, a plan, refunds below and above a credit, disputes won and lost, a page that was left."""
    for number in range(5):
        shop.pay(shop.checkout(customer, key=f"k{number}"))
    shop.pay(shop.checkout(customer, key="left"), Outcome.ABANDON)
    shop.pay(shop.checkout(customer, item="pro", key="plan"))
    charges = [row["id"] for row in shop.stripe.store.all("charge")]
    for charge, minor in zip(charges[:3], (1, 260, 500), strict=True):
        stripe.Refund.create(charge=charge, amount=minor)
    for charge, outcome in zip(charges[3:5], ("won", "lost"), strict=True):
        refunds_and_disputes.close_dispute(
            shop.stripe, refunds_and_disputes.open_dispute(shop.stripe, charge)["id"], outcome
        )

    first = reconcile("--days", "30", "--repair")
    assert "agree (" in first
    assert "agree (0 differences, 0 mended)" in reconcile("--days", "30", "--repair")


class TestPaymentLinks:
    """enupal#51: a known customer pays by a link of the dashboard, and nobody here had begun anything."""

    def link(self, shop: Shop, price_id: str, quantity: int = 1) -> None:
        """Pay a payment link's session: of the same customer, with a price of ours, and without an order."""
        customer = next(iter(shop.stripe.store.all("customer")))["id"]
        created = stripe.checkout.Session.create(
            mode="payment", customer=customer, line_items=[{"price": price_id, "quantity": quantity}],
            success_url="https://example.com", metadata={},
        )  # fmt: skip
        hosted.complete(shop.stripe, created.id, Outcome.SUCCESS)

    @pytest.fixture
    def known(self, shop: Shop, customer: Account) -> Account:
        shop.pay(shop.checkout(customer))
        shop.deliver()
        return customer

    def test_a_pack_is_placed_by_its_price(self, shop: Shop, known: Account) -> None:
        self.link(shop, Price.objects.get(pack__code="credits-50").stripe_price_id, 2)
        shop.deliver(copies=2)

        order = Order.objects.get(actor="payment_link")
        assert (order.status, order.credits, order.quantity, order.account) == ("completed", 100, 2, known)
        assert Grant.objects.filter(source=Source.PURCHASE, remaining=100).count() == 1
        assert (shop.failures(), differences()) == ([], [])

    def test_when_its_webhook_never_came_it_is_placed_by_the_repair(self, shop: Shop, known: Account) -> None:
        self.link(shop, Price.objects.get(pack__code="credits-50").stripe_price_id)

        assert differences() == ["checkout.session: paid by a customer of ours, and no order of ours"]
        assert "(1 differences, 1 mended)" in reconcile("--days", "30", "--repair")
        assert Order.objects.filter(actor="payment_link", status="completed").count() == 1

    def test_what_is_not_sold_here_is_shown_and_can_be_settled(self, shop: Shop, known: Account) -> None:
        product = stripe.Product.create(name="A mug")
        price = stripe.Price.create(product=product.id, currency="eur", unit_amount=1200)
        self.link(shop, price.id)
        shop.deliver()
        tasks.reconcile()

        (waiting,) = manual_settlement.open_items(known)
        assert Alert.objects.filter(kind=Alert.Kind.UNPLACED, resolved_at=None).exists()
        reconcile("--settle", f"{waiting.kind}:{waiting.object_id}", "--reason", "A mug, sent by post")
        assert not Alert.objects.filter(resolved_at=None).exists()
        assert not InboxEvent.objects.filter(state__in=("failed", "dead")).exists()
        assert differences() == []


def test_what_was_settled_settles_nothing_else(shop: Shop, customer: Account, in_review: Order) -> None:
    tasks.reconcile()
    (waiting,) = manual_settlement.open_items(customer)
    manual_settlement.settle(
        kind=waiting.kind, object_id=waiting.object_id, problem=waiting.problem, account_id=customer.pk,
        reason="r", actor="user:1", now=clock.now(),
    )  # fmt: skip

    assert manual_settlement.is_settled(waiting.kind, waiting.object_id)
    assert not manual_settlement.is_settled(waiting.kind, "cs_another")
    assert not manual_settlement.is_settled("invoice", waiting.object_id)
