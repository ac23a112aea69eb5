"""An operator gives money back from an order's page."""

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.urls import reverse

from accounts import clock
from accounts.models import Account, User
from billing import refunding
from billing.errors import RefundRefusedError
from billing.models import Order
from billing.tests.conftest import Shop
from credits import ledger
from credits.models import Wallet

FREE = 8


@pytest.fixture
def order(shop: Shop, customer: Account) -> Order:
    """Twenty credits for EUR 5.00, of which five are spent (and the free ones)."""
    order = shop.checkout(customer)
    shop.pay(order)
    shop.deliver()
    ledger.spend(account_id=customer.pk, amount=FREE + 5, idempotency_key="k", now=clock.now())
    order.refresh_from_db()
    return order


def page_of(order: Order) -> str:
    return reverse("admin:billing_order_refund", args=[order.pk])


def test_the_page_shows_what_a_refund_would_take(client: Client, operator: User, order: Order) -> None:
    client.force_login(operator)
    assert page_of(order) in client.get(reverse("admin:billing_order_change", args=[order.pk])).content.decode()

    page = client.get(page_of(order)).content.decode()

    for shown in ("5.00 EUR", "at most 15 now", 'name="reason"', 'value="5.00"'):
        assert shown in page, shown


def test_a_refund_gives_money_back_and_takes_credits(
    client: Client, operator: User, order: Order, shop: Shop, customer: Account
) -> None:
    client.force_login(operator)
    filled = {"amount": "2.50", "reason": "Did not like it", "token": "t1"}

    for _click in range(2):
        client.post(page_of(order), filled)
    shop.deliver(copies=2)

    order.refresh_from_db()
    assert order.refunded_minor == 250
    assert Wallet.objects.get(account=customer).balance == 5
    (made,) = shop.stripe.store.all("refund")
    assert (made["amount"], made["metadata"]["reason"]) == (250, f"Did not like it (user:{operator.pk})")
    assert "Did not like it" in LogEntry.objects.filter(object_id=str(order.pk)).latest("id").change_message


@pytest.mark.parametrize(
    ("amount", "said"),
    [
        ("5.01", "cannot be refunded"),
        ("0", "more than nothing"),
        ("-1", "more than nothing"),
        ("0.001", "no smaller part"),
    ],
)
def test_an_amount_that_cannot_be_is_refused_with_its_reason(  # noqa: PLR0917 - pytest passes them
    client: Client, operator: User, order: Order, shop: Shop, amount: str, said: str
) -> None:
    client.force_login(operator)

    page = client.post(page_of(order), {"amount": amount, "reason": "r", "token": "t"}).content.decode()

    assert said in page
    assert not list(shop.stripe.store.all("refund"))


def test_support_does_not_refund(client: Client, support: User, order: Order, shop: Shop) -> None:
    client.force_login(support)

    answer = client.post(page_of(order), {"amount": "1.00", "reason": "r", "token": "t"})

    assert answer.status_code in (302, 403)
    assert not list(shop.stripe.store.all("refund"))


def test_a_plan_is_refunded_by_its_invoice(shop: Shop, customer: Account) -> None:
    plan = shop.checkout(customer, item="pro")
    shop.pay(plan)
    shop.deliver()
    plan.refresh_from_db()

    with pytest.raises(RefundRefusedError, match="invoice"):
        refunding.refund(order=plan, amount_minor=100, reason="r", actor="user:1", idempotency_key="k", now=clock.now())
