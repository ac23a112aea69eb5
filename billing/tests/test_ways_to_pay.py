"""A QR code, a card form of our own, VAT, codes: the same purchase by other ways."""

from datetime import timedelta
from xml.etree import ElementTree as ET

import pytest
import stripe
from django.test import Client
from pytest_django import Settings

from accounts import keys
from accounts.models import Account, Scope, User
from accounts.opening import personal_account
from billing.catalogue import price_list
from billing.checkout import purchases, top_ups, waiting_orders
from billing.customers import billing_profile
from billing.errors import AddressNeededError, OrderKeyReusedError, PriceNotSellableError
from billing.models import Order, Pack, StoreFailure, TopUp
from billing.reconciliation import comparison
from billing.refunds import refunds
from billing.stripe import payloads
from billing.tests.conftest import Shop
from billing.tests.test_checkout import start
from common import clock
from credits import ledger, selectors
from credits.models import Grant, Source
from sandbox.local_stripe import payments
from sandbox.local_stripe.checkout import Outcome
from sandbox.local_stripe.errors import StripeApiError

FREE = 8


@pytest.fixture
def api(client: Client, customer: Account) -> Client:
    """A client with Ada's key."""
    created = keys.create_key(
        account=customer, name="t", scopes=list(keys.ACCOUNT_KEY_SCOPES), created_by=None, now=clock.now()
    )
    client.defaults["HTTP_AUTHORIZATION"] = f"Bearer {created.secret}"
    return client


def ask(api: Client, **body: object) -> tuple[int, dict[str, object]]:
    answer = api.post(
        "/api/v1/billing/checkouts",
        {"item": "credits-20", **body},
        content_type="application/json",
        headers={"Idempotency-Key": "k"},
    )
    return answer.status_code, answer.json()


# --- the QR code -----------------------------------------------------------------------------------


def test_a_qr_code_is_a_picture_of_the_payment_page(shop: Shop, api: Client) -> None:
    status, created = ask(api, ui="qr")

    address = str(created["qr_svg_url"]).removeprefix("http://127.0.0.1:8000")
    picture = Client().get(address)  # whoever has the address: an <img> sends no key
    assert (status, picture.status_code, picture.headers["Content-Type"]) == (201, 200, "image/svg+xml")
    assert ET.fromstring(picture.content).tag.endswith("svg")
    order = Order.objects.get()
    assert (order.ui, order.checkout_url) == ("qr", created["url"])


@pytest.mark.parametrize("name", ["co_1", "co_01m7ywyccje3kvbd43g53v5p3w:x", "x"])
def test_a_qr_code_s_address_cannot_be_guessed(shop: Shop, customer: Account, name: str) -> None:
    start(customer, ui=Order.Ui.QR)

    assert Client().get(f"/billing/qr/{name}.svg").status_code == 404


def test_the_page_with_the_code_waits_for_the_payment(shop: Shop, customer: Account, ada: User, client: Client) -> None:
    client.force_login(ada)
    order = start(customer, ui=Order.Ui.QR).order
    shown = client.get(f"/billing/checkout/{order.public_id}/qr").content.decode()
    assert purchases.qr_url(order) in shown
    assert "hx-get" in shown

    shop.pay(order)
    shop.deliver()

    assert client.get(f"/billing/checkout/{order.public_id}/qr").headers["Location"].endswith(order.public_id)


# --- the card form ---------------------------------------------------------------------------------


def test_a_card_form_gets_a_secret_and_the_pack_s_own_amount(shop: Shop, api: Client, customer: Account) -> None:
    # What it costs and gives is not the client's to say.
    assert ask(api, ui="elements", quantity=2, amount=1, credits=9999)[0] == 400
    status, created = ask(api, ui="elements", quantity=2)

    assert status == 201
    intent = stripe.PaymentIntent.retrieve(str(created["session_id"]))
    assert (intent.amount, intent.currency, intent.client_secret) == (1000, "eur", created["client_secret"])
    payments.confirm(shop.stripe, intent.id, is_there=True)
    shop.deliver(copies=3)
    assert selectors.balance(account_id=customer.pk, now=clock.now()).available == FREE + 40
    grant = Grant.objects.get(account=customer, source=Source.PURCHASE)
    assert (grant.paid_minor, grant.source_key) == (1000, f"stripe:payment_intent:{intent.id}")


