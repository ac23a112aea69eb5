"""A day's cap of paid credits, and the two signals of a balance that runs low and out."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from accounts.models import Account
from api.problems import status_of
from credits import allowances, ledger, limits, selectors, signals
from credits.api import refusals  # noqa: F401 - registers the statuses
from credits.errors import DailyCapReachedError
from credits.models import Allowance, Source, Wallet
from credits.tests.test_concurrency import at_once
from credits.tests.test_spending import give


def spend(account: Account, amount: int, now: datetime, key: str) -> ledger.SpendResult:
    return ledger.spend(account_id=account.pk, amount=amount, idempotency_key=key, now=now)


def test_daily_cap_limits_paid_credits_spent_in_a_day(ada_account: Account, now: datetime) -> None:
    give(ada_account, 500, now)
    limits.set_daily_cap(account_id=ada_account.pk, cap=100)
    spend(ada_account, 99, now, "a")

    with pytest.raises(DailyCapReachedError) as caught:
        spend(ada_account, 2, now, "b")

    assert status_of(type(caught.value)) == 429
    assert caught.value.extra["resets_at"] == "2026-11-21T23:00:00Z"
    assert caught.value.retry_after_s == 12 * 3600
    assert "no lack of credits" in str(caught.value)
    spend(ada_account, 1, now, "c")
    spend(ada_account, 100, now + timedelta(hours=12), "d")  # the next day
    assert selectors.balance(account_id=ada_account.pk, now=now + timedelta(hours=12)).available == 300


def test_free_credits_do_not_count(ada_account: Account, now: datetime) -> None:
    give(ada_account, 50, now, Source.FREE)
    give(ada_account, 50, now, Source.BONUS)
    give(ada_account, 50, now)
    limits.set_daily_cap(account_id=ada_account.pk, cap=10)

    spend(ada_account, 105, now, "a")
    with pytest.raises(DailyCapReachedError):
        spend(ada_account, 6, now, "b")

    cap = selectors.balance(account_id=ada_account.pk, now=now).daily_cap
    assert cap is not None
    assert (cap.limit, cap.used) == (10, 5)


def test_an_account_may_have_its_own_cap(ada_account: Account, now: datetime) -> None:
    give(ada_account, 500, now)
    limits.set_daily_cap(account_id=ada_account.pk, cap=10)
    limits.set_overrides(account_id=ada_account.pk, daily_cap=300, low_threshold=None)

    spend(ada_account, 300, now, "a")


def test_what_comes_back_today_can_be_spent_today(ada_account: Account, now: datetime) -> None:
    give(ada_account, 500, now)
    limits.set_daily_cap(account_id=ada_account.pk, cap=10)
    on_hold = ledger.hold(
        account_id=ada_account.pk, amount=10, idempotency_key="h", expires_at=now + timedelta(hours=1), now=now
    )
    with pytest.raises(DailyCapReachedError):
        spend(ada_account, 1, now, "a")

    ledger.capture(account_id=ada_account.pk, hold_id=on_hold.hold_id, cost=4, now=now)
    spent = spend(ada_account, 6, now, "b")
    ledger.reverse(
        account_id=ada_account.pk, transaction_id=spent.transaction_id, idempotency_key="r", reason="", now=now
    )

    assert spend(ada_account, 6, now, "c").amount == -6
    with pytest.raises(DailyCapReachedError):
        spend(ada_account, 1, now, "d")


def test_what_comes_back_of_yesterday_makes_no_room_today(ada_account: Account, now: datetime) -> None:
    give(ada_account, 500, now)
    limits.set_daily_cap(account_id=ada_account.pk, cap=10)
    on_hold = ledger.hold(
        account_id=ada_account.pk, amount=6, idempotency_key="h", expires_at=now + timedelta(hours=23), now=now
    )
    spent = spend(ada_account, 4, now, "yesterday")
    today = now + timedelta(hours=13)
    spend(ada_account, 10, today, "today")

    ledger.capture(account_id=ada_account.pk, hold_id=on_hold.hold_id, cost=1, now=today)
    ledger.reverse(
        account_id=ada_account.pk, transaction_id=spent.transaction_id, idempotency_key="r", reason="", now=today
    )

    with pytest.raises(DailyCapReachedError):
        spend(ada_account, 1, today, "beyond")


def test_the_day_is_the_account_s_own_through_dst_and_travel(ada_account: Account) -> None:
    now = datetime(2027, 3, 27, 12, tzinfo=UTC)  # the night after has 23 hours
    give(ada_account, 5000, now)
    limits.set_daily_cap(account_id=ada_account.pk, cap=1)
    zones = ["Europe/Amsterdam", "Pacific/Kiritimati", "Pacific/Pago_Pago"]
    spent_at = []
    for hour in range(24 * 12):
        moment = now + timedelta(hours=hour)
        if hour >= 96 and hour % 7 == 0:
            Account.objects.filter(pk=ada_account.pk).update(time_zone=zones[hour // 7 % 3])
        try:
            spend(ada_account, 1, moment, f"k{hour}")
            spent_at.append(moment)
        except DailyCapReachedError:
            pass

    at_home = [moment.isoformat()[5:16] for moment in spent_at[:4]]
    assert at_home == ["03-27T12:00", "03-27T23:00", "03-28T22:00", "03-29T22:00"]
    assert 10 <= len(spent_at) <= 24 * 12 / 20 + 1  # travelling: a new day every 20 hours at the most


def test_a_date_that_goes_on_elsewhere_is_no_new_day(ada_account: Account, now: datetime) -> None:
    give(ada_account, 500, now)
    limits.set_daily_cap(account_id=ada_account.pk, cap=10)
    spend(ada_account, 10, now, "a")
    Account.objects.filter(pk=ada_account.pk).update(time_zone="America/New_York")

    with pytest.raises(DailyCapReachedError):  # midnight in Amsterdam is six in the evening there
        spend(ada_account, 1, datetime(2026, 11, 21, 23, 30, tzinfo=UTC), "b")

    assert spend(ada_account, 1, datetime(2026, 11, 22, 5, tzinfo=UTC), "c").amount == -1


@pytest.mark.django_db(transaction=True)
def test_daily_cap_holds_under_concurrency_at_midnight(ada_account: Account) -> None:
    before = datetime(2026, 11, 21, 22, 59, 59, tzinfo=UTC)
    after = before + timedelta(seconds=2)
    give(ada_account, 500, before)
    limits.set_daily_cap(account_id=ada_account.pk, cap=15)

    answers = at_once(
        [
            lambda n=n: ledger.spend(
                account_id=ada_account.pk, amount=1, idempotency_key=f"k{n}", now=before if n % 2 else after
            )
            for n in range(50)
        ]
    )

    spent = [answer for answer in answers if isinstance(answer, ledger.SpendResult)]
    assert sum(answer.created_at == after for answer in spent) <= 15
    assert len(spent) <= 30  # two days' worth
    assert Wallet.objects.get().cap_used <= 15


class TestLowBalance:
    @pytest.fixture
    def heard(self, db: None) -> Iterator[list[tuple[str, int]]]:
        reported: list[tuple[str, int]] = []

        def low(**event: Any) -> None:
            reported.append(("low", event["credits"]))

        def out(**event: Any) -> None:
            reported.append(("out", event["credits"]))

        signals.balance_low.connect(low)
        signals.balance_exhausted.connect(out)
        yield reported
        signals.balance_low.disconnect(low)
        signals.balance_exhausted.disconnect(out)

    @pytest.mark.django_db(transaction=True)
    def test_each_crossing_is_told_once(
        self, ada_account: Account, now: datetime, heard: list[tuple[str, int]]
    ) -> None:
        give(ada_account, 10, now, Source.BONUS)
        for number in range(10):
            spend(ada_account, 1, now, f"k{number}")

        assert heard == [("low", 5), ("out", 0)]

        give(ada_account, 10, now, Source.BONUS)
        spend(ada_account, 10, now, "all")
        assert heard[2:] == [("low", 0), ("out", 0)]

    @pytest.mark.django_db(transaction=True)
    def test_fifty_at_once_are_one_crossing(
        self, ada_account: Account, now: datetime, heard: list[tuple[str, int]]
    ) -> None:
        give(ada_account, 52, now, Source.BONUS)

        at_once([lambda n=n: spend(ada_account, 1, now, f"k{n}") for n in range(50)])

        assert heard == [("low", 5)]

    @pytest.mark.django_db(transaction=True)
    def test_low_threshold_is_a_fifth_of_a_month_unless_overridden(
        self, ada_account: Account, now: datetime, heard: list[tuple[str, int]]
    ) -> None:
        allowances.start(
            account=ada_account,
            source=Source.PLAN,
            source_key="p",
            amount=101,
            period=Allowance.Period.MONTH,
            anchor=now,
            now=now,
        )
        assert Wallet.objects.get(account=ada_account).low_at == 21
        spend(ada_account, 79, now, "a")
        assert heard == []
        spend(ada_account, 1, now, "b")
        assert heard == [("low", 21)]

        limits.set_overrides(account_id=ada_account.pk, daily_cap=None, low_threshold=2)
        spend(ada_account, 19, now, "c")
        assert heard == [("low", 21), ("low", 2)]

    @pytest.mark.django_db(transaction=True)
    def test_a_pack_is_low_at_a_fifth_of_it_also_beside_a_small_allowance(
        self, ada_account: Account, now: datetime, heard: list[tuple[str, int]]
    ) -> None:
        allowances.start(
            account=ada_account,
            source=Source.FREE,
            source_key="free",
            amount=5,
            period=Allowance.Period.MONTH,
            anchor=now,
            now=now,
        )
        give(ada_account, 70, now)

        spend(ada_account, 60, now, "a")
        assert heard == []
        spend(ada_account, 1, now, "b")
        assert heard == [("low", 14)]
        # The next month's five do not make fourteen plenty, while there is something left of the pack.
        later = now + timedelta(days=31)
        assert selectors.balance(account_id=ada_account.pk, now=later).is_low is False  # 19 are there
        spend(ada_account, 5, later, "c")
        assert selectors.balance(account_id=ada_account.pk, now=later).is_low
        spend(ada_account, 12, later, "d")
        assert (selectors.balance(account_id=ada_account.pk, now=later).is_low, heard[-1]) == (True, ("low", 14))

    @pytest.mark.django_db(transaction=True)
    def test_a_day_that_ends_and_begins_is_no_crossing(
        self, ada_account: Account, now: datetime, heard: list[tuple[str, int]]
    ) -> None:
        allowances.start(
            account=ada_account,
            source=Source.FREE,
            source_key="p",
            amount=9,
            period=Allowance.Period.DAY,
            anchor=now,
            now=now,
        )

        ledger.settle(account_id=ada_account.pk, now=now + timedelta(days=1))

        assert heard == []

    @pytest.mark.django_db(transaction=True)
    def test_what_is_set_aside_is_not_gone_yet(
        self, ada_account: Account, now: datetime, heard: list[tuple[str, int]]
    ) -> None:
        give(ada_account, 10, now, Source.BONUS)
        on_hold = ledger.hold(
            account_id=ada_account.pk, amount=10, idempotency_key="h", expires_at=now + timedelta(hours=1), now=now
        )
        assert heard == []

        ledger.capture(account_id=ada_account.pk, hold_id=on_hold.hold_id, cost=7, now=now)

        assert [name for name, _ in heard] == ["low"]

    @pytest.mark.django_db(transaction=True)
    def test_what_time_or_an_operator_takes_is_told_too(
        self, ada_account: Account, now: datetime, heard: list[tuple[str, int]]
    ) -> None:
        give(ada_account, 7, now, Source.BONUS, expires_at=now + timedelta(hours=1))
        give(ada_account, 1, now, Source.BONUS)
        ledger.settle(account_id=ada_account.pk, now=now + timedelta(hours=1))
        assert heard == [("low", 1)]

        ledger.adjust(
            account_id=ada_account.pk,
            idempotency_key="f",
            reason="Closing",
            actor="user:1",
            now=now + timedelta(hours=2),
            take=1,
        )
        assert heard == [("low", 1), ("out", 0)]

    @pytest.mark.django_db(transaction=True)
    def test_low_signal_is_sent_when_reaching_the_threshold_only(
        self, ada_account: Account, now: datetime, heard: list[tuple[str, int]]
    ) -> None:
        for hours, amount in ((1, 4), (2, 1)):
            give(ada_account, amount, now, Source.BONUS, expires_at=now + timedelta(hours=hours))
        give(ada_account, 4, now, Source.BONUS)

        ledger.settle(account_id=ada_account.pk, now=now + timedelta(hours=1))
        assert heard == [("low", 5)]
        ledger.settle(account_id=ada_account.pk, now=now + timedelta(hours=2))
        assert heard == [("low", 5)]
