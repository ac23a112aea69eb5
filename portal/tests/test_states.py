"""What a page says in each state of a purchase and a plan: trials, abandoned checkouts, failed renewals."""

import html
from collections.abc import Callable

import pytest
from django.core import mail
from django.test import Client

from accounts.models import Account, User
from billing.models import Order, Plan, Subscription
from billing.notifications import ending_trials
from billing.subscriptions import plan_changes
from billing.tests.conftest import Shop, customer, shop
from common import clock
from outbox import dispatching
from outbox.models import OutboxEvent
from sandbox.local_stripe import declines

__all__ = ["customer", "shop"]

Page = Callable[[str], str]


@pytest.fixture
def page(ada: User) -> Page:
    """What stands in the main part of a page of Ada's."""
    browser = Client()
    browser.force_login(ada)

    def get(address: str) -> str:
        shown = browser.get(address).content.decode()
        return html.unescape(shown.partition("<main")[2].partition("</main>")[0])

    return get


@pytest.fixture
def trial(shop: Shop, customer: Account) -> Order:
    """Ada begins a week's trial of Pro."""
    Plan.objects.filter(code="pro").update(trial_days=7)
    order = shop.checkout(customer, item="pro")
    shop.pay(order)
    shop.deliver()
    return Order.objects.get(pk=order.pk)


class TestTrials:
    def test_order_of_a_trial_cost_nothing(self, trial: Order, page: Page) -> None:
        assert (trial.status, trial.charged_minor) == ("completed", 0)
        assert "€20.00" not in page("/billing").partition("Purchases")[2]

    def test_checkout_page_says_when_the_trial_ends_and_what_it_costs_then(self, trial: Order, page: Page) -> None:
        shown = page(f"/billing/checkout/{trial.public_id}")

        assert "Your trial has begun" in shown
        assert "the first payment of €20.00" in shown
        assert "it is paid" not in shown

    def test_mail_says_trial_its_end_and_the_first_charge(self, trial: Order) -> None:
        for event_id in OutboxEvent.objects.values_list("pk", flat=True):
            dispatching.dispatch(event_id=event_id, now=clock.now())
        sent = [letter for letter in mail.outbox if "Pro" in letter.subject]

        assert len(sent) == 1
        assert "trial" in sent[0].subject
        assert "€20.00" in sent[0].body
        assert "Nothing was charged." in sent[0].body

    @pytest.mark.parametrize("is_stopped", [False, True], ids=["goes on", "was stopped"])
    def test_mail_comes_once_before_the_first_charge(self, trial: Order, shop: Shop, is_stopped: bool) -> None:
        if is_stopped:
            plan_changes.cancel(account=trial.account, now=clock.now())
        warned = []
        for _ in range(6):
            warned.append(ending_trials.warn(now=clock.now()))
            shop.advance(days=1)

        assert warned == [0] * 6 if is_stopped else [0, 0, 0, 0, 1, 0]

    def test_plans_say_that_they_begin_with_a_trial(self, shop: Shop, customer: Account, page: Page) -> None:
        Plan.objects.filter(code="pro").update(trial_days=7)

        assert "7 days free" in page("/credits")
        assert "7 days free" in Client().get("/pricing").content.decode()


class TestPurchases:
    def test_what_was_not_bought_is_no_purchase(self, shop: Shop, customer: Account, page: Page) -> None:
        shop.checkout(customer, key="left")
        expired = shop.checkout(customer, key="over")
        Order.objects.filter(pk=expired.pk).update(status="expired")
        paid = shop.checkout(customer, key="paid", item="credits-50")
        shop.pay(paid)
        shop.deliver()

        purchases = page("/billing").partition("Purchases")[2]

        assert "50 credits" in purchases
        assert "20 credits" not in purchases
        assert "Not paid yet" not in purchases


class TestFailedRenewal:
    @pytest.fixture
    def failed(self, shop: Shop, customer: Account) -> Subscription:
        shop.pay(shop.checkout(customer, item="pro"))
        shop.deliver()
        declines.set_declines(shop.stripe, next(iter(shop.stripe.store.all("customer")))["id"], is_on=True)
        shop.advance(days=31)
        shop.deliver()
        return Subscription.objects.get()

    def test_page_says_failed_and_leads_to_the_invoice(self, failed: Subscription, page: Page) -> None:
        assert failed.status == "past_due"
        for address in ("/billing", "/dashboard"):
            shown = page(address)
            assert "Renews on" not in shown
            assert 'href="http://127.0.0.1:12111/invoices/' in shown, address


class TestCards:
    def test_bullets_about_numbers_follow_the_numbers(self, shop: Shop, customer: Account, page: Page) -> None:
        Plan.objects.filter(code="pro").update(monthly_credits=120)

        shown = page("/credits")

        assert "120 credits every month" in shown
        assert "100 credits every month" not in shown

    def test_sign_up_keeps_the_plan_and_its_interval(self, shop: Shop, db: None) -> None:
        shown = html.unescape(Client().get("/pricing?interval=year").content.decode())

        assert "/accounts/signup/?next=/credits%3Fplan%3Dpro%26interval%3Dyear" in shown


def test_dates_and_money_are_written_as_the_language_does(shop: Shop, customer: Account, ada: User) -> None:
    browser = Client(headers={"Accept-Language": "nl"})
    browser.force_login(ada)

    shown = html.unescape(browser.get("/credits").content.decode())
    history = browser.get("/transactions").content.decode()

    assert "€\xa00,25 per credit" in shown
    assert "€\xa05,00" in shown
    month = ["jan", "feb", "mrt", "apr", "mei", "jun", "jul", "aug", "sep", "okt", "nov", "dec"][clock.now().month - 1]
    assert f" {month} {clock.now().year}" in history