def test_a_repeated_key_gets_the_same_secret(shop: Shop, api: Client) -> None:
    assert ask(api, ui="elements")[1]["client_secret"] == ask(api, ui="elements")[1]["client_secret"]
    assert len(list(shop.stripe.store.all("payment_intent"))) == 1


def test_a_card_that_is_refused_may_be_followed_by_another(shop: Shop, customer: Account) -> None:
    order = start(customer, ui=Order.Ui.ELEMENTS).order
    with pytest.raises(StripeApiError):
        payments.confirm(shop.stripe, order.payment_id or "", is_there=True, outcome="declined")
    shop.deliver()
    order.refresh_from_db()
    assert order.status == "open"

    payments.confirm(shop.stripe, order.payment_id or "", is_there=True)
    shop.deliver()

    order.refresh_from_db()
    assert (order.status, order.receipt_url[:4]) == ("completed", "http")


@pytest.mark.parametrize(
    ("outcome", "status", "credits"), [("delayed_success", "completed", 20), ("delayed_failure", "failed", 0)]
)
def test_a_delayed_method_on_the_card_form(
    shop: Shop, customer: Account, outcome: str, status: str, credits: int
) -> None:
    order = start(customer, ui=Order.Ui.ELEMENTS).order
    payments.confirm(shop.stripe, order.payment_id or "", is_there=True, outcome=outcome)
    shop.deliver()
    order.refresh_from_db()
    assert order.status == "processing"

    shop.advance(minutes=1)
    shop.deliver()

    order.refresh_from_db()
    assert order.status == status
    assert selectors.balance(account_id=customer.pk, now=clock.now()).available == FREE + credits


def test_a_card_form_that_was_left_is_closed_after_a_day(shop: Shop, customer: Account) -> None:
    order = start(customer, ui=Order.Ui.ELEMENTS).order
    unopened = start(customer, key="2").order
    Order.objects.filter(pk=unopened.pk).update(stripe_session_id=None)
    shop.advance(hours=23)
    assert purchases.card_form(order)
    assert waiting_orders.close_abandoned(now=clock.now()) == 0
    shop.advance(hours=2)

    assert waiting_orders.close_abandoned(now=clock.now()) == 2

    assert set(Order.objects.values_list("status", flat=True)) == {"expired"}
    with pytest.raises(StripeApiError):
        payments.confirm(shop.stripe, order.payment_id or "", is_there=True)


def test_the_return_page_need_not_wait_for_the_webhook(shop: Shop, customer: Account) -> None:
    order = start(customer, ui=Order.Ui.ELEMENTS).order
    payments.confirm(shop.stripe, order.payment_id or "", is_there=True)

    assert purchases.refresh(order, now=clock.now()).status == "completed"
    shop.deliver()
    assert Grant.objects.filter(source=Source.PURCHASE).count() == 1


def test_csp_allows_stripes_script_on_the_card_form_only(
    shop: Shop, customer: Account, ada: User, client: Client, settings: Settings
) -> None:
    client.force_login(ada)
    order = start(customer, ui=Order.Ui.ELEMENTS).order

    form = client.get(f"/billing/checkout/{order.public_id}/pay")

    assert (form.status_code, order.checkout_url) == (
        200,
        f"{settings.BASE_URL}/billing/checkout/{order.public_id}/pay",
    )
    assert settings.STRIPE_JS_URL in form.headers["Content-Security-Policy"]
    assert "https://js.stripe.com" in form.headers["Content-Security-Policy"]
    for other in ("/credits", "/dashboard", f"/billing/checkout/{order.public_id}"):
        assert "stripe.js" not in client.get(other).headers["Content-Security-Policy"].partition("form-action")[0]


def test_somebody_else_s_card_form_is_not_there(shop: Shop, customer: Account, client: Client) -> None:
    bob = User.objects.create_user("bob@example.com")
    personal_account(user=bob, now=clock.now())
    client.force_login(bob)
    order = start(customer, ui=Order.Ui.ELEMENTS).order

    assert client.get(f"/billing/checkout/{order.public_id}/pay").status_code == 404


