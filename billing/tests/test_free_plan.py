"""Free credits once for each mailbox."""

from datetime import timedelta

import pytest

from accounts.models import Account, User
from accounts.opening import personal_account
from billing.customers import closing
from billing.tests.conftest import Shop, customer, shop
from common import clock
from credits import selectors

__all__ = ["customer", "shop"]


def credits_of(email: str) -> int:
    account = personal_account(user=User.objects.create_user(email), now=clock.now())
    return selectors.balance(account_id=account.pk, now=clock.now()).available


@pytest.mark.parametrize("email", ["ada+2@example.com", "ADA+free@example.com"])
def test_a_second_account_of_a_mailbox_has_none(shop: Shop, customer: Account, email: str) -> None:
    assert credits_of(email) == 0
    assert credits_of("somebody@example.com") == 8


def test_closing_and_coming_back_gives_none_for_a_while(shop: Shop, customer: Account, ada: User) -> None:
    closing.close_account(account=customer, user=ada, now=clock.now())
    assert credits_of("ada@example.com") == 0
    User.objects.filter(email="ada@example.com").update(email="x@example.com")
    Account.objects.filter(closed_at=None).update(mailbox="")

    shop.advance(days=91)

    assert credits_of("ada@example.com") == 8
    assert clock.now() - timedelta(days=91) > Account.objects.get(pk=customer.pk).created_at - timedelta(days=1)
