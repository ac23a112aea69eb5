"""Bonus credits: who gets which, how often, and that they are a grant of their own."""

from datetime import timedelta
from threading import Barrier, Thread

import pytest
import stripe
from django.db import connection

from accounts.models import Account, User
from accounts.opening import personal_account
from billing.models import Order, Pack, Promotion
from billing.tests.conftest import Shop
from common import clock
from credits import selectors
from credits.models import Grant, Source

FREE = 8  # 3 a day and 5 a month


def bonus_of(account: Account) -> list[int]:
    rows = Grant.objects.filter(account=account, source=Source.BONUS).order_by("id")
    return list(rows.values_list("amount", flat=True))


@pytest.fixture
def first_purchase(shop: Shop) -> Promotion:
    """25 for the price of 20, on the first purchase."""
    return Promotion.objects.create(
        code="welcome", name="Welcome", bonus_credits=5, is_first_purchase=True, is_per_pack=False
    )


def test_the_first_purchase_gives_25_for_the_price_of_20(
    shop: Shop, customer: Account, first_purchase: Promotion
) -> None:
    shop.pay(shop.checkout(customer, key="1"))
    shop.deliver()
    shop.pay(shop.checkout(customer, key="2"))
    shop.deliver()

    assert selectors.balance(account_id=customer.pk, now=clock.now()).available == FREE + 25 + 20
    bonus = Grant.objects.get(account=customer, source=Source.BONUS)
    assert (bonus.amount, bonus.paid_minor, bonus.source_key[-10:]) == (5, 0, ":promotion")


def test_two_open_checkouts_are_one_first_purchase(shop: Shop, customer: Account, first_purchase: Promotion) -> None:
    orders = [shop.checkout(customer, key=key) for key in ("1", "2")]
    for order in orders:
        shop.pay(order)
    shop.deliver()

    assert bonus_of(customer) == [5]
    assert sorted(order.promotion_credits for order in Order.objects.all()) == [0, 5]


def test_buy_100_get_20_for_each_pack(shop: Shop, customer: Account) -> None:
    pack = Pack.objects.create(code="hundred", name="100 credits", credits=100)
    Pack.objects.get(code="credits-20").prices.update(pack=pack)
    Promotion.objects.create(code="hundred", name="20 on top", pack=pack, bonus_credits=20)

    shop.pay(shop.checkout(customer, item="hundred", quantity=2))
    shop.deliver()

    assert bonus_of(customer) == [40]


def test_a_promotion_is_for_its_own_pack(shop: Shop, customer: Account) -> None:
    Promotion.objects.create(code="p", name="P", pack=Pack.objects.get(code="credits-50"), bonus_credits=9)

    assert shop.checkout(customer).promotion is None


def test_a_promotion_has_its_time(shop: Shop, customer: Account) -> None:
    now = clock.now()
    promotion = Promotion.objects.create(
        code="p", name="P", bonus_credits=9, starts_at=now + timedelta(days=1), ends_at=now + timedelta(days=2)
    )

    taken = []
    for key in ("before", "within", "after"):
        taken.append(shop.checkout(customer, key=key).promotion)
        shop.advance(days=1, minutes=1)

    assert taken == [None, promotion, None]


def test_of_several_promotions_the_best_counts(shop: Shop, customer: Account) -> None:
    Promotion.objects.create(code="small", name="Small", bonus_credits=3)
    Promotion.objects.create(code="big", name="Big", bonus_credits=4, is_per_pack=False)

    assert [shop.checkout(customer, key=str(n), quantity=n).promotion_credits for n in (1, 2)] == [4, 6]


def test_uses_are_capped_for_one_account_and_for_all(shop: Shop, customer: Account) -> None:
    Promotion.objects.create(code="p", name="P", bonus_credits=9, max_uses=3, max_uses_per_account=2)
    other = personal_account(user=User.objects.create_user("bob@example.com"), now=clock.now())

    given = [
        shop.checkout(account, key=str(number)).promotion_credits
        for account in (customer, other)
        for number in range(3)
    ]

    assert given == [9, 9, 0, 9, 0, 0]


def test_a_use_that_was_not_paid_is_free_again(shop: Shop, customer: Account) -> None:
    Promotion.objects.create(code="p", name="P", bonus_credits=9, max_uses=1)
    shop.checkout(customer, key="1")
    shop.advance(hours=25)
    shop.deliver()

    assert shop.checkout(customer, key="2").promotion_credits == 9


def test_a_promotion_that_ends_meanwhile_is_kept_to(shop: Shop, customer: Account) -> None:
    promotion = Promotion.objects.create(code="p", name="P", bonus_credits=9)
    order = shop.checkout(customer)
    Promotion.objects.filter(pk=promotion.pk).update(is_active=False, bonus_credits=1)
    shop.pay(order)
    shop.deliver()

    assert bonus_of(customer) == [9]


def test_a_refund_takes_the_bonus_back_in_proportion(shop: Shop, customer: Account) -> None:
    Promotion.objects.create(code="p", name="P", bonus_credits=10)
    order = shop.checkout(customer)
    shop.pay(order)
    shop.deliver()
    stripe.Refund.create(charge=next(iter(shop.stripe.store.all("charge")))["id"], amount=250)
    shop.deliver()

    left = Grant.objects.filter(account=customer, source__in=(Source.PURCHASE, Source.BONUS)).order_by("id")
    assert [grant.remaining for grant in left] == [10, 5]


@pytest.mark.django_db(transaction=True)
def test_the_last_use_is_raced_by_eight_and_had_by_one(shop: Shop, customer: Account) -> None:
    Promotion.objects.create(code="p", name="P", bonus_credits=9, max_uses=1)
    barrier, given = Barrier(8), []

    def buy(number: int) -> None:
        try:
            barrier.wait()
            given.append(shop.checkout(customer, key=str(number)).promotion_credits)
        finally:
            connection.close()

    threads = [Thread(target=buy, args=[number]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(given) == [0] * 7 + [9]