def test_another_payment_cannot_pass_for_an_order_s(shop: Shop, customer: Account) -> None:
    """Somebody's payment intent that names our order: of another amount, and by another customer."""
    order = start(customer, ui=Order.Ui.ELEMENTS).order
    bob = personal_account(user=User.objects.create_user("bob@example.com"), now=clock.now())
    mallory = stripe.Customer.create(email="m@example.com", metadata={"djstripe_subscriber": str(bob.pk)})
    forged = stripe.PaymentIntent.create(
        amount=1,
        currency="eur",
        customer=mallory.id,
        metadata={"order": order.public_id, "kind": payloads.CARD_FORM, "credits": "9999"},
    )
    payments.confirm(shop.stripe, forged.id, is_there=True)
    shop.deliver()

    order.refresh_from_db()
    assert order.status == "open"
    assert not Grant.objects.filter(source=Source.PURCHASE).exists()
    assert any("belongs to no order of its customer" in failure for failure in shop.failures())


@pytest.mark.parametrize("how", [{"ui": Order.Ui.ELEMENTS}, {"provider": "payconiq"}], ids=str)
def test_a_plan_is_paid_on_the_payment_page(
    shop: Shop, customer: Account, how: dict[str, object], settings: Settings
) -> None:
    settings.PAYMENT_PROVIDERS = ["stripe", "payconiq"]
    with pytest.raises(PriceNotSellableError):
        start(customer, item="pro", **how)


def test_a_provider_that_is_off_takes_nothing(shop: Shop, customer: Account) -> None:
    with pytest.raises(PriceNotSellableError, match="payconiq"):
        start(customer, provider="payconiq")


def test_a_key_is_for_one_way_to_pay(shop: Shop, customer: Account) -> None:
    start(customer)

    with pytest.raises(OrderKeyReusedError):
        start(customer, ui=Order.Ui.ELEMENTS)


# --- VAT, codes, receipts --------------------------------------------------------------------------


def test_vat_comes_on_top_and_is_not_what_the_credits_cost(shop: Shop, customer: Account, settings: Settings) -> None:
    settings.STRIPE_TAX = True
    order = shop.checkout(customer)
    shop.pay(order)
    shop.deliver()

    order.refresh_from_db()
    assert (order.status, order.amount_minor, order.tax_minor, order.paid_minor) == ("completed", 500, 105, 605)
    assert Grant.objects.get(account=customer, source=Source.PURCHASE).paid_minor == 500


def test_the_vat_of_a_refund_goes_back_with_it(shop: Shop, customer: Account, settings: Settings) -> None:
    settings.STRIPE_TAX = True
    order = shop.checkout(customer)
    shop.pay(order)
    shop.deliver()
    order.refresh_from_db()
    assert refunds.refundable(order).minor == 605

    refunds.refund(order=order, amount_minor=605, reason="r", actor="t", idempotency_key="1", now=clock.now())

    assert Grant.objects.get(account=customer, source=Source.PURCHASE).remaining == 0


@pytest.mark.parametrize(("percent", "paid"), [(20, 400), (100, 0)])
def test_a_promotion_code_lowers_the_price_and_not_the_credits(
    shop: Shop, customer: Account, settings: Settings, percent: int, paid: int
) -> None:
    settings.STRIPE_PROMOTION_CODES = True
    coupon = stripe.Coupon.create(percent_off=percent, duration="once")
    stripe.PromotionCode.create(promotion={"type": "coupon", "coupon": coupon.id}, code="AUTUMN")
    order = shop.checkout(customer)

    shop.pay(order, promotion_code="autumn")
    shop.deliver()

    order.refresh_from_db()
    assert (order.status, order.discount_minor, order.paid_minor) == ("completed", 500 - paid, paid)
    grant = Grant.objects.get(account=customer, source=Source.PURCHASE)
    assert (grant.amount, grant.paid_minor) == (20, paid)


