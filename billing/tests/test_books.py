"""What was paid is earned, owed, given back, or tax: cases of the issue trackers of others, and of bookkeepers."""

from datetime import timedelta

import pytest
import stripe
from django.core.management import CommandError, call_command
from django.test import override_settings

from accounts.models import Account
from billing import tasks
from billing.catalogue import price_list
from billing.customers import closing
from billing.models import PaymentRecord
from billing.payments import books
from billing.payments.books import Books
from billing.subscriptions import plan_changes
from billing.tests.conftest import Shop
from billing.tests.test_checkout import start
from common import clock
from credits import ledger, selectors
from outbox.models import Alert
from sandbox.local_stripe import pages, refunds_and_disputes

FREE = 8


def now_in_books() -> Books:
    (row,) = books.at(clock.now() + timedelta(seconds=1))
    assert row.difference == 0
    assert list(books.problems(clock.now() + timedelta(seconds=1))) == []
    return row


def stands() -> tuple[int, int, int, int, int]:
    """Paid, recognised, owed, given back, taxes."""
    row = now_in_books()
    return row.paid, row.recognised, row.owed, row.refunded, row.taxes


def spend(account: Account, amount: int) -> None:
    now = clock.now()
    ledger.spend(account_id=account.pk, amount=amount, idempotency_key=now.isoformat(), now=now)


@pytest.fixture
def year(shop: Shop, customer: Account) -> Account:
    """Ada paid EUR 200.00 for a year of Pro, 100 credits a month."""
    shop.pay(start(customer, price=price_list.find_price(item="pro", interval="year")).order)
    shop.deliver()
    return customer


def test_a_year_is_earned_by_the_month(shop: Shop, year: Account) -> None:
    """EUR 200 for a year: a twelfth came with the first month, and the rest is owed in months to come."""
    row = now_in_books()
    assert (row.paid, row.owed, row.owed_to_come, row.recognised) == (20000, 20000, 18334, 0)

    spend(year, FREE + 50)
    assert stands() == (20000, 833, 19167, 0, 0)
    for _ in range(12):
        shop.advance(days=31)
        shop.deliver()
        selectors.balance(account_id=year.pk, now=clock.now())

    row = now_in_books()
    assert (row.recognised, row.owed_to_come) == (row.paid - row.owed, row.owed_to_come)
    assert row.recognised >= 20000


def test_yearly_upgrade_is_earned_over_its_months(shop: Shop, year: Account) -> None:
    shop.advance(days=40)
    shop.deliver()
    plan_changes.change(account=year, price=price_list.find_price(item="studio", interval="year"), now=clock.now())
    shop.deliver()
    extra = now_in_books().paid - 20000
    before = now_in_books().owed_to_come

    assert before > 20000 * 10 // 12 + extra * 85 // 100
    shop.advance(days=31)
    shop.deliver()
    selectors.balance(account_id=year.pk, now=clock.now())
    month = before - now_in_books().owed_to_come
    assert abs(month - (20000 / 12 + extra / 10.7)) < 60  # a month of both


def test_what_a_year_takes_over_from_a_month_is_counted_once(shop: Shop, customer: Account) -> None:
    shop.pay(shop.checkout(customer, item="pro"))
    shop.deliver()
    shop.advance(days=10)
    plan_changes.change(account=customer, price=price_list.find_price(item="pro", interval="year"), now=clock.now())
    shop.deliver()

    row = now_in_books()
    assert row.paid == sum(charge["amount"] for charge in shop.stripe.store.all("charge"))
    assert row.recognised == 2000  # the month is over: what of it was credited pays for the year
    assert row.owed == row.paid - 2000


def test_a_dearer_year_takes_over_the_months_that_were_paid_for(shop: Shop, year: Account) -> None:
    """Stripe credits ten of twelve months to the new year: they are earned with it, and not lost."""
    shop.advance(days=61)
    shop.deliver()
    (row,) = shop.stripe.store.all("subscription")
    price = price_list.find_price(item="studio", interval="year").stripe_price_id
    stripe.Subscription.modify(
        row["id"], items=[{"id": row["items"]["data"][0]["id"], "price": price}], billing_cycle_anchor="now",
        proration_behavior="always_invoice",
    )  # fmt: skip
    shop.deliver()

    result = now_in_books()
    assert result.paid == sum(charge["amount"] for charge in shop.stripe.store.all("charge"))
    assert result.owed + result.recognised == result.paid
    assert result.owed > result.paid - 20000


