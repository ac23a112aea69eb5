"""What the balance says can be spent now is what a spend takes, and why it is not more is what a spend answers."""

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts.models import Account
from credits import ledger, limits, selectors
from credits.errors import CreditsError
from credits.models import Grant, Source
from credits.tests.test_corrections import revoke
from credits.tests.test_spending import give, spend


def in_debt(account: Account, now: datetime) -> None:
    """A payment is taken back after it was spent; free credits, which pay no debt, are still there."""
    pack = Grant.objects.get(account=account)
    spend(account, 50, now, "before the dispute")
    revoke(account, pack, 50, now, debt=True)
    give(account, 8, now, Source.FREE)


def frozen(account: Account, now: datetime) -> None:
    limits.freeze(account_id=account.pk, now=now)


def closed(account: Account, now: datetime) -> None:
    limits.close(account_id=account.pk, now=now)


def capped(account: Account, now: datetime) -> None:
    limits.set_daily_cap(account_id=account.pk, cap=0)


def held(account: Account, now: datetime) -> None:
    ledger.hold(account_id=account.pk, amount=40, idempotency_key="h", expires_at=now + timedelta(hours=1), now=now)


def out_of_credits(account: Account, now: datetime) -> None:
    spend(account, 50, now, "all")


STATES: dict[Callable[[Account, datetime], None], tuple[int, str | None]] = {
    in_debt: (0, "account_in_debt"),
    frozen: (0, "account_frozen"),
    closed: (0, "account_closed"),
    capped: (0, "daily_cap_reached"),
    held: (10, None),
    out_of_credits: (0, None),
}


def most(account: Account, now: datetime) -> int:
    """How much a spend takes at most, by trying; nothing is kept."""
    for amount in range(200, 0, -1):
        try:
            with transaction.atomic():
                spend(account, amount, now, f"try-{amount}")
                transaction.set_rollback(True)
        except CreditsError:
            continue
        return amount
    return 0


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__)
def test_spendable_and_blocked_say_what_a_spend_says(
    state: Callable[[Account, datetime], None], ada_account: Account, now: datetime
) -> None:
    give(ada_account, 50, now)
    state(ada_account, now)

    balance = selectors.balance(account_id=ada_account.pk, now=now)

    spendable, code = STATES[state]
    assert (balance.spendable, balance.blocked and balance.blocked.code) == (spendable, code)
    assert most(ada_account, now) == spendable
    if code:
        with pytest.raises(CreditsError) as refused:
            spend(ada_account, 1, now, "one")
        assert refused.value.code == code


def test_cap_blocks_until_the_day_is_over(ada_account: Account, now: datetime) -> None:
    give(ada_account, 50, now)
    limits.set_daily_cap(account_id=ada_account.pk, cap=10)
    spend(ada_account, 4, now, "a")

    part = selectors.balance(account_id=ada_account.pk, now=now)
    spend(ada_account, 6, now, "b")
    none = selectors.balance(account_id=ada_account.pk, now=now)
    next_day = selectors.balance(account_id=ada_account.pk, now=now + timedelta(hours=12))

    assert (part.available, part.spendable, part.blocked) == (46, 6, None)
    assert none.blocked is not None
    assert (none.available, none.spendable, none.blocked.code) == (40, 0, "daily_cap_reached")
    assert none.blocked.until == now + timedelta(hours=12)  # midnight in Amsterdam
    assert (next_day.spendable, next_day.blocked) == (10, None)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lots=st.lists(
        st.tuples(st.integers(1, 30), st.sampled_from([Source.FREE, Source.BONUS, Source.PURCHASE, Source.PLAN])),
        max_size=5,
    ),
    cap=st.none() | st.integers(0, 40),
    spent=st.integers(0, 20),
)
def test_most_that_a_spend_takes_is_what_is_spendable(
    ada_account: Account, now: datetime, lots: list[tuple[int, Source]], cap: int | None, spent: int
) -> None:
    with transaction.atomic():
        for amount, source in lots:
            give(ada_account, amount, now, source)
        limits.set_daily_cap(account_id=ada_account.pk, cap=cap)
        try:
            with transaction.atomic():
                spend(ada_account, spent or 1, now, "before")
        except CreditsError:
            pass

        assert selectors.balance(account_id=ada_account.pk, now=now).spendable == most(ada_account, now)
        transaction.set_rollback(True)
