"""A closed account is charged nothing, and what is paid for it all the same goes back by itself.

2anki/2anki.net#3459, airwaylab#965: a page that was open when the account was closed, and a plan for nobody.
"""

from datetime import timedelta

import pytest
import stripe

from accounts.models import Account, User
from billing.catalogue import price_list, price_sync
from billing.checkout import top_ups
from billing.customers import closing
from billing.models import Order, Subscription, TopUp
from billing.payments import books, manual_settlement
from billing.reconciliation import comparison
from billing.subscriptions import plan_changes
from billing.tests.conftest import Shop
from billing.tests.test_checkout import start
from billing.tests.test_plan_changes import big
from billing.webhooks import inbox
from common import clock
from credits.models import Grant, Source, Wallet
from outbox.models import Alert
from sandbox.local_stripe import events, refunds_and_disputes
from sandbox.local_stripe.checkout import Outcome

__all__ = ["big"]


def close(account: Account, user: User) -> None:
    closing.close_account(account=account, user=user, now=clock.now())
    account.refresh_from_db()


def given_back(shop: Shop) -> list[tuple[int, int]]:
    """Of each charge: how much it was, and how much went back."""
    return [(row["amount"], row["amount_refunded"]) for row in shop.stripe.store.all("charge")]


@pytest.mark.parametrize("is_heard", [True, False])
def test_a_bank_transfer_that_arrives_later_goes_back(shop: Shop, customer: Account, ada: User, is_heard: bool) -> None:
    order = shop.checkout(customer)
    shop.pay(order, Outcome.DELAYED_SUCCESS)
    shop.deliver()
    close(customer, ada)
    shop.advance(hours=1)
    if is_heard:
        shop.deliver(copies=2)
        shop.deliver()  # of the refund
    else:
        for row in list(shop.stripe.store.all(events.DELIVERY)):
            shop.stripe.store.remove(events.DELIVERY, row["id"])
        since = clock.now() - timedelta(days=1)
        result = [row for row in comparison.differences(since=since) if "after the account was closed" in row.problem]
        assert len(result) == 1
        assert comparison.repair(result[0], now=clock.now())
        shop.deliver()

    order.refresh_from_db()
    assert (given_back(shop), order.status, order.refunded_minor) == ([(500, 500)], "failed", 500)
    assert "given back" in order.problem
    assert Wallet.objects.get(account=customer).balance == 0
    assert not Grant.objects.filter(source=Source.PURCHASE).exists()
    alert = Alert.objects.get(kind=Alert.Kind.REVIEW)
    assert "The money was given back" in alert.detail
    assert list(comparison.differences(since=clock.now() - timedelta(days=1))) == []
    assert shop.failures() == []


def test_plan_of_a_closed_account_is_ended_and_refunded(shop: Shop, customer: Account, ada: User) -> None:
    """The customer at Stripe was not deleted: an erasing that failed there, or a customer recreated by hand."""
    shop.pay(shop.checkout(customer), saves_card=True)
    shop.deliver()
    Account.objects.filter(pk=customer.pk).update(closed_at=clock.now())
    (theirs,) = shop.stripe.store.all("customer")
    price = price_list.find_price(item="pro").stripe_price_id
    stripe.Subscription.create(
        customer=theirs["id"], items=[{"price": price}],
        default_payment_method=stripe.PaymentMethod.list(customer=theirs["id"]).data[0].id,
    )  # fmt: skip
    for _ in range(2):
        shop.deliver()
    shop.advance(days=40)
    shop.deliver()

    assert given_back(shop) == [(500, 0), (2000, 2000)]
    assert Subscription.objects.get().status == "canceled"
    assert not Grant.objects.filter(source=Source.PLAN).exists()


def test_what_was_paid_before_stays_paid(shop: Shop, customer: Account, ada: User) -> None:
    shop.pay(shop.checkout(customer))
    shop.deliver()
    shop.advance(hours=1)
    close(customer, ada)
    shop.deliver(copies=2)

    assert given_back(shop) == [(500, 0)]
    assert Order.objects.get().status == "completed"


