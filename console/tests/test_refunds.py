"""An order's page leads to the one way in which money is given back."""

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import Account, User
from billing.errors import RefundRefusedError
from billing.models import Order
from billing.refunds import refunds
from billing.tests.conftest import Shop
from common import clock


@pytest.fixture
def order(shop: Shop, customer: Account) -> Order:
    """Twenty credits for EUR 5.00."""
    order = shop.checkout(customer)
    shop.pay(order)
    shop.deliver()
    order.refresh_from_db()
    return order


def page_of(order: Order) -> str:
    return reverse("admin:billing_order_refund", args=[order.pk])


@pytest.mark.parametrize("method", ["get", "post"])
def test_an_order_s_button_leads_to_the_operation(
    client: Client, operator: User, order: Order, shop: Shop, method: str
) -> None:
    client.force_login(operator)
    assert page_of(order) in client.get(reverse("admin:billing_order_change", args=[order.pk])).content.decode()

    answer = getattr(client, method)(page_of(order), follow=True)

    assert answer.redirect_chain[-1][0].endswith(f"/do/refund/?order={order.public_id}")
    assert f'<option value="{order.public_id}" selected>' in answer.content.decode()
    assert not list(shop.stripe.store.all("refund"))


def test_support_does_not_refund(client: Client, support: User, order: Order, shop: Shop) -> None:
    client.force_login(support)

    assert client.post(page_of(order)).status_code == 403
    assert not list(shop.stripe.store.all("refund"))


def test_a_plan_is_refunded_by_its_invoice(shop: Shop, customer: Account) -> None:
    plan = shop.checkout(customer, item="pro")
    shop.pay(plan)
    shop.deliver()
    plan.refresh_from_db()

    with pytest.raises(RefundRefusedError, match="by its invoice"):
        refunds.refund(order=plan, amount_minor=100, reason="r", actor="user:1", idempotency_key="k", now=clock.now())