def test_a_code_that_is_not_one_is_told_on_the_page(shop: Shop, customer: Account, settings: Settings) -> None:
    settings.STRIPE_PROMOTION_CODES = True
    order = shop.checkout(customer)

    with pytest.raises(StripeApiError, match="invalid"):
        shop.pay(order, promotion_code="nonsense")


def test_a_paid_order_has_its_receipt(shop: Shop, customer: Account, ada: User, client: Client) -> None:
    order = shop.checkout(customer)
    shop.pay(order)
    shop.deliver()
    client.force_login(ada)

    order.refresh_from_db()
    assert "/receipts/ch_" in order.receipt_url
    assert order.receipt_url in client.get("/billing").content.decode()


@pytest.mark.parametrize("outcome", [Outcome.DELAYED_SUCCESS, Outcome.DELAYED_FAILURE])
def test_a_delayed_payment_with_vat(shop: Shop, customer: Account, settings: Settings, outcome: Outcome) -> None:
    settings.STRIPE_TAX = True
    order = shop.checkout(customer)
    shop.pay(order, outcome)
    shop.deliver()
    shop.advance(minutes=1)
    shop.deliver()

    order.refresh_from_db()
    assert order.status == ("completed" if outcome is Outcome.DELAYED_SUCCESS else "failed")


# --- syncing prices --------------------------------------------------------------------------------


def test_a_service_key_syncs_prices_and_hears_what_changed(shop: Shop, api: Client) -> None:
    service = keys.create_key(account=None, name="s", scopes=[Scope.CREDITS_GRANT], created_by=None, now=clock.now())
    stripe.Price.create(product="tegoed_pack_credits-20", currency="usd", unit_amount=550)

    refused = api.post("/api/v1/billing/sync-prices")
    answer = api.post("/api/v1/billing/sync-prices", headers={"Authorization": f"Bearer {service.secret}"})

    assert refused.status_code == 403
    assert answer.json() == {"changes": ["20 credits: new price 550 usd once."]}


def test_an_operator_syncs_prices_with_a_button(shop: Shop, client: Client) -> None:
    client.force_login(User.objects.create_superuser("op@example.com"))
    stripe.Product.modify("tegoed_pack_credits-20", name="Twenty")

    fields = client.get("/admin/billing/pack/sync", follow=True).content.decode()
    assert "Products and prices are read from Stripe" in fields
    assert Pack.objects.get(code="credits-20").name == "20 credits"  # looking changes nothing
    answer = client.post("/admin/billing/pack/sync/", follow=True)

    assert "20 credits is now called Twenty." in answer.content.decode()


# --- VAT without a payment page --------------------------------------------------------------------


@pytest.fixture
def taxed(shop: Shop, customer: Account, settings: Settings) -> Account:
    """Ada pays VAT, and has said where she lives."""
    settings.STRIPE_TAX = True
    billing_profile.save(
        customer,
        billing_profile.BillingProfile(name="Ada", line1="Dam 1", postal_code="1012 NP", city="A", country="NL"),
    )
    return customer


@pytest.mark.parametrize(("behavior", "total", "net"), [("exclusive", 605, 500), ("inclusive", 500, 413)])
def test_a_card_form_charges_vat(shop: Shop, taxed: Account, behavior: str, total: int, net: int) -> None:
    """docs.stripe.com/tax/payment-intent: the amount is the calculation's, which the payment names."""
    shop.stripe.get("price", price_list.find_price(item="credits-20").stripe_price_id)["tax_behavior"] = behavior
    order = start(taxed, ui=Order.Ui.ELEMENTS).order
    (intent,) = shop.stripe.store.all("payment_intent")

    payments.confirm(shop.stripe, intent["id"], is_there=True)
    shop.deliver()

    order.refresh_from_db()
    assert intent["hooks"]["inputs"]["tax"]["calculation"].startswith("taxcalc_")
    assert (order.status, order.paid_minor, order.tax_minor) == ("completed", total, total - net)
    assert Grant.objects.get(account=taxed, source=Source.PURCHASE).paid_minor == net
    assert not list(comparison.differences(since=clock.now() - timedelta(days=1)))


