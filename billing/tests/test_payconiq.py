"""A second provider behind the same seam: Payconiq, against its stand-in over HTTP."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from accounts.models import Account, User
from billing import tasks
from billing.checkout import purchases, waiting_orders
from billing.checkout.providers import payconiq
from billing.errors import PaymentProviderUnavailableError, PriceNotSellableError, RefundRefusedError
from billing.models import Order, Price
from billing.refunds import refunds
from billing.tests.conftest import Shop
from billing.tests.test_checkout import start
from common import clock
from credits import audit, ledger, selectors
from credits.models import Grant, Source
from outbox.models import Alert
from sandbox.local_payconiq import LocalPayconiq
from sandbox.local_stripe import server

FREE = 8


@dataclass
class Bank:
    """The stand-in, and what it does when its customer uses the app."""

    local: LocalPayconiq

    def end(self, order: Order, status: str = "SUCCEEDED", *, copies: int = 1) -> list[int]:
        """End a payment, and have our worker do what the callback rang it for."""
        answered = self.local.end(order.payment_id or "", status, post, copies=copies)
        tasks.refresh_order(order_id=str(order.pk))
        order.refresh_from_db()
        return answered


def post(url: str, body: bytes, signature: str) -> int:
    assert url.endswith(reverse("payconiq-callback"))
    headers = {"Signature": signature}
    return (
        Client().post(reverse("payconiq-callback"), body, content_type="application/json", headers=headers).status_code
    )


@pytest.fixture
def bank(shop: Shop, settings: Settings) -> Iterator[Bank]:
    with server.Listening(shop.stripe, port=0) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        base = f"http://127.0.0.1:{listening.server_port}/payconiq"
        settings.PAYMENT_PROVIDERS = ["stripe", "payconiq"]
        settings.PAYCONIQ_API_BASE, settings.PAYCONIQ_JWKS_URL = base, f"{base}/certificates"
        settings.PAYCONIQ_API_KEY, settings.PAYCONIQ_PROFILE_ID = "key", "sandbox-profile"
        yield Bank(listening.get_app().payconiq)  # type: ignore[union-attr]
        listening.shutdown()


@pytest.fixture
def order(bank: Bank, customer: Account) -> Order:
    return start(customer, provider="payconiq", ui=Order.Ui.QR).order


def balance(account: Account) -> int:
    return selectors.balance(account_id=account.pk, now=clock.now()).available


def test_payconiq_payment_has_the_packs_amount_and_a_qr_code(bank: Bank, order: Order) -> None:
    row = bank.local.payments[order.payment_id or ""]

    assert (row["amount"], row["currency"], row["reference"]) == (500, "EUR", order.public_id)
    assert (order.provider, order.checkout_url) == ("payconiq", row["_links"]["deeplink"]["href"])
    assert purchases.qr_code(order).startswith("<?xml")


def test_repeated_callback_grants_once(bank: Bank, order: Order, customer: Account) -> None:
    assert bank.end(order, copies=5) == [200] * 5
    tasks.refresh_order(order_id=str(order.pk))

    assert (order.status, order.paid_minor, balance(customer)) == ("completed", 500, FREE + 20)
    grant = Grant.objects.get(account=customer, source=Source.PURCHASE)
    assert (grant.paid_minor, grant.source_key) == (500, f"payconiq:payment:{order.payment_id}")
    assert list(audit.all_disagreements()) == []


@pytest.mark.parametrize(
    ("ended", "status"),
    [("FAILED", "failed"), ("CANCELLED", "expired"), ("EXPIRED", "expired"), ("AUTHORIZED", "processing")],
)
def test_what_was_not_paid_gives_nothing(bank: Bank, order: Order, customer: Account, ended: str, status: str) -> None:
    bank.end(order, ended)

    assert (order.status, balance(customer)) == (status, FREE)


def test_a_payment_whose_callback_never_came_is_asked_for(
    bank: Bank, order: Order, shop: Shop, customer: Account
) -> None:
    bank.local.end(order.payment_id or "", "SUCCEEDED", lambda *_: 0)
    assert waiting_orders.refresh(now=clock.now()) == 0  # a callback may be on its way
    shop.advance(minutes=1)

    assert waiting_orders.refresh(now=clock.now()) == 1
    assert balance(customer) == FREE + 20


def test_the_page_asks_as_well(bank: Bank, order: Order, customer: Account, ada: User, client: Client) -> None:
    client.force_login(ada)
    bank.local.end(order.payment_id or "", "SUCCEEDED", lambda *_: 0)

    shown = client.get(f"/billing/checkout/{order.public_id}?waited=5").content.decode()

    assert "Thank you" in shown


def test_a_payment_that_nobody_makes_is_over_after_its_time(bank: Bank, order: Order, shop: Shop) -> None:
    shop.advance(minutes=21)
    waiting_orders.refresh(now=clock.now())

    order.refresh_from_db()
    assert order.status == "expired"


def test_an_amount_that_is_not_the_order_s_is_left_to_a_person(bank: Bank, order: Order, customer: Account) -> None:
    bank.local.payments[order.payment_id or ""]["amount"] = 1
    bank.local.end(order.payment_id or "", "SUCCEEDED", post)
    waiting_orders.refresh(now=clock.now() + timedelta(minutes=1))

    order.refresh_from_db()
    assert (order.status, balance(customer)) == ("review", FREE)


@pytest.mark.parametrize(
    "claims",
    [
        {"sub": "another-profile"},
        {"iss": "mallory"},
        {"path": "https://elsewhere.example/callback"},
        {"iat": "2020-01-01T00:00:00+00:00"},
        {"iat": "nonsense"},
        {"iat": "2126-01-01T00:00:00+00:00"},
    ],
    ids=str,
)
def test_a_callback_that_was_signed_for_another_is_refused(bank: Bank, order: Order, claims: dict[str, Any]) -> None:
    url = payconiq.callback_url()
    body = b'{"paymentId": "' + (order.payment_id or "").encode() + b'"}'

    assert post(url, body, bank.local.signature(body, url)) == 200
    assert post(url, body, bank.local.signature(body, url, **claims)) == 400


@pytest.mark.parametrize("signature", ["", "x", "a.b.c", "..", "e30..e30", "é..é"])
def test_an_unsigned_callback_is_refused(bank: Bank, order: Order, signature: str) -> None:
    body = b'{"paymentId": "x", "status": "SUCCEEDED"}'
    with pytest.raises(payconiq.ForgedCallbackError):
        payconiq.payment_of_callback(body=body, signature=signature, now=clock.now())


def test_another_s_key_and_a_changed_body_are_refused(bank: Bank, order: Order, shop: Shop) -> None:
    url, body = payconiq.callback_url(), b'{"paymentId": "x"}'
    forged = LocalPayconiq(clock=shop.stripe.clock, public_url="x").signature(body, url)

    assert post(url, body, forged) == 400
    assert post(url, body + b" ", bank.local.signature(body, url)) == 400
    assert post(url, b"[]", bank.local.signature(b"[]", url)) == 400
    assert post(url, b"not json", bank.local.signature(b"not json", url)) == 400


def test_a_callback_about_a_stranger_s_payment_changes_nothing(bank: Bank, order: Order) -> None:
    url, body = payconiq.callback_url(), b'{"paymentId": "unknown"}'

    assert post(url, body, bank.local.signature(body, url)) == 200


def test_payconiq_refund_claws_back_and_alerts_the_transfer(bank: Bank, order: Order, customer: Account) -> None:
    bank.end(order)
    ledger.spend(account_id=customer.pk, amount=FREE + 5, idempotency_key="k", now=clock.now())
    ways = {"reason": "Sorry", "actor": "user:1", "idempotency_key": "1", "now": clock.now()}

    refunds.refund(order=order, amount_minor=250, **ways)

    order.refresh_from_db()
    assert (order.refunded_minor, balance(customer)) == (250, 5)
    assert refunds.refundable(order).minor == 250
    assert "Transfer EUR 2.50 to BE68539007547034" in Alert.objects.get().detail
    with pytest.raises(RefundRefusedError):
        refunds.refund(order=order, amount_minor=251, **ways)
    refunds.refund(order=order, amount_minor=250, **ways)
    assert balance(customer) == 0
    assert list(audit.all_disagreements()) == []


def test_payconiq_takes_euros(bank: Bank, customer: Account) -> None:
    price = Price.objects.filter(pack__code="credits-20").first()
    assert price is not None
    Price.objects.filter(pk=price.pk).update(currency="usd")
    price.refresh_from_db()

    with pytest.raises(PriceNotSellableError):
        start(customer, price=price, provider="payconiq")


def test_an_api_that_does_not_answer_leaves_the_key_usable(bank: Bank, customer: Account, settings: Settings) -> None:
    there, settings.PAYCONIQ_API_BASE = settings.PAYCONIQ_API_BASE, "http://127.0.0.1:1"
    with pytest.raises(PaymentProviderUnavailableError):
        start(customer, provider="payconiq")
    settings.PAYCONIQ_API_BASE = there

    assert start(customer, provider="payconiq").order.payment_id
