"""Spending limits of keys and members: what counts, what is refused, and who is warned."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from accounts.models import Account
from api.problems import status_of
from credits import audit, ledger, signals, spending_limits
from credits.api import refusals  # noqa: F401 - registers the statuses
from credits.errors import InvalidAmountError, SpendingLimitReachedError
from credits.models import SpendingLimit, Wallet
from credits.tests.test_concurrency import at_once
from credits.tests.test_spending import give

KEY, OTHER = "key_a", "key_b"


@pytest.fixture
def warnings() -> Iterator[list[spending_limits.LimitUse]]:
    result: list[spending_limits.LimitUse] = []

    def hear(use: spending_limits.LimitUse, **_kwargs: Any) -> None:
        result.append(use)

    signals.spending_limit_crossed.connect(hear)
    yield result
    signals.spending_limit_crossed.disconnect(hear)


@pytest.fixture
def rich(ada_account: Account, now: datetime) -> Account:
    give(ada_account, 10_000, now)
    return ada_account


def spend(account: Account, amount: int, now: datetime, key: str, actor: str = KEY) -> ledger.SpendResult:
    return ledger.spend(account_id=account.pk, amount=amount, idempotency_key=key, actor=actor, now=now)


def hold(account: Account, amount: int, now: datetime, key: str = "h", actor: str = KEY) -> ledger.HoldResult:
    ends = now + timedelta(hours=20)
    return ledger.hold(account_id=account.pk, amount=amount, idempotency_key=key, actor=actor, expires_at=ends, now=now)


def limit(account: Account, now: datetime, *, day: int | None = None, month: int | None = None, **how: Any) -> None:
    how = {"subject": KEY, "actors": [KEY], **how}
    spending_limits.set_limit(account_id=account.pk, per_day=day, per_month=month, now=now, **how)


def used(account: Account, now: datetime, subject: str = KEY) -> tuple[int, int]:
    row = spending_limits.of_account(account.pk, now=now)[subject]
    return row.day_used, row.month_used


def test_hard_limit_refuses_what_goes_beyond_it(rich: Account, now: datetime) -> None:
    limit(rich, now, day=100)
    spend(rich, 99, now, "a")

    with pytest.raises(SpendingLimitReachedError) as caught:
        spend(rich, 2, now, "b")

    assert status_of(type(caught.value)) == 429
    assert caught.value.extra == {
        "period": "day", "limit": 100, "used": 99, "resets_at": "2026-11-21T23:00:00Z", "retryable": True,
    }  # fmt: skip
    assert caught.value.retry_after_s == 12 * 3600
    spend(rich, 1, now, "c")
    assert Wallet.objects.get(account=rich).balance == 9_900
    assert used(rich, now) == (100, 100)


def test_other_keys_are_not_limited(rich: Account, now: datetime) -> None:
    limit(rich, now, day=10)

    spend(rich, 500, now, "a", actor=OTHER)
    spend(rich, 500, now, "b", actor="")

    assert used(rich, now) == (0, 0)


def test_day_and_month_begin_anew_at_the_accounts_midnight(rich: Account, now: datetime) -> None:
    limit(rich, now, day=10, month=15)
    spend(rich, 10, now, "a")

    spend(rich, 5, now + timedelta(hours=12), "b")
    with pytest.raises(SpendingLimitReachedError) as caught:
        spend(rich, 1, now + timedelta(days=2), "c")
    assert (caught.value.extra["period"], caught.value.extra["resets_at"]) == ("month", "2026-11-30T23:00:00Z")

    spend(rich, 10, now + timedelta(days=9, hours=13), "d")  # 1 December, 01:00
    assert used(rich, now + timedelta(days=9, hours=13)) == (10, 10)


def test_repeated_key_is_answered_beyond_the_limit(rich: Account, now: datetime) -> None:
    limit(rich, now, day=10)
    first = spend(rich, 10, now, "a")

    again = spend(rich, 10, now, "a")

    assert (again.transaction_id, again.is_replayed) == (first.transaction_id, True)
    assert used(rich, now) == (10, 10)


def test_spends_before_the_limit_count(rich: Account, now: datetime) -> None:
    long_ago = now - timedelta(days=40)
    give(rich, 50, long_ago)
    spend(rich, 50, long_ago, "old")
    spend(rich, 20, now - timedelta(days=2), "this month")
    back = spend(rich, 7, now, "back")
    ledger.reverse(account_id=rich.pk, transaction_id=back.transaction_id, idempotency_key="r", reason="", now=now)
    spend(rich, 3, now, "today")
    hold(rich, 5, now)

    limit(rich, now, day=100, month=100)

    assert used(rich, now) == (8, 28)


def test_limit_of_a_member_counts_their_keys_together(rich: Account, now: datetime) -> None:
    limit(rich, now, subject="user:1", actors=["user:1", KEY], day=10)
    spend(rich, 6, now, "a", actor="user:1")

    with pytest.raises(SpendingLimitReachedError):
        spend(rich, 5, now, "b", actor=KEY)

    spending_limits.add_actor(account_id=rich.pk, subjects=["user:1"], actor=OTHER)
    with pytest.raises(SpendingLimitReachedError):
        spend(rich, 5, now, "c", actor=OTHER)


def test_holds_count_when_they_are_made(rich: Account, now: datetime) -> None:
    limit(rich, now, day=100)
    first = hold(rich, 80, now)

    with pytest.raises(SpendingLimitReachedError):
        hold(rich, 21, now, "h2")
    ledger.capture(account_id=rich.pk, hold_id=first.hold_id, cost=30, actor="another", now=now)
    assert used(rich, now) == (30, 30)

    second = hold(rich, 70, now, "h3")
    ledger.release(account_id=rich.pk, hold_id=second.hold_id, now=now)
    assert used(rich, now) == (30, 30)
    hold(rich, 70, now, "h4")
    later = now + timedelta(hours=21)
    ledger.spend(account_id=rich.pk, amount=1, idempotency_key="x", now=later)  # what is due comes first: it lapses
    assert used(rich, later) == (0, 30)
    assert list(audit.all_disagreements(account_id=rich.pk)) == []


def test_capture_takes_no_more_than_the_limit_allows(rich: Account, now: datetime) -> None:
    limit(rich, now, day=100)
    held = hold(rich, 90, now)

    beyond = ledger.capture(account_id=rich.pk, hold_id=held.hold_id, cost=110, actor=OTHER, now=now)

    assert (beyond.captured, beyond.missing) == (90, 20)
    second = hold(rich, 5, now, "h2")
    within = ledger.capture(account_id=rich.pk, hold_id=second.hold_id, cost=10, actor=OTHER, now=now)
    assert (within.captured, within.missing) == (10, 0)
    assert used(rich, now) == (100, 100)


def test_capture_after_midnight_finds_a_new_day(rich: Account, now: datetime) -> None:
    limit(rich, now, day=100)
    held = hold(rich, 90, now)
    later = now + timedelta(hours=13)

    captured = ledger.capture(account_id=rich.pk, hold_id=held.hold_id, cost=110, actor=OTHER, now=later)

    assert captured.captured == 110
    assert used(rich, later) == (20, 110)


def test_what_is_given_back_counts_no_longer(rich: Account, now: datetime) -> None:
    limit(rich, now, day=100, month=150)
    spent = spend(rich, 100, now, "a")

    ledger.reverse(
        account_id=rich.pk, transaction_id=spent.transaction_id, idempotency_key="r", reason="", amount=40, now=now
    )
    assert used(rich, now) == (60, 60)

    tomorrow = now + timedelta(hours=13)
    spend(rich, 10, tomorrow, "b")
    ledger.reverse(
        account_id=rich.pk, transaction_id=spent.transaction_id, idempotency_key="r2", reason="", now=tomorrow
    )
    assert used(rich, tomorrow) == (10, 10)


def test_soft_limit_only_warns(
    rich: Account,
    now: datetime,
    warnings: list[spending_limits.LimitUse],
    django_capture_on_commit_callbacks: Any,
) -> None:
    limit(rich, now, day=100, is_hard=False)

    with django_capture_on_commit_callbacks(execute=True):
        for number, amount in enumerate((49, 1, 45, 40)):
            spend(rich, amount, now, str(number))

    assert [(use.period, use.percent, use.used) for use in warnings] == [
        ("day", 50, 135),  # (the count is as it stands once all of it is committed)
        ("day", 80, 135),
        ("day", 100, 135),
    ]


def test_hold_warns_as_a_spend_does(
    rich: Account,
    now: datetime,
    warnings: list[spending_limits.LimitUse],
    django_capture_on_commit_callbacks: Any,
) -> None:
    limit(rich, now, day=100, month=1_000)

    with django_capture_on_commit_callbacks(execute=True):
        hold(rich, 100, now)

    assert [(use.period, use.percent) for use in warnings] == [("day", 100)]


def test_a_limit_is_taken_away(rich: Account, now: datetime) -> None:
    limit(rich, now, day=1)
    limit(rich, now)

    spend(rich, 500, now, "a")

    assert not SpendingLimit.objects.exists()
    assert not Wallet.objects.get(account=rich).has_spending_limits
    with pytest.raises(InvalidAmountError):
        limit(rich, now, day=0)


def test_check_says_what_a_spend_would_be_answered(rich: Account, now: datetime) -> None:
    limit(rich, now, day=10)
    spend(rich, 8, now, "a")

    answers = [ledger.check(account_id=rich.pk, amount=amount, actor=KEY, now=now).refusal for amount in (2, 3)]

    assert answers == [None, "spending_limit_reached"]
    assert ledger.check(account_id=rich.pk, amount=3, actor=OTHER, now=now).refusal is None
    tomorrow = now + timedelta(days=1)
    assert ledger.check(account_id=rich.pk, amount=10, actor=KEY, now=tomorrow).refusal is None


@pytest.mark.django_db(transaction=True)
def test_concurrent_spends_never_pass_a_hard_limit(rich: Account, now: datetime) -> None:
    limit(rich, now, day=25)

    def attempt(number: int) -> bool:
        try:
            spend(rich, 3, now, str(number))
        except SpendingLimitReachedError:
            return False
        return True

    answers = at_once([lambda number=number: attempt(number) for number in range(16)])

    assert sum(answers) == 8
    assert used(rich, now) == (24, 24)
    assert Wallet.objects.get(account=rich).balance == 10_000 - 24


def test_clock_read_before_midnight_beats_no_limit(rich: Account, now: datetime) -> None:
    """Requests that waited for the lock, batches, servers whose clocks differ: they count in the day that has begun."""
    limit(rich, now, day=10)
    midnight = now + timedelta(hours=12)
    spend(rich, 10, now, "full")
    spend(rich, 1, midnight + timedelta(milliseconds=5), "new day")

    late = midnight - timedelta(milliseconds=5)
    spend(rich, 9, late, "late")
    with pytest.raises(SpendingLimitReachedError):
        spend(rich, 1, late, "too much")

    assert used(rich, midnight + timedelta(seconds=1)) == (10, 20)


def test_who_captures_another_hold_is_limited_too(rich: Account, now: datetime) -> None:
    limit(rich, now, day=10)
    held = hold(rich, 1, now, actor=OTHER)

    captured = ledger.capture(account_id=rich.pk, hold_id=held.hold_id, cost=5_000, actor=KEY, now=now)

    assert (captured.captured, captured.missing) == (1, 4_999)
    small = hold(rich, 1, now, "h2", actor=OTHER)
    ledger.capture(account_id=rich.pk, hold_id=small.hold_id, cost=4, actor=KEY, now=now)
    assert used(rich, now) == (3, 3)


def test_setting_it_again_counts_the_same(rich: Account, now: datetime) -> None:
    limit(rich, now, day=100)
    held = hold(rich, 60, now)
    today = now + timedelta(hours=13)
    ledger.capture(account_id=rich.pk, hold_id=held.hold_id, cost=70, actor=KEY, now=today)
    spend(rich, 1, today, "s")
    assert used(rich, today) == (11, 71)

    limit(rich, today, day=100)

    assert used(rich, today) == (11, 71)


def test_extra_of_a_capture_comes_back_where_it_was_counted(rich: Account, now: datetime) -> None:
    limit(rich, now, day=100)
    held = hold(rich, 10, now)
    today = now + timedelta(hours=13)
    captured = ledger.capture(account_id=rich.pk, hold_id=held.hold_id, cost=60, actor=KEY, now=today)
    assert used(rich, today) == (50, 60)

    for amount, left in ((20, (30, 40)), (35, (0, 5)), (5, (0, 0))):
        ledger.reverse(
            account_id=rich.pk, transaction_id=captured.transaction_id, idempotency_key=f"r{amount}", reason="",
            amount=amount, now=today,
        )  # fmt: skip
        assert used(rich, today) == left


def test_travel_begins_no_day_sooner(rich: Account, now: datetime) -> None:
    """Ten a day at home, and ten at each midnight on the way west: a day has at least twenty hours."""
    limit(rich, now, day=10)
    spent = 0
    for hour in range(48):
        moment = now + timedelta(hours=hour)
        zone = ["Europe/Amsterdam", "America/New_York", "Pacific/Honolulu"][hour // 8 % 3]
        Account.objects.filter(pk=rich.pk).update(time_zone=zone)
        try:
            spend(rich, 10, moment, str(hour))
            spent += 10
        except SpendingLimitReachedError:
            pass

    assert spent <= 30
