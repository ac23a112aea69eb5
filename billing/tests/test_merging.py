"""Two accounts become one: money that comes or goes finds the account that stays, whenever its webhook arrives."""

from datetime import timedelta

import pytest
import stripe
from pytest_django import DjangoCaptureOnCommitCallbacks

from accounts.models import Account, User
from accounts.opening import personal_account
from billing.catalogue import price_list
from billing.checkout import top_ups
from billing.customers import merging
from billing.errors import AlreadySubscribedError, WorkUnderWayError
from billing.models import Order, PaidInvoice, StripeCustomer, TopUp
from billing.reconciliation import comparison
from billing.stripe import djstripe_store
from billing.subscriptions import plan_changes
from billing.tests.conftest import Shop
from billing.tests.test_books import now_in_books
from billing.tests.test_checkout import start
from billing.webhooks import inbox
from common import clock
from credits import audit, ledger, selectors
from credits.models import Grant, Source, Wallet
from outbox.models import Alert
from sandbox.local_stripe import refunds_and_disputes

FREE = 8


@pytest.fixture
def other(shop: Shop) -> Account:
    """Bob, who is Ada under another address: the account that stays."""
    return personal_account(user=User.objects.create_user("bob", "bob@example.com"), now=clock.now())


@pytest.fixture
def bought(shop: Shop, customer: Account) -> Order:
    """Ada bought 20 credits for EUR 5.00, and has spent her free ones."""
    order = shop.checkout(customer)
    shop.pay(order)
    shop.deliver()
    spend(customer, FREE)
    return order


def spend(account: Account, amount: int) -> None:
    now = clock.now()
    ledger.spend(account_id=account.pk, amount=amount, idempotency_key=f"{now.isoformat()}:{amount}", now=now)


def merge(source: Account, target: Account, key: str = "m") -> merging.MergePlan:
    moved = merging.merge(source=source, target=target, key=key, actor="user:1", now=clock.now())
    source.refresh_from_db()
    return moved


def stands(account: Account) -> tuple[int, int]:
    """What is left of what was paid for, and what is owed."""
    selectors.balance(account_id=account.pk, now=clock.now())
    paid = Grant.objects.filter(account=account, source__in=(Source.PURCHASE, Source.PLAN), is_open=True)
    return sum(paid.values_list("remaining", flat=True)), Wallet.objects.get(account=account).debt


def in_order() -> None:
    """The ledger, the books and Stripe agree."""
    assert list(audit.all_disagreements()) == []
    assert now_in_books().difference == 0
    assert list(comparison.differences(since=clock.now() - timedelta(days=400))) == []


def charge_of(shop: Shop) -> str:
    return str(next(iter(shop.stripe.store.all("charge")))["id"])


@pytest.mark.parametrize("spent", [0, 7, 20])
def test_a_refund_after_it_takes_what_went_over(
    shop: Shop, customer: Account, bought: Order, other: Account, spent: int
) -> None:
    """Bought for EUR 5, merged, refunded: the one case in which 108 credits were kept and EUR 18 went back."""
    if spent:
        spend(customer, spent)
    merge(customer, other)
    assert stands(other) == (20 - spent, 0)

    stripe.Refund.create(charge=charge_of(shop), amount=250)
    shop.deliver(copies=2)
    assert stands(other) == (max(0, 10 - spent), 0)
    stripe.Refund.create(charge=charge_of(shop))
    shop.deliver()

    assert (stands(other), stands(customer)) == ((0, 0), (0, 0))
    bought.refresh_from_db()
    assert (bought.account_id, bought.refunded_minor) == (other.pk, 500)
    assert shop.failures() == []
    in_order()


@pytest.mark.parametrize("spent", [0, 7, 20])
def test_dispute_lost_after_merge_is_owed_by_merged_account(
    shop: Shop, customer: Account, bought: Order, other: Account, spent: int
) -> None:
    if spent:
        spend(customer, spent)
    merge(customer, other)
    refunds_and_disputes.close_dispute(
        shop.stripe, refunds_and_disputes.open_dispute(shop.stripe, charge_of(shop))["id"], "lost"
    )
    shop.deliver()

    assert (stands(other), stands(customer)) == ((0, spent), (0, 0))
    in_order()


def test_clawback_restored_after_merge_reaches_merged_account(
    shop: Shop, customer: Account, bought: Order, other: Account
) -> None:
    """A dispute is opened, the accounts are merged, and the dispute is won."""
    spend(customer, 5)
    opened = refunds_and_disputes.open_dispute(shop.stripe, charge_of(shop))
    shop.deliver()
    merge(customer, other)
    assert stands(other) == (0, 0)

    refunds_and_disputes.close_dispute(shop.stripe, opened["id"], "won")
    shop.deliver()

    assert (stands(other), stands(customer)) == ((15, 0), (0, 0))
    in_order()


def test_what_was_paid_before_is_heard_of_after_it(shop: Shop, customer: Account, other: Account) -> None:
    """The webhook of the old customer is late, and so is a page that was open."""
    open_page = shop.checkout(customer, key="open")
    shop.pay(shop.checkout(customer, key="paid"))
    merge(customer, other)
    shop.deliver(copies=2)
    assert stands(other) == (20, 0)

    shop.pay(open_page)
    shop.deliver()
    assert (stands(other), stands(customer), shop.failures()) == ((40, 0), (0, 0), [])
    in_order()