def test_what_a_card_form_charges_is_what_it_says(
    shop: Shop, taxed: Account, ada: User, client: Client, api: Client
) -> None:
    order = start(taxed, ui=Order.Ui.ELEMENTS).order
    client.force_login(ada)

    assert "Pay €6.05" in client.get(order.checkout_url.replace("http://127.0.0.1:8000", "")).content.decode()
    assert ask(api, ui="elements")[1]["total"] == 605


def test_a_card_form_asks_for_an_address_first(shop: Shop, customer: Account, settings: Settings) -> None:
    settings.STRIPE_TAX = True

    with pytest.raises(AddressNeededError):
        start(customer, ui=Order.Ui.ELEMENTS)


def test_a_top_up_charges_vat(shop: Shop, taxed: Account) -> None:
    shop.pay(shop.checkout(taxed, key="first"), saves_card=True)
    shop.deliver()
    price = price_list.find_price(item="credits-20")
    top_ups.switch_on(account=taxed, price=price, below=100, max_per_month=1, now=clock.now())
    ledger.spend(account_id=taxed.pk, amount=1, idempotency_key="s", now=clock.now())

    order = top_ups.buy_if_due(account_id=taxed.pk, now=clock.now())
    shop.deliver()

    assert order is not None
    order.refresh_from_db()
    assert (order.status, order.paid_minor, order.tax_minor) == ("completed", 605, 105)


def test_top_up_without_tax_address_is_switched_off(shop: Shop, customer: Account, settings: Settings) -> None:
    shop.pay(shop.checkout(customer), saves_card=True)
    shop.deliver()
    price = price_list.find_price(item="credits-20")
    top_ups.switch_on(account=customer, price=price, below=100, max_per_month=1, now=clock.now())
    ledger.spend(account_id=customer.pk, amount=1, idempotency_key="s", now=clock.now())
    settings.STRIPE_TAX = True

    top_ups.buy_if_due(account_id=customer.pk, now=clock.now())

    assert "address" in TopUp.objects.get().problem


def test_a_pack_with_vat_has_an_invoice(shop: Shop, customer: Account, settings: Settings) -> None:
    """docs.stripe.com/receipts#paid-invoices: `invoice_creation` makes one when the payment has succeeded."""
    settings.STRIPE_TAX = True
    shop.pay(shop.checkout(customer))
    shop.deliver()

    (created,) = shop.stripe.store.all("invoice")
    assert (created["status"], created["total"], created["total_taxes"][0]["amount"]) == ("paid", 605, 105)
    assert Grant.objects.filter(account=customer, source=Source.PURCHASE).count() == 1
    assert shop.failures() == []


@pytest.mark.parametrize(("behavior", "total"), [("exclusive", 1210), ("inclusive", 1000)])
def test_a_plan_with_a_code_and_vat(
    shop: Shop, customer: Account, settings: Settings, behavior: str, total: int
) -> None:
    """docs.stripe.com/api/invoices/object: `discounts` are ids, `total_taxes` by behaviour; dj-stripe takes both."""
    settings.STRIPE_TAX = settings.STRIPE_PROMOTION_CODES = True
    shop.stripe.get("price", price_list.find_price(item="pro").stripe_price_id)["tax_behavior"] = behavior
    coupon = stripe.Coupon.create(percent_off=50, duration="once")
    stripe.PromotionCode.create(promotion={"type": "coupon", "coupon": coupon.id}, code="HALF")
    shop.pay(shop.checkout(customer, item="pro"), promotion_code="half")
    shop.deliver()

    (bill,) = shop.stripe.store.all("invoice")
    grant = Grant.objects.get(account=customer, source=Source.PLAN)
    assert (bill["amount_paid"], grant.amount) == (total, 100)
    assert grant.paid_minor == (1000 if behavior == "exclusive" else 826)
    assert (shop.failures(), [row.error for row in StoreFailure.objects.all()]) == ([], [])
    shop.advance(days=31, hours=2)
    shop.deliver()
    renewed = [row for row in shop.stripe.store.all("invoice") if row["billing_reason"] == "subscription_cycle"]
    assert [row["discounts"] for row in renewed] == [[]]
