"""Why is my balance 7? The answer adds up, now and at any moment of the past."""

from datetime import datetime, timedelta

import pytest

from accounts.models import Account
from credits import allowances, ledger
from credits.explanations import explain_balance
from credits.models import Allowance, Source
from credits.tests.test_spending import give

HOUR = timedelta(hours=1)


@pytest.fixture
def story(ada_account: Account, now: datetime) -> Account:
    """Hour 0: 5 bonus (until 6) and 20 bought. 1: 8 for images. 2: 4 set aside. 3: 3 of them used. 4: 4 given back."""
    account_id = ada_account.pk
    give(ada_account, 5, now, Source.BONUS, expires_at=now + 6 * HOUR)
    give(ada_account, 20, now)
    spent = ledger.spend(
        account_id=account_id, amount=8, idempotency_key="a", feature="image", quantity=2, now=now + HOUR
    )
    on_hold = ledger.hold(
        account_id=account_id,
        amount=4,
        idempotency_key="h",
        feature="chat",
        quantity=1,
        expires_at=now + 5 * HOUR,
        now=now + 2 * HOUR,
    )
    ledger.capture(account_id=account_id, hold_id=on_hold.hold_id, cost=3, now=now + 3 * HOUR)
    ledger.reverse(
        account_id=account_id,
        transaction_id=spent.transaction_id,
        amount=4,
        idempotency_key="r",
        reason="Blurred",
        now=now + 4 * HOUR,
    )
    return ada_account


def test_each_lot_says_what_it_gave_and_to_what(story: Account, now: datetime) -> None:
    explained = explain_balance(account_id=story.pk, now=now + 5 * HOUR)

    assert (explained.available, explained.held, explained.posted, explained.debt) == (18, 0, 18, 0)
    bonus, bought = explained.lots
    assert (bonus.granted, bonus.spent, bonus.returned, bonus.remaining) == (5, 5, 1, 1)
    assert (bought.granted, bought.spent, bought.returned, bought.remaining) == (20, 6, 3, 17)
    assert [(use.kind, use.feature, use.credits) for use in bought.uses] == [
        ("grant", "", 20),
        ("spend", "image", -3),
        ("spend", "chat", -3),
        ("reverse", "image", 3),
    ]


@pytest.mark.parametrize(
    ("hour", "expected"),
    [(-1, (0, 0)), (0, (25, 0)), (1, (17, 0)), (2, (13, 4)), (3, (14, 0)), (4, (18, 0)), (5, (18, 0)), (6, (17, 0))],
)
def test_the_past_is_told_as_it_was(story: Account, now: datetime, hour: int, expected: tuple[int, int]) -> None:
    explained = explain_balance(account_id=story.pk, at=now + hour * HOUR, now=now + 30 * HOUR)

    assert (explained.available, explained.held) == expected


def test_what_is_over_is_told_for_a_while(story: Account, now: datetime) -> None:
    explained = explain_balance(account_id=story.pk, now=now + 7 * HOUR)

    bonus = explained.lots[0]
    assert (bonus.expired, bonus.remaining) == (1, 0)
    later = explain_balance(account_id=story.pk, now=now + timedelta(days=40))
    assert [lot.grant.source for lot in later.lots] == ["purchase"]
    assert later.available == explained.available == 17


def test_refill_posted_late_counts_from_its_due_date(ada_account: Account, now: datetime) -> None:
    allowances.start(
        account=ada_account,
        source=Source.PLAN,
        source_key="p",
        amount=10,
        period=Allowance.Period.MONTH,
        anchor=now,
        zone="UTC",
        now=now,
    )
    ledger.spend(account_id=ada_account.pk, amount=4, idempotency_key="k", now=now)
    late = now + timedelta(days=90)  # nobody has looked for three months

    def at(days: int) -> int:
        return explain_balance(account_id=ada_account.pk, at=now + timedelta(days=days), now=late).available

    assert [at(0), at(29), at(31), at(89)] == [6, 6, 10, 10]


def test_debt_is_told(ada_account: Account, now: datetime) -> None:
    pack = give(ada_account, 20, now)
    ledger.spend(account_id=ada_account.pk, amount=15, idempotency_key="k", now=now)
    ledger.revoke(
        account_id=ada_account.pk,
        grant_source_key=pack.source_key,
        amount=20,
        source_key="d",
        create_debt=True,
        now=now + HOUR,
    )

    explained = explain_balance(account_id=ada_account.pk, now=now + 2 * HOUR)

    assert (explained.available, explained.debt, explained.lots[0].taken_back) == (0, 15, 5)
    assert explain_balance(account_id=ada_account.pk, at=now, now=now + 2 * HOUR).debt == 0


def test_lots_of_another_account_are_none_of_it(story: Account, now: datetime) -> None:
    other = Account.objects.create(name="Eve", email="eve@example.com", created_at=now)
    give(other, 50, now)

    assert sum(lot.granted for lot in explain_balance(account_id=story.pk, now=now + HOUR).lots) == 25