def test_hearing_of_everything_once_more_gives_nothing_twice(
    shop: Shop, customer: Account, bought: Order, other: Account
) -> None:
    """All of it was used before: the account that stays has no such lot, and must not get it again."""
    shop.pay(shop.checkout(customer, item="pro", key="plan"))
    shop.deliver()
    plan_changes.cancel_now(account=customer, now=clock.now())
    spend(customer, 100)
    shop.advance(days=1)
    spend(customer, 3 + 20)
    merge(customer, other)
    for row in list(shop.stripe.store.all("event")):
        inbox.replay(event_id=row["id"], now=clock.now())
    for result in list(comparison.differences(since=clock.now() - timedelta(days=9))):
        comparison.repair(result, now=clock.now())

    assert stands(other) == (0, 0)
    in_order()


def test_months_that_were_paid_for_go_over(shop: Shop, customer: Account, other: Account) -> None:
    """A year that was stopped still gives its months: to the account that stays, and as far as they are paid for."""
    shop.pay(start(customer, price=price_list.find_price(item="pro", interval="year")).order)
    shop.deliver()
    plan_changes.cancel_now(account=customer, now=clock.now())
    shop.deliver()
    spend(customer, FREE + 40)
    merge(customer, other)
    assert stands(other) == (60, 0)

    stripe.Refund.create(charge=charge_of(shop), amount=10000)  # half of it
    shop.deliver()
    assert stands(other) == (10, 0)
    given = []
    for _ in range(3):
        shop.advance(days=31)
        shop.deliver()
        given.append(stands(other))
    assert given == [(50, 0)] * 3
    assert stands(customer) == (0, 0)
    in_order()


def test_a_debt_goes_over_and_is_paid_there(shop: Shop, customer: Account, bought: Order, other: Account) -> None:
    spend(customer, 12)
    refunds_and_disputes.close_dispute(
        shop.stripe, refunds_and_disputes.open_dispute(shop.stripe, charge_of(shop))["id"], "lost"
    )
    shop.deliver()
    assert stands(customer) == (0, 12)

    moved = merge(customer, other)
    assert (moved.debt, stands(customer), stands(other)) == (12, (0, 0), (0, 12))
    shop.pay(shop.checkout(other, key="b"))
    shop.deliver()
    assert stands(other) == (8, 0)
    in_order()


def test_three_accounts_become_one(shop: Shop, customer: Account, bought: Order, other: Account) -> None:
    third = personal_account(user=User.objects.create_user("cleo", "cleo@example.com"), now=clock.now())
    spend(customer, 4)
    merge(customer, other, "first")
    spend(other, FREE + 6)
    merge(other, third, "second")
    assert stands(third) == (10, 0)

    stripe.Refund.create(charge=charge_of(shop), amount=250)
    shop.deliver()
    assert stands(third) == (0, 0)  # ten of twenty are used, and half of the money is here
    customer.refresh_from_db()
    assert customer.merged_into == third
    assert djstripe_store.account_of_customer(StripeCustomer.objects.get().pk) == third
    in_order()


def test_both_customers_at_stripe_are_its_own(
    shop: Shop,
    customer: Account,
    bought: Order,
    other: Account,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    """New purchases keep to its own; the other one says whose it is now, for a ledger that is recreated."""
    shop.pay(shop.checkout(other))
    shop.deliver()
    own = djstripe_store.customer_of_account(other.pk)
    theirs = djstripe_store.customer_of_account(customer.pk)
    with django_capture_on_commit_callbacks(execute=True):
        merge(customer, other)

    named = {row["id"]: row["metadata"]["djstripe_subscriber"] for row in shop.stripe.store.all("customer")}
    assert named == {own: str(other.pk), theirs: str(other.pk)}
    assert djstripe_store.customer_of_account(other.pk) == own
    assert djstripe_store.customers_of_account(other.pk) == sorted([own, theirs])
    assert len(set(Order.objects.filter(account=other).values_list("idempotency_key", flat=True))) == 2


def test_a_running_plan_is_not_merged_away(shop: Shop, customer: Account, other: Account) -> None:
    shop.pay(shop.checkout(customer, item="pro"))
    shop.deliver()
    with pytest.raises(AlreadySubscribedError, match="merge the other one into it"):
        merge(customer, other)

    merge(other, customer)
    assert (stands(customer), PaidInvoice.objects.get().account_id) == ((100, 0), customer.pk)


def test_work_under_way_is_waited_for(shop: Shop, customer: Account, bought: Order, other: Account) -> None:
    """What is set aside belongs to a piece of work: whoever does it would find nothing to capture."""
    now = clock.now()
    on_hold = ledger.hold(
        account_id=customer.pk, amount=5, idempotency_key="h", expires_at=now + timedelta(hours=1), now=now
    )
    with pytest.raises(WorkUnderWayError, match="5 credits are set aside"):
        merge(customer, other)

    ledger.capture(account_id=customer.pk, hold_id=on_hold.hold_id, cost=3, now=clock.now())
    merge(customer, other)
    assert stands(other) == (17, 0)
    in_order()


def test_it_charges_no_card(shop: Shop, customer: Account, bought: Order, other: Account) -> None:
    price = price_list.find_price(item="credits-20")
    for account in (customer, other):
        top_ups.switch_on(account=account, price=price, below=50, max_per_month=3, now=clock.now())
    merge(customer, other)

    assert [top_ups.buy_if_due(account_id=account.pk, now=clock.now()) for account in (customer, other)] == [None, None]
    assert not TopUp.objects.get(account=customer).is_on
    assert not Alert.objects.exists()


def test_free_credits_end_with_their_account(shop: Shop, customer: Account, other: Account) -> None:
    """A day's and a month's free credits are each account's own: merging gives nobody two."""
    merge(customer, other)

    free = Grant.objects.filter(account=other, source=Source.FREE, is_open=True)
    assert sorted(free.values_list("amount", flat=True)) == [3, 5]
    assert list(audit.all_disagreements()) == []