def test_a_refund_of_what_was_used_is_earned_no_more(shop: Shop, customer: Account) -> None:
    shop.pay(shop.checkout(customer))
    shop.deliver()
    spend(customer, FREE + 15)
    assert stands() == (500, 375, 125, 0, 0)

    stripe.Refund.create(charge=next(iter(shop.stripe.store.all("charge")))["id"], amount=100)
    shop.deliver()
    assert stands() == (500, 375 - 100 + 100, 25, 100, 0)

    stripe.Refund.create(charge=next(iter(shop.stripe.store.all("charge")))["id"])
    shop.deliver()
    assert stands() == (500, 0, 0, 500, 0)


def test_money_of_open_dispute_is_gone_and_back_when_won(shop: Shop, customer: Account) -> None:
    shop.pay(shop.checkout(customer))
    shop.deliver()
    opened = refunds_and_disputes.open_dispute(shop.stripe, next(iter(shop.stripe.store.all("charge")))["id"])
    shop.deliver()
    assert stands() == (500, 0, 0, 500, 0)

    refunds_and_disputes.close_dispute(shop.stripe, opened["id"], "won")
    shop.deliver()
    assert stands() == (500, 0, 500, 0, 0)


def test_a_period_is_the_difference_of_its_ends(shop: Shop, customer: Account) -> None:
    shop.pay(shop.checkout(customer))
    shop.deliver()
    shop.advance(days=1)
    middle = clock.now()
    shop.advance(days=1)
    shop.pay(shop.checkout(customer, key="b"))
    shop.deliver()
    stripe.Refund.create(charge=next(iter(shop.stripe.store.all("charge")))["id"], amount=250)
    shop.deliver()
    until = clock.now() + timedelta(seconds=1)

    (row,) = books.between(middle, until)
    assert (row.paid, row.refunded, row.owed, row.difference) == (500, 250, 750, row.difference)
    (before,) = books.at(middle)
    assert (before.paid, before.owed, before.difference) == (500, 500, 0)


def test_taxes_are_nobodys_revenue(shop: Shop, customer: Account) -> None:
    """VAT on a pack and on a plan is the state's; a refund gives back its part of both."""
    with override_settings(STRIPE_TAX=True):
        shop.pay(shop.checkout(customer))
        shop.pay(shop.checkout(customer, item="pro", key="plan"))
        shop.deliver()
    charges = list(shop.stripe.store.all("charge"))
    total = sum(charge["amount"] for charge in charges)
    tax = total - 500 - 2000
    assert tax > 0
    assert stands() == (total, 0, 2500, 0, tax)

    for charge in charges:
        stripe.Refund.create(charge=charge["id"])
    shop.deliver()
    assert stands() == (total, 0, 0, total, 0)


def test_a_year_that_ends_with_its_account_is_earned(shop: Shop, year: Account) -> None:
    (user,) = (row.user for row in year.memberships.all())
    closing.close_account(account=year, user=user, now=clock.now())

    paid, recognised, owed, back, _taxes = stands()
    assert (paid, recognised, owed, back) == (20000, 20000, 0, 0)


def test_what_the_dashboard_credits_is_money_back(shop: Shop, customer: Account) -> None:
    """A cheaper plan at once: what is left of the dearer one becomes a balance, which pays a part of what comes."""
    shop.pay(shop.checkout(customer, item="studio"))
    shop.deliver()
    shop.advance(days=10)
    (row,) = shop.stripe.store.all("subscription")
    pages.change_subscription(shop.stripe, row["id"], "switch", price_list.find_price(item="pro").stripe_price_id)
    shop.deliver()
    result = now_in_books()
    (credited,) = [bill for bill in shop.stripe.store.all("invoice") if bill["total"] < 0]
    assert result.refunded == -credited["total"]

    shop.advance(days=32)
    shop.deliver()
    renewal = [bill for bill in shop.stripe.store.all("invoice") if bill["billing_reason"] == "subscription_cycle"]
    assert now_in_books().paid == result.paid + renewal[-1]["total"]


def test_a_price_that_nobody_paid_is_found(shop: Shop, customer: Account, capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever makes a lot dearer than its payment, or loses a payment's row, is seen the next morning."""
    shop.pay(shop.checkout(customer))
    shop.deliver()
    PaymentRecord.objects.update(priced_minor=400)

    with pytest.raises(CommandError, match="differences"):
        call_command("audit_books")
    assert "cost 500 in the ledger" in capsys.readouterr().out
    tasks.audit_books()
    assert Alert.objects.get(subject="books").resolved_at is None

    PaymentRecord.objects.update(priced_minor=500)
    tasks.audit_books()
    assert Alert.objects.get(subject="books").resolved_at is not None
    call_command("audit_books")
    assert "eur: 500 paid = 0 recognised + 500 owed" in capsys.readouterr().out
