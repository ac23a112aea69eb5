"""Starting a purchase: the client names an item, we decide what it costs, and a repeated key opens one page."""

from typing import Any

import pytest
import stripe
from django.db import transaction

from accounts.models import Account
from billing.catalogue import price_list
from billing.checkout import purchases
from billing.errors import (
    AlreadySubscribedError,
    ArchivedItemError,
    ForeignUrlError,
    OrderKeyReusedError,
    PaymentProviderUnavailableError,
    PriceNotSellableError,
)
from billing.models import Order, Pack, Plan, Price
from billing.stripe import stripe_client
from billing.stripe.stripe_client import CallInTransactionError
from billing.tests.conftest import Shop
from common import clock
from sandbox.local_stripe.transport import InProcessClient


def start(account: Account, *, item: str = "credits-20", key: str = "k", **how: Any) -> purchases.StartedCheckout:
    return purchases.start_checkout(
        account=account,
        price=how.pop("price", None) or price_list.find_price(item=item),
        quantity=how.pop("quantity", 1),
        idempotency_key=key,
        actor="test",
        now=clock.now(),
        **how,
    )


def test_a_repeated_key_opens_the_same_page(shop: Shop, customer: Account) -> None:
    first, second = start(customer), start(customer)

    assert second.is_replayed
    assert second.order.checkout_url == first.order.checkout_url
    assert len(list(shop.stripe.store.all("checkout.session"))) == 1
    assert Order.objects.count() == 1


def test_a_key_of_another_checkout_is_refused(shop: Shop, customer: Account) -> None:
    start(customer)

    with pytest.raises(OrderKeyReusedError):
        start(customer, item="credits-50")
    with pytest.raises(OrderKeyReusedError):
        start(customer, quantity=2)


def test_unanswered_stripe_call_is_retried_with_the_same_key(shop: Shop, customer: Account) -> None:
    stripe.default_http_client = stripe.RequestsClient(timeout=1)
    with pytest.raises(PaymentProviderUnavailableError):
        start(customer)
    stripe.default_http_client = InProcessClient(shop.stripe)

    started = start(customer)

    assert started.order.stripe_session_id
    assert Order.objects.count() == 1


def test_an_account_is_one_customer_however_often_it_buys(shop: Shop, customer: Account) -> None:
    start(customer, key="a")
    start(customer, key="b")

    assert len(list(shop.stripe.store.all("customer"))) == 1


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/",
        "//evil.example/",
        "http://127.0.0.1:8000@evil.example/",
        "http://127.0.0.1:8000\\@evil.example/",
        "javascript:alert(1)",
        "http://127.0.0.1:8000.evil.example/",
        "/relative",
    ],
)
def test_customers_are_never_sent_to_another_site(shop: Shop, customer: Account, url: str) -> None:
    for field in ("success_url", "cancel_url"):
        with pytest.raises(ForeignUrlError) as caught:
            start(customer, **{field: url})
        assert caught.value.extra["errors"][0]["pointer"] == f"/{field}"
    assert not Order.objects.exists()


def test_our_own_pages_may_be_named(shop: Shop, customer: Account) -> None:
    order = start(customer, success_url="http://127.0.0.1:8000/thanks?x=1").order

    assert shop.stripe.get("checkout.session", order.stripe_session_id)["success_url"].endswith("/thanks?x=1")


def test_what_is_no_longer_for_sale_cannot_be_bought(shop: Shop, customer: Account) -> None:
    Pack.objects.filter(code="credits-20").update(is_active=False)
    Plan.objects.filter(code="pro").update(is_active=False)

    for item in ("credits-20", "pro"):
        with pytest.raises(ArchivedItemError):
            start(customer, item=item)


def test_unknown_or_unpriced_item_cannot_be_bought(shop: Shop, customer: Account) -> None:
    Price.objects.filter(pack__code="credits-20").update(is_active=False)

    for item in ("credits-20", "nothing"):
        with pytest.raises(PriceNotSellableError):
            start(customer, item=item)


def test_a_price_that_stripe_has_archived_is_said_so(shop: Shop, customer: Account) -> None:
    price = Price.objects.get(pack__code="credits-20")
    stripe.Price.modify(price.stripe_price_id, active=False)

    with pytest.raises(PriceNotSellableError):
        start(customer)


def test_an_account_has_one_plan_at_a_time(shop: Shop, customer: Account) -> None:
    shop.pay(shop.checkout(customer, item="pro", key="first"))
    shop.deliver()

    with pytest.raises(AlreadySubscribedError):
        start(customer, item="pro", key="second")


def test_stripe_is_never_called_inside_a_transaction(shop: Shop, customer: Account) -> None:
    with pytest.raises(CallInTransactionError), transaction.atomic():
        stripe_client.retrieve("customer", "cus_1")


def test_the_portal_needs_a_first_purchase(shop: Shop, customer: Account) -> None:
    with pytest.raises(purchases.NoCustomerError):
        purchases.portal_url(account=customer)
    start(customer)

    assert purchases.portal_url(account=customer).startswith("http")
