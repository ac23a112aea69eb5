"""What a change of plan comes to is said before it is done; what stands on invoices is changed here."""

from collections.abc import Callable

import pytest
import stripe
from django.test import Client

from accounts.models import Account, User
from billing.catalogue import price_list
from billing.customers import billing_profile
from billing.customers.billing_profile import BillingProfile
from billing.errors import TaxNumberRefusedError
from billing.models import Order, Price, Promotion, Subscription
from billing.stripe import djstripe_store
from billing.subscriptions import plan_changes, previews
from billing.tests.conftest import Shop, customer, shop
from common import clock
from credits import ledger, selectors
from sandbox.local_stripe import refunds_and_disputes

__all__ = ["customer", "shop"]


@pytest.fixture
def subscribed(shop: Shop, customer: Account) -> Subscription:
    """Ada has had Pro for ten days, and spent nothing."""
    shop.pay(shop.checkout(customer, item="pro"))
    shop.deliver()
    shop.advance(days=10)
    shop.deliver()
    return Subscription.objects.get()


@pytest.fixture
def page(client: Client, ada: User, customer: Account) -> Callable[..., str]:
    client.force_login(ada)

    def get(address: str, **query: str) -> str:
        answer = client.get(address, query)
        assert answer.status_code == 200, answer.status_code
        return answer.content.decode()

    return get


def price(item: str, interval: str = "month") -> Price:
    return price_list.find_price(item=item, interval=interval)


def preview(account: Account, item: str, interval: str = "month") -> previews.ChangePreview:
    return previews.preview_change(account=account, price=price(item, interval), now=clock.now())


@pytest.mark.parametrize(("item", "interval"), [("studio", "month"), ("studio", "year"), ("pro", "year")])
def test_a_preview_is_what_then_happens(
    shop: Shop, customer: Account, subscribed: Subscription, item: str, interval: str
) -> None:
    before = selectors.balance(account_id=customer.pk, now=clock.now()).available
    paid = {row["id"] for row in djstripe_store.invoices_of(customer.pk, limit=10)}
    stored = len(list(shop.stripe.store.all("invoice"))), len(list(shop.stripe.store.all("event")))

    reported = preview(customer, item, interval)

    assert stored == (len(list(shop.stripe.store.all("invoice"))), len(list(shop.stripe.store.all("event"))))
    assert selectors.balance(account_id=customer.pk, now=clock.now()).available == before
    plan_changes.change(account=customer, price=price(item, interval), now=clock.now())
    shop.deliver()
    (bill,) = [row for row in djstripe_store.invoices_of(customer.pk, limit=10) if row["id"] not in paid]
    after = selectors.balance(account_id=customer.pk, now=clock.now()).available
    assert reported.is_at_once
    assert abs(reported.due_now_minor - bill["amount_paid"]) <= 1  # prorated by the second, a second later
    assert reported.credited_minor > 0
    assert after - before == reported.credits_now - reported.credits_gone


def test_a_downgrade_is_previewed_as_later_and_free(
    shop: Shop, customer: Account, subscribed: Subscription, page: Callable[..., str]
) -> None:
    plan_changes.change(account=customer, price=price("studio"), now=clock.now())
    shop.deliver()

    reported = preview(customer, "pro")

    assert (reported.is_at_once, reported.due_now_minor, reported.credits_now, reported.credits_gone) == (
        False,
        0,
        0,
        0,
    )
    assert reported.starts_at == Subscription.objects.get().current_period_end
    assert "until then nothing changes" in page("/billing/plan/preview", item="pro", interval="month")


def test_the_page_says_what_is_charged_and_charges_that(
    client: Client, customer: Account, subscribed: Subscription, shop: Shop, page: Callable[..., str]
) -> None:
    # Stripe prorates by the second: every few minutes it is a cent less.
    before = preview(customer, "studio").due_now_minor
    shown = page("/billing/plan/preview", item="studio", interval="month")
    later = preview(customer, "studio")
    after = later.due_now_minor

    assert any(f"Pay €{due / 100:.2f} and change" in shown for due in (before, after))
    assert f"+{later.credits_now}" in shown
    client.post("/billing/plan", {"item": "studio", "interval": "month"})
    shop.deliver()
    assert Subscription.objects.get().price == price("studio")


@pytest.mark.parametrize("item", ["pro", "credits-20", "nothing", ""])
def test_what_cannot_be_changed_to_is_said(
    client: Client, subscribed: Subscription, page: Callable[..., str], item: str
) -> None:
    answer = client.get("/billing/plan/preview", {"item": item, "interval": "month"}, follow=True)

    assert answer.redirect_chain[0][0] == "/credits"
    assert 'role="alert"' in answer.content.decode()


def test_stopping_says_what_is_kept_until_when(
    client: Client, customer: Account, subscribed: Subscription, page: Callable[..., str]
) -> None:
    shown = page("/billing/plan/cancel")

    assert "<dd>100<br>" in shown  # the plan's credits, to be spent until then
    assert not Subscription.objects.get().cancel_at_period_end
    client.post("/billing/plan/cancel")
    assert Subscription.objects.get().cancel_at_period_end
    assert client.get("/billing/plan/cancel").status_code == 302
    client.post("/billing/plan/resume")
    assert not Subscription.objects.get().cancel_at_period_end


