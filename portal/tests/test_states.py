"""What a page says in each state of a purchase and a plan: trials, abandoned checkouts, failed renewals."""

import html
import re
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from django.core import mail
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from accounts.models import Account, User
from billing.models import Order, Plan, Price, Subscription
from billing.notifications import ending_trials
from billing.subscriptions import plan_changes
from billing.templatetags import formats
from billing.tests.conftest import Shop, customer, shop
from billing.tests.test_mails import post
from common import clock
from outbox import dispatching
from outbox.models import OutboxEvent

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
        post()
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

    def test_trial_that_was_stopped_or_paused_says_that_nothing_is_charged(
        self, trial: Order, shop: Shop, page: Page
    ) -> None:
        plan_changes.cancel(account=trial.account, now=clock.now())

        shown = page(f"/billing/checkout/{trial.public_id}")

        assert "the first payment" not in shown
        assert "nothing is charged" in shown

    def test_paused_trial_is_not_announced(self, trial: Order, shop: Shop) -> None:
        Subscription.objects.update(is_paused=True)
        shop.advance(days=5)

        assert ending_trials.warn(now=clock.now()) == 0

    @pytest.mark.parametrize(
        ("credits", "said"), [(0, "Nothing was charged."), (3, "its 3 credits are in your account")]
    )
    def test_mail_says_what_the_trial_gives(self, shop: Shop, customer: Account, credits: int, said: str) -> None:
        Plan.objects.filter(code="pro").update(trial_days=7, trial_credits=credits)
        shop.pay(shop.checkout(customer, item="pro"))
        shop.deliver()

        event = OutboxEvent.objects.get(name="order.paid")
        dispatching.dispatch(event_id=event.pk, now=clock.now())

        assert event.data["credits"] == credits
        assert said in str(mail.outbox[-1].body)
        assert ("credits are in" in str(mail.outbox[-1].body)) is bool(credits)

    def test_free_days_of_a_paid_plan_are_no_trial(self, shop: Shop, customer: Account, page: Page) -> None:
        order = shop.checkout(customer, item="pro")
        shop.pay(order)
        shop.deliver()
        plan_changes.extend_period(account=customer, days=10, key="k", now=clock.now())
        shop.deliver()
        shop.advance(days=38)

        assert Subscription.objects.get().status == "trialing"  # as Stripe calls it
        assert ending_trials.warn(now=clock.now()) == 0
        assert "Thank you, it is paid" in page(f"/billing/checkout/{order.public_id}")
        assert "trial" not in page("/billing")

    def test_page_of_a_trial_that_is_over_names_no_price_that_was_not_paid(
        self, trial: Order, shop: Shop, page: Page
    ) -> None:
        shop.advance(days=8)
        shop.deliver()

        assert "€20.00" not in page(f"/billing/checkout/{trial.public_id}")

    def test_who_had_a_trial_is_offered_none(self, trial: Order, shop: Shop, ada: User) -> None:
        browser = Client()
        browser.force_login(ada)

        assert "7 days free" not in browser.get("/pricing").content.decode()

    def test_refused_second_trial_is_no_purchase(self, shop: Shop, customer: Account, page: Page) -> None:
        order = shop.checkout(customer, item="pro")
        problem = "The free trial was used before. Nothing was charged."
        Order.objects.filter(pk=order.pk).update(status="failed", problem=problem)

        assert "Pro" not in page("/billing").partition("Purchases")[2]

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
        shop.refuse_card()
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
    def test_price_list_sells_the_same_thing_twice(self, shop: Shop, customer: Account, ada: User) -> None:
        browser = Client()
        browser.force_login(ada)
        for _ in range(2):
            page = browser.get("/pricing").content.decode()
            (form,) = [row for row in page.split("<form") if 'value="credits-20"' in row]
            fields = dict(re.findall(r'name="(item|key|quantity)" value="([^"]*)"', form))
            browser.post("/buy", fields)
            shop.pay(Order.objects.latest("id"))
            shop.deliver()

        assert Order.objects.filter(status="completed").count() == 2

    def test_plan_that_is_not_sold_in_the_customer_s_currency_is_not_free(self, shop: Shop) -> None:
        Price.objects.filter(plan__code="studio").update(is_active=False)

        shown = Client().get("/pricing").content.decode()

        assert "Studio" not in shown
        assert "Pro" in shown

    def test_days_of_a_plan_are_those_of_the_account_s_zone(
        self, shop: Shop, customer: Account, ada: User, page: Page
    ) -> None:
        Account.objects.filter(pk=customer.pk).update(time_zone="Pacific/Auckland")
        shop.pay(shop.checkout(customer, item="pro"))
        shop.deliver()
        late = datetime(2026, 12, 28, 20, tzinfo=UTC)  # the 29th there
        Subscription.objects.update(current_period_end=late)

        assert "Renews on 29 Dec 2026" in page("/billing")
        assert "Renews on 29 Dec 2026" in page("/dashboard")
        assert timezone.get_current_timezone_name() == "UTC"  # and nobody else sees their time

    def test_bullets_about_numbers_follow_the_numbers(self, shop: Shop, customer: Account, page: Page) -> None:
        Plan.objects.filter(code="pro").update(monthly_credits=120)

        shown = page("/credits")

        assert "120 credits every month" in shown
        assert "100 credits every month" not in shown

    @pytest.mark.parametrize("verification", ["none", "mandatory"])
    def test_whoever_signs_up_comes_back_to_the_plan(self, shop: Shop, settings: Settings, verification: str) -> None:
        settings.ACCOUNT_EMAIL_VERIFICATION = verification
        browser = Client()
        page = browser.get("/accounts/signup/?next=/credits%3Fplan%3Dpro%26interval%3Dyear%23plans").content.decode()
        result = re.search(r'name="next" value="([^"]*)"', page)
        assert result
        fields = {"email": "new@example.com", "password1": "correct horse battery", "next": html.unescape(result[1])}

        answer = browser.post("/accounts/signup/", fields)
        if verification == "mandatory":
            (link,) = re.findall(r"https?://[^/]+(/accounts/confirm-email/\S+)", str(mail.outbox[0].body))
            browser.post(link)
            answer = browser.post("/accounts/login/", {"login": fields["email"], "password": fields["password1"]})

        assert answer["Location"].startswith("/credits?plan=pro&interval=year")

    @pytest.mark.parametrize("address", ["https://evil.example/", "//evil.example", "javascript:alert(1)"])
    def test_sign_up_leads_nowhere_else(self, shop: Shop, settings: Settings, address: str) -> None:
        browser = Client()
        fields = {"email": "new@example.com", "password1": "correct horse battery", "next": address}

        assert browser.post("/accounts/signup/", fields)["Location"] == "/dashboard"

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
    months = ["jan.", "feb.", "mrt.", "apr.", "mei", "juni", "juli", "aug.", "sep.", "okt.", "nov.", "dec."]
    month = months[clock.now().month - 1]
    assert f" {month} {clock.now().year}" in history


@pytest.mark.parametrize(
    ("minor", "currency", "credits", "shown"),
    [
        (500, "eur", 20, "€0.25"),
        (2000, "eur", 300, "€0.067"),
        (1000, "eur", 7000, "€0.0014"),
        (500, "jpy", 3, "¥166.667"),
    ],
)
def test_price_of_a_credit_has_a_few_digits(minor: int, currency: str, credits: int, shown: str) -> None:
    assert formats.each_of(minor, currency, credits) == shown
