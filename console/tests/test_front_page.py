"""What each role finds on the console's first page, and the days that its numbers are about."""

import csv
import io
from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import Account, User
from billing.tests.conftest import Shop
from common import clock
from console import reports
from console.models import Approval, AuditEvent

pytestmark = pytest.mark.django_db


def front(user: User, query: str = "") -> str:
    client = Client()
    client.force_login(user)
    answer = client.get(f"/admin/{query}")
    assert answer.status_code == 200
    return " ".join(answer.content.decode().split())


def looked_after(user: User, account: Account, at: timedelta = timedelta()) -> None:
    AuditEvent.objects.create(
        key=f"{account.pk}:{at}", at=clock.now() - at, operator=user, action="write note", account=account
    )


def test_support_finds_search_its_customers_and_its_limit(support: User, customer: Account) -> None:
    looked_after(support, customer)
    other = Account.objects.create(name="Somebody else's")
    looked_after(User.objects.create_user("colleague@example.com"), other)

    page = front(support)

    assert 'role="search"' in page
    assert reverse("admin:accounts_account_change", args=[customer.pk]) in page
    assert "Somebody else&#x27;s" not in page
    assert "You may give 100 credits more today by yourself" in page
    assert "MRR" not in page


def test_support_sees_what_became_of_what_it_asked_for(support: User, operator: User, customer: Account) -> None:
    Approval.objects.create(
        key="k", operation="grant", account=customer, form={}, reason="r", asked_by=support, asked_at=clock.now(),
        state=Approval.State.REFUSED, decided_by=operator, decided_at=clock.now(),
    )  # fmt: skip

    assert 'Refused</a> <span class="soft">operator@example.com' in front(support)
    assert "What you asked for" not in front(operator)


def test_failed_payment_waits_on_the_front_page(shop: Shop, customer: Account, support: User) -> None:
    shop.pay(shop.checkout(customer, item="pro"))
    shop.deliver()
    assert "Payment failed" not in front(support)
    shop.refuse_card()
    shop.advance(days=32)
    shop.deliver()

    assert "<strong>Payment failed</strong> Ada, Pro" in front(support)


def test_owner_has_no_limit_to_read_about(operator: User) -> None:
    assert "by yourself" not in front(operator)


def test_yesterday_is_a_day_of_its_own(shop: Shop, customer: Account, operator: User) -> None:
    """ "Yesterday's revenue" had no answer in the product: periods were 7, 30, 90 and 365 days."""
    shop.pay(shop.checkout(customer))
    shop.deliver()
    shop.advance(days=1)
    shop.pay(shop.checkout(customer, item="credits-50", key="k2"))
    shop.deliver()
    day = clock.now().date()

    client = Client()
    client.force_login(operator)
    paid = {}
    for name, query in {
        "today": "?days=1",
        "yesterday": f"?from={day - timedelta(days=1)}&to={day - timedelta(days=1)}",
        "both": f"?from={day - timedelta(days=1)}&to={day}",
    }.items():
        lines = list(csv.reader(io.StringIO(b"".join(client.get(f"/admin/report.csv{query}")).decode())))  # type: ignore[arg-type]
        paid[name] = [line[2] for line in lines if line[:2] == ["revenue", "paid"]]
        by_day = [int(line[2]) for line in lines if line[0].startswith("20") and line[1] == "paid"]
        assert sum(by_day) == int(paid[name][0])
    assert paid == {"today": ["1000"], "yesterday": ["500"], "both": ["1500"]}


def test_days_of_money_add_up_to_the_books(shop: Shop, customer: Account) -> None:
    for number in range(3):
        shop.pay(shop.checkout(customer, key=f"k{number}"))
        shop.deliver()
        shop.advance(days=1)
    now = clock.now()
    since = now - timedelta(days=10)

    days = reports.money_by_day(since=since, until=now, zone="Europe/Amsterdam")

    (books,) = reports.revenue(since=since, until=now)
    assert len(days) == 3
    assert (sum(row["paid"] for row in days), sum(row["refunded"] for row in days)) == (books.paid, books.refunded)


@pytest.mark.parametrize("query", ["?from=2026-13-01", "?from=x&to=y", "?from=2027-01-01&to=2026-01-01", "?days=abc"])
def test_days_that_make_no_sense_are_the_last_thirty(operator: User, query: str) -> None:
    assert 'class="pill on" href="?days=30"' in front(operator, query)