def test_plans_are_shown_by_the_month_or_the_year(shop: Shop, page: Callable[..., str]) -> None:
    monthly, yearly = page("/credits"), page("/credits", interval="year")

    assert ("€20.00" in monthly, "€200.00" in monthly) == (True, False)
    assert "€200.00" in yearly
    assert "17% off" in yearly
    assert "€16.67 a month" in yearly


ACME = BillingProfile(
    name="Acme B.V.", line1="Dam 1", postal_code="1012 JS", city="Amsterdam", country="NL", tax_number="NL810433941B01"
)


def test_invoice_details_are_kept_at_stripe_and_shown(
    client: Client, customer: Account, shop: Shop, page: Callable[..., str]
) -> None:
    form = {name: getattr(ACME, name) for name in ("name", "line1", "line2", "postal_code", "city", "country")}

    answer = client.post("/billing/details", form | {"tax_number": "NL 8104.33.941.B01"}, follow=True)

    assert "Acme B.V." in answer.content.decode()
    assert billing_profile.fetch(customer) == ACME
    result = stripe.Customer.retrieve(djstripe_store.customer_of_account(customer.pk))
    assert (result.name, result.address.city) == ("Acme B.V.", "Amsterdam")
    assert 'value="NL810433941B01"' in page("/billing/details")

    client.post("/billing/details", form | {"tax_number": ""})
    assert billing_profile.fetch(customer).tax_number == ""
    assert stripe.Customer.list_tax_ids(djstripe_store.customer_of_account(customer.pk)).data == []


@pytest.mark.parametrize(
    ("text", "country", "kept"),
    [
        ("nl810433941b01", "NL", ("eu_vat", "NL810433941B01")),
        ("810433941B01", "NL", ("eu_vat", "NL810433941B01")),
        ("EL094259216", "GR", ("eu_vat", "EL094259216")),
        ("GB 980 7806 84", "GB", ("gb_vat", "GB980780684")),
    ],
)
def test_a_tax_number_is_told_as_stripe_wants_it(text: str, country: str, kept: tuple[str, str]) -> None:
    assert billing_profile.tax_number(text, country=country) == kept


@pytest.mark.parametrize(
    ("text", "country"), [("NL810433942B01", "NL"), ("DE136695976", "NL"), ("x", "NL"), ("NL", "NL"), ("123", "US")]
)
def test_invalid_tax_number_is_refused_and_changes_nothing(
    client: Client, customer: Account, page: Callable[..., str], text: str, country: str
) -> None:
    with pytest.raises(TaxNumberRefusedError):
        billing_profile.tax_number(text, country=country)

    form = {"name": "A", "line1": "B", "city": "C", "country": country, "tax_number": text}
    answer = client.post("/billing/details", form)

    assert (answer.status_code, "errorlist" in answer.content.decode()) == (200, True)
    assert djstripe_store.customer_of_account(customer.pk) == ""


def test_the_card_and_the_pdf_of_invoices_are_on_the_page(
    customer: Account, subscribed: Subscription, page: Callable[..., str]
) -> None:
    shown = page("/billing")

    assert "•••• 4242" in shown
    assert djstripe_store.invoices_of(customer.pk, limit=1)[0]["invoice_pdf"] in shown
    assert ">Paid<" in shown


def test_two_clicks_in_two_tabs_are_one_purchase(client: Client, customer: Account, shop: Shop, ada: User) -> None:
    client.force_login(ada)
    form = {"item": "credits-20", "key": "one-page"}

    targets = {client.post("/buy", form)["Location"] for _ in range(3)}

    assert (len(targets), Order.objects.count()) == (1, 1)


def test_the_promotion_of_this_customer_is_on_the_card(shop: Shop, page: Callable[..., str]) -> None:
    Promotion.objects.create(code="first", name="Welcome", bonus_credits=7, is_first_purchase=True)

    assert "Welcome: 7 credits on top" in page("/credits")


def test_billing_page_says_payment_state_without_payment_ids(
    customer: Account, shop: Shop, page: Callable[..., str]
) -> None:
    """A part refunded, and a dispute: on the billing page with its amount; in the history without Stripe's ids."""
    for key in "ab":
        shop.pay(shop.checkout(customer, key=key))
    first, second = (row["id"] for row in shop.stripe.store.all("charge"))
    stripe.Refund.create(charge=first, amount=250)
    refunds_and_disputes.open_dispute(shop.stripe, second)
    shop.deliver()

    billing = page("/billing")
    assert "€2.50 refunded" in billing
    assert ">Disputed<" in billing
    history = page("/transactions")
    assert ">Refund<" in history
    assert ">Dispute<" in history
    assert "ch_" not in history


def test_a_row_that_moves_no_credits_says_what_is_owed(customer: Account, shop: Shop, page: Callable[..., str]) -> None:
    """A dispute that is lost when all of it was spent: 20 are owed, and not minus nothing."""
    shop.pay(shop.checkout(customer))
    shop.deliver()
    ledger.spend(account_id=customer.pk, amount=28, idempotency_key="k", now=clock.now())
    (charge,) = shop.stripe.store.all("charge")
    refunds_and_disputes.close_dispute(
        shop.stripe, refunds_and_disputes.open_dispute(shop.stripe, charge["id"])["id"], "lost"
    )
    shop.deliver()

    history = page("/transactions")
    assert "owed +20" in history
    assert "−0" not in history