def test_what_a_person_has_settled_is_not_given_back_once_more(shop: Shop, customer: Account, ada: User) -> None:
    """Settled in cash, and then the account is closed and the webhook replayed: the money went back already."""
    order = shop.checkout(customer)
    Order.objects.update(amount_minor=499)
    shop.pay(order)
    shop.deliver()
    manual_settlement.settle(
        kind="checkout.session", object_id=order.stripe_session_id or "", problem="", account_id=customer.pk,
        reason="EUR 5 in cash", actor="user:1", now=clock.now(),
    )  # fmt: skip
    close(customer, ada)
    for row in list(shop.stripe.store.all("event")):
        inbox.replay(event_id=row["id"], now=clock.now())

    assert given_back(shop) == [(500, 0)]


def test_a_dispute_that_is_won_afterwards_brings_nobody_credits(shop: Shop, customer: Account, ada: User) -> None:
    """The money is here again, and earned: nobody can spend what it had paid for."""
    shop.pay(shop.checkout(customer))
    shop.deliver()
    opened = refunds_and_disputes.open_dispute(shop.stripe, next(iter(shop.stripe.store.all("charge")))["id"])
    shop.deliver()
    close(customer, ada)
    refunds_and_disputes.close_dispute(shop.stripe, opened["id"], "won")
    shop.deliver(copies=2)

    assert Wallet.objects.get(account=customer).balance == 0
    (row,) = books.at(clock.now() + timedelta(seconds=1))
    assert (row.paid, row.recognised, row.owed, row.refunded) == (500, 500, 0, 0)


def test_pages_plans_schedules_and_top_ups_end(shop: Shop, customer: Account, ada: User, big: object) -> None:
    price_sync.pull()
    shop.pay(start(customer, item="team", key="plan").order)
    shop.deliver()
    plan_changes.change(account=customer, price=price_list.find_price(item="pro"), now=clock.now())
    top_ups.switch_on(
        account=customer, price=price_list.find_price(item="credits-20"), below=5, max_per_month=2, now=clock.now()
    )
    shop.checkout(customer, key="open")
    form = start(customer, key="form", ui=Order.Ui.ELEMENTS).order
    close(customer, ada)
    shop.deliver()
    shop.advance(days=70)
    shop.deliver()

    stands = {
        kind: [row["status"] for row in shop.stripe.store.all(kind)]
        for kind in ("subscription", "subscription_schedule")
    }
    assert stands == {"subscription": ["canceled"], "subscription_schedule": ["released"]}
    assert [row["status"] for row in shop.stripe.store.all("checkout.session")] == ["complete", "expired"]
    assert shop.stripe.get("payment_intent", form.payment_id or "")["status"] == "canceled"
    assert not TopUp.objects.get().is_on
    assert [amount for amount, _ in given_back(shop)] == [5000]


def test_a_plan_that_is_not_paid_yet_ends_as_well(shop: Shop, customer: Account, ada: User) -> None:
    """Stripe would go on trying its invoice (`incomplete`, `unpaid`, `paused` are no running plans here)."""
    shop.pay(shop.checkout(customer, item="pro"))
    shop.deliver()
    Subscription.objects.update(status="unpaid")
    close(customer, ada)

    assert [row["status"] for row in shop.stripe.store.all("subscription")] == ["canceled"]


def test_what_stripe_does_not_know_any_more_is_no_hindrance(shop: Shop, customer: Account, ada: User) -> None:
    """Objects of the test mode, or of a Stripe account that was left."""
    shop.pay(shop.checkout(customer, item="pro"))
    shop.checkout(customer, key="open")
    shop.deliver()
    for kind in ("subscription", "checkout.session"):
        for row in list(shop.stripe.store.all(kind)):
            shop.stripe.store.remove(kind, row["id"])
    close(customer, ada)

    assert customer.closed_at is not None
