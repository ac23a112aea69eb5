"""The customers' pages, beyond the flow that a browser drives."""

from datetime import datetime

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import Account, User
from accounts.opening import personal_account
from billing.models import Subscription
from billing.tests.conftest import Shop, customer, shop
from credits import ledger
from credits.models import Source, Wallet

__all__ = ["customer", "shop"]


@pytest.mark.parametrize("page", ["dashboard", "credits", "billing", "keys", "transactions"])
def test_a_page_of_one_s_own_wants_a_login(client: Client, db: None, page: str) -> None:
    answer = client.get(reverse(page))

    assert (answer.status_code, reverse("account_login") in answer["Location"]) == (302, True)


@pytest.mark.parametrize("page", ["dashboard", "credits", "billing", "keys", "transactions"])
def test_a_new_customer_s_pages_open(client: Client, shop: Shop, ada: User, page: str) -> None:
    client.force_login(ada)

    assert client.get(reverse(page)).status_code == 200


def test_history_is_paged_to_its_very_beginning(client: Client, ada: User, present: datetime) -> None:
    client.force_login(ada)
    account = personal_account(user=ada, now=present)
    ledger.grant(account_id=account.pk, amount=500, source=Source.BONUS, source_key="t", now=present)
    for number in range(119):
        ledger.spend(
            account_id=account.pk, amount=1, idempotency_key=f"k{number}", description=f"Job {number}.", now=present
        )

    address, seen = reverse("transactions"), []
    while address:
        page = client.get(address).content.decode()
        seen.append(page.count("<tr>") - 1)
        _, result, rest = page.partition('href="?before=')
        address = reverse("transactions") + "?before=" + rest.partition('"')[0] if result else ""

    assert seen == [50, 50, 20]
    assert client.get(reverse("transactions"), {"before": "nonsense"}).status_code == 404


def test_a_stranger_s_checkout_is_not_there(client: Client, shop: Shop, customer: Account) -> None:
    order = shop.checkout(customer)
    client.force_login(User.objects.create_user("eve@example.com"))

    assert client.get(reverse("checkout", args=[order.public_id])).status_code == 404


def test_a_failed_payment_is_told_with_a_way_to_mend_it(
    client: Client, shop: Shop, ada: User, customer: Account
) -> None:
    shop.pay(shop.checkout(customer, item="pro"))
    shop.deliver()
    client.force_login(ada)
    for page in ("dashboard", "billing"):
        assert b"Fix the payment" not in client.get(reverse(page)).content

    Subscription.objects.update(status="past_due")

    for page in ("dashboard", "billing"):
        assert b"Fix the payment" in client.get(reverse(page)).content


def test_what_is_owed_and_what_is_set_aside_are_told(client: Client, ada: User, present: datetime) -> None:
    client.force_login(ada)
    account = personal_account(user=ada, now=present)
    Wallet.objects.filter(account=account).update(debt=5, held=3)
    Wallet.objects.get_or_create(account=account, defaults={"debt": 5, "held": 3})

    page = client.get(reverse("dashboard")).content.decode()

    assert "5 credits are owed" in page
    assert "3 more are set aside" in page
