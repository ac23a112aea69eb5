"""Allowances of credits: what they give, when, to whom, and what the jobs do about those who stay away."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connections, transaction

from accounts.models import Account
from credits import allowances, jobs, ledger, selectors, settling
from credits.jobs import JobFailedError
from credits.models import Allowance, Grant, Source, Transaction, Wallet
from credits.money import Money

DAY, MONTH = Allowance.Period.DAY, Allowance.Period.MONTH


def promise(account: Account, amount: int, period: Allowance.Period, now: datetime, **how: Any) -> Allowance:
    how = {"source": Source.FREE, "source_key": f"p:{period}", "anchor": now} | how
    return allowances.start(account=account, amount=amount, period=period, now=now, **how)


def available(account: Account, at: datetime) -> int:
    return selectors.balance(account_id=account.pk, now=at).available


def test_daily_credits_expire_in_the_ledger_and_do_not_pile_up(ada_account: Account, now: datetime) -> None:
    promise(ada_account, 3, DAY, now)
    ledger.spend(account_id=ada_account.pk, amount=1, idempotency_key="k", now=now)

    assert available(ada_account, now + timedelta(days=5)) == 3

    reported = Transaction.objects.order_by("id").values_list("kind", "amount", "due_at")
    midnight = datetime(2026, 11, 21, 23, tzinfo=UTC)
    assert list(reported)[2:] == [("expire", -2, midnight), ("grant", 3, midnight + timedelta(days=4))]


def test_a_late_month_is_posted_with_the_moment_it_was_due(ada_account: Account, now: datetime) -> None:
    promise(ada_account, 5, MONTH, now, zone="UTC")

    assert available(ada_account, now + timedelta(days=65)) == 5

    due = [row.due_at.date().isoformat() for row in Transaction.objects.exclude(due_at=None).order_by("id")]
    assert due == ["2026-12-21", "2026-12-21", "2027-01-21", "2027-01-21"]


def test_a_yearly_plan_gives_twelve_months_and_splits_its_price(ada_account: Account, now: datetime) -> None:
    promise(
        ada_account,
        100,
        MONTH,
        now,
        source=Source.PLAN,
        periods=12,
        paid=Money(20_000, "eur"),
        paid_until=datetime(2027, 11, 21, 11, tzinfo=UTC),
        zone="UTC",
    )
    for month in range(15):
        jobs.refill_monthly_credits(now=now + timedelta(days=31 * month))

    grants = Grant.objects.order_by("effective_at")
    assert (grants.count(), sum(grant.paid_minor for grant in grants)) == (12, 20_000)
    assert grants[11].expires_at == datetime(2027, 11, 21, 11, tzinfo=UTC)
    assert available(ada_account, now + timedelta(days=400)) == 0


@pytest.mark.parametrize(
    ("rollover", "limit", "expected"),
    [("none", None, [100, 100, 100]), ("capped", 30, [100, 130, 130]), ("all", None, [100, 180, 260])],
)
def test_what_is_not_used_rolls_over_as_the_plan_says(
    ada_account: Account, now: datetime, rollover: str, limit: int | None, expected: list[int]
) -> None:
    result = []
    for month in range(3):  # an invoice each month, as a subscription has
        at = now + timedelta(days=30 * month)
        promise(
            ada_account,
            100,
            MONTH,
            at,
            source=Source.PLAN,
            source_key=f"stripe:invoice:{month}",
            series="stripe:subscription:1",
            periods=1,
            paid_until=at + timedelta(days=30),
            zone="UTC",
            rollover=Allowance.Rollover(rollover),
            rollover_limit=limit,
        )
        result.append(available(ada_account, at))
        ledger.spend(account_id=ada_account.pk, amount=20, idempotency_key=f"k{month}", now=at)

    assert result == expected


def test_what_rolled_over_ends_with_the_plan(ada_account: Account, now: datetime) -> None:
    paid_until = now + timedelta(days=30)
    promise(
        ada_account,
        100,
        MONTH,
        now,
        source=Source.PLAN,
        series="s",
        periods=1,
        paid_until=paid_until,
        zone="UTC",
        rollover=Allowance.Rollover.ALL,
    )
    assert available(ada_account, paid_until + timedelta(days=3)) == 100  # the next invoice may be late

    allowances.end(account_id=ada_account.pk, series="s", keep_paid=True, now=now + timedelta(days=10))

    assert available(ada_account, paid_until + timedelta(days=3)) == 0


def test_upgrade_grants_now_and_downgrade_waits_for_next_period(ada_account: Account, now: datetime) -> None:
    promise(ada_account, 100, MONTH, now, source=Source.PLAN, zone="UTC", series="s")

    def change(amount: int, days: int) -> int:
        allowances.change(account_id=ada_account.pk, series="s", amount=amount, now=now + timedelta(days=days))
        return available(ada_account, now + timedelta(days=days))

    assert change(400, 3) == 400
    assert change(100, 4) == 400
    assert change(400, 5) == 400  # up again: this period has had it
    assert change(400, 5) == 400
    assert change(100, 6) == 400
    assert available(ada_account, now + timedelta(days=35)) == 100
    assert change(150, 36) == 150


def test_an_upgrade_that_is_heard_of_twice_at_once_gives_once(ada_account: Account, now: datetime) -> None:
    """Whoever waited for the lock may have looked at the clock before who held it."""
    promise(ada_account, 100, MONTH, now, source=Source.PLAN, zone="UTC", series="s")

    for moment in (now + timedelta(seconds=5), now + timedelta(seconds=4)):
        assert allowances.change(account_id=ada_account.pk, series="s", amount=400, source_key="invoice", now=moment)

    assert available(ada_account, now + timedelta(seconds=6)) == 400
    assert Grant.objects.filter(source_key="invoice").count() == 1


def test_what_an_upgrade_added_goes_with_its_period(ada_account: Account, now: datetime) -> None:
    first = promise(ada_account, 100, MONTH, now, source=Source.PLAN, zone="UTC", series="s")
    allowances.change(account_id=ada_account.pk, series="s", amount=250, now=now + timedelta(days=3))

    ends = set(Grant.objects.values_list("expires_at", flat=True))
    assert ends == {settling.month_end(first, 0)}


def test_a_paused_promise_gives_nothing_and_makes_nothing_up(ada_account: Account, now: datetime) -> None:
    promise(ada_account, 10, MONTH, now, zone="UTC", series="s")
    allowances.pause(account_id=ada_account.pk, series="s", now=now + timedelta(days=5))

    assert available(ada_account, now + timedelta(days=20)) == 10  # what was given stays
    assert available(ada_account, now + timedelta(days=70)) == 0
    allowances.resume(account_id=ada_account.pk, series="s", now=now + timedelta(days=70))
    assert available(ada_account, now + timedelta(days=70)) == 0
    assert available(ada_account, now + timedelta(days=95)) == 10
    assert Grant.objects.count() == 2


def test_an_ended_promise_gives_nothing_more(ada_account: Account, now: datetime) -> None:
    promise(ada_account, 10, MONTH, now, zone="UTC", series="s")

    for _ in range(2):
        allowances.end(account_id=ada_account.pk, series="s", keep_paid=True, now=now + timedelta(days=5))

    assert available(ada_account, now + timedelta(days=20)) == 10
    assert available(ada_account, now + timedelta(days=70)) == 0


def test_travelling_brings_no_second_day(ada_account: Account, now: datetime) -> None:
    promise(ada_account, 3, DAY, now)
    zones = ["Pacific/Kiritimati", "Pacific/Pago_Pago", "Asia/Tokyo", "America/New_York"]
    for hour in range(24 * 20):
        if hour % 10 == 0:
            Account.objects.filter(pk=ada_account.pk).update(time_zone=zones[hour // 10 % 4])
        settling.settle(account_id=ada_account.pk, now=now + timedelta(hours=hour))

    starts = list(Grant.objects.order_by("effective_at").values_list("effective_at", "source_key"))
    assert len({key for _, key in starts}) == len(starts)
    assert all(later[0] - earlier[0] >= timedelta(hours=20) for earlier, later in pairwise(starts))
    assert len(starts) >= 15  # of twenty days, some dates having been left and come back to


def test_the_idle_are_left_alone_until_they_come_back(ada_account: Account, now: datetime) -> None:
    promise(ada_account, 3, DAY, now)
    months_later = now + timedelta(days=60)

    assert jobs.reset_daily_credits(now=now + timedelta(days=2)) == 1
    before = Transaction.objects.count()
    assert [job(now=months_later) for job in jobs.JOBS.values()] == [0, 0, 0, 0]
    assert Transaction.objects.count() == before

    assert available(ada_account, months_later) == 3
    ledger.spend(account_id=ada_account.pk, amount=1, idempotency_key="back", now=months_later)
    assert jobs.reset_daily_credits(now=months_later + timedelta(days=1)) == 1


def test_what_was_paid_for_expires_on_time_also_for_the_idle(ada_account: Account, now: datetime) -> None:
    ledger.grant(
        account_id=ada_account.pk,
        amount=20,
        source=Source.PURCHASE,
        source_key="p",
        paid=Money(500, "eur"),
        expires_at=now + timedelta(days=365),
        now=now,
    )

    assert jobs.expire_credits(now=now + timedelta(days=366)) == 1
    assert Transaction.objects.get(kind="expire").amount == -20


def test_what_a_plan_owes_is_given_on_time_also_to_the_idle(ada_account: Account, now: datetime) -> None:
    promise(ada_account, 10, MONTH, now, source=Source.PLAN, zone="UTC")

    assert jobs.refill_monthly_credits(now=now + timedelta(days=32)) == 1
    assert jobs.refill_monthly_credits(now=now + timedelta(days=62)) == 1


@pytest.mark.django_db(transaction=True)
def test_two_beats_at_once_give_one_day(db: None, now: datetime) -> None:
    accounts = [Account.objects.create(name=str(number), created_at=now) for number in range(40)]
    for account in accounts:
        promise(account, 3, DAY, now)
    tomorrow = now + timedelta(days=1)

    def beat(_: int) -> int:
        try:
            return jobs.reset_daily_credits(now=tomorrow)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as pool:
        result = list(pool.map(beat, range(4)))

    assert sum(result) == 40
    assert Grant.objects.count() == 80
    assert set(Wallet.objects.values_list("balance", flat=True)) == {3}


def test_interrupted_bulk_grant_resumes_where_it_stopped(db: None, now: datetime) -> None:
    for number in range(5):
        promise(Account.objects.create(name=str(number), created_at=now), 3, DAY, now)
    tomorrow = now + timedelta(days=1)

    def stop_after_two(accounts: Any) -> Any:
        for number, account_id in enumerate(accounts):
            if number == 2:
                raise KeyboardInterrupt
            yield account_id

    with pytest.raises(KeyboardInterrupt):
        jobs.reset_daily_credits(now=tomorrow, watch=stop_after_two)

    assert jobs.reset_daily_credits(now=tomorrow) == 3
    assert jobs.reset_daily_credits(now=tomorrow) == 0


def test_one_account_s_trouble_does_not_keep_the_others_waiting(db: None, now: datetime) -> None:
    accounts = [Account.objects.create(name=str(number), created_at=now) for number in range(3)]
    for account in accounts:
        promise(account, 3, DAY, now)
    Account.objects.filter(pk=accounts[0].pk).update(time_zone="Mars/Olympus")

    with pytest.raises(JobFailedError, match="1 accounts could not be settled; 2 were"):
        jobs.reset_daily_credits(now=now + timedelta(days=1))


def test_a_job_can_be_run_by_hand(ada_account: Account, now: datetime, capsys: pytest.CaptureFixture[str]) -> None:
    promise(ada_account, 3, DAY, now)

    call_command("run_job", "reset_daily_credits", "--now", "2026-11-22T12:00:00+01:00")

    assert "1 accounts settled" in capsys.readouterr().out
    for wrong in ("yesterday", "2026-11-22T12:00:00"):
        with pytest.raises(CommandError):
            call_command("run_job", "reset_daily_credits", "--now", wrong)


def test_clock_moving_back_and_forth_gives_each_period_once(ada_account: Account, now: datetime) -> None:
    promise(ada_account, 3, DAY, now)
    promise(ada_account, 5, MONTH, now, zone="UTC")
    moment = now
    for hour in range(24 * 40):
        moment = now + timedelta(hours=hour)
        for at in (moment, moment - timedelta(hours=1), moment + timedelta(hours=1)):
            settling.settle(account_id=ada_account.pk, now=at)

    days = Grant.objects.filter(allowance__period=DAY).order_by("effective_at")
    assert days.count() == len({grant.effective_at for grant in days}) == 41
    assert Grant.objects.filter(allowance__period=MONTH).count() == 2


def test_due_changes_are_posted_in_due_order(ada_account: Account, now: datetime) -> None:
    promise(ada_account, 3, DAY, now)
    promise(ada_account, 5, MONTH, now, zone="UTC")
    settling.settle(account_id=ada_account.pk, now=now + timedelta(days=70))

    due = [row.due_at for row in Transaction.objects.exclude(due_at=None).order_by("id")][1:]
    assert due == sorted(due)
    assert len(due) == 6


def test_allowance_paid_until_a_boundary_gives_nothing_there(ada_account: Account, now: datetime) -> None:
    promise(ada_account, 5, MONTH, now, zone="UTC", paid_until=datetime(2027, 1, 21, 11, tzinfo=UTC))

    settling.settle(account_id=ada_account.pk, now=now + timedelta(days=100))

    assert Grant.objects.count() == 2


def test_the_last_month_lasts_as_long_as_it_was_paid_for(ada_account: Account, now: datetime) -> None:
    paid_until = datetime(2027, 1, 21, 16, tzinfo=UTC)  # five hours after the anniversary
    promise(ada_account, 5, MONTH, now, zone="UTC", periods=2, paid_until=paid_until)

    settling.settle(account_id=ada_account.pk, now=now + timedelta(days=40))

    ends = list(Grant.objects.order_by("effective_at").values_list("expires_at", flat=True))
    assert ends == [datetime(2026, 12, 21, 11, tzinfo=UTC), paid_until]


def test_twenty_hours_are_enough_for_a_new_date_and_less_is_not(ada_account: Account) -> None:
    midnight = datetime(2026, 11, 20, 23, tzinfo=UTC)  # the 21st in Amsterdam
    promise(ada_account, 3, DAY, midnight)
    Account.objects.filter(pk=ada_account.pk).update(time_zone="Pacific/Kiritimati")  # the 22nd comes at 10:00 UTC
    Wallet.objects.filter(account=ada_account).update(next_due_at=midnight)
    Allowance.objects.update(next_at=midnight)

    settling.settle(account_id=ada_account.pk, now=midnight + timedelta(hours=20, seconds=-1))
    assert Grant.objects.count() == 1
    settling.settle(account_id=ada_account.pk, now=midnight + timedelta(hours=20))

    assert Grant.objects.count() == 2


def test_a_change_between_two_periods_counts_from_the_next_one(ada_account: Account, now: datetime) -> None:
    promise(ada_account, 10, MONTH, now, zone="UTC", series="s")
    allowances.pause(account_id=ada_account.pk, series="s", now=now + timedelta(days=5))
    allowances.resume(account_id=ada_account.pk, series="s", now=now + timedelta(days=40))

    allowances.change(account_id=ada_account.pk, series="s", amount=70, now=now + timedelta(days=41))

    assert available(ada_account, now + timedelta(days=41)) == 0
    assert available(ada_account, now + timedelta(days=65)) == 70


@pytest.mark.django_db(transaction=True)
def test_a_wallet_that_is_being_used_is_left_to_its_user(ada_account: Account, now: datetime) -> None:
    promise(ada_account, 3, DAY, now)
    tomorrow = now + timedelta(days=1)

    def settle() -> bool:
        try:
            return settling.settle_if_free(account_id=ada_account.pk, now=tomorrow)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            Wallet.objects.select_for_update().get(account=ada_account)
            assert pool.submit(settle).result(5) is False
        assert pool.submit(settle).result(5) is True


def test_a_limit_of_nothing_rolls_nothing_over(ada_account: Account, now: datetime) -> None:
    promise(ada_account, 10, MONTH, now, zone="UTC", rollover=Allowance.Rollover.CAPPED, rollover_limit=0)

    assert available(ada_account, now + timedelta(days=70)) == 10


def test_what_one_payment_brings_once_has_its_name(ada_account: Account, now: datetime) -> None:
    paid_until = now + timedelta(days=30)
    once = {"zone": "UTC", "periods": 1, "paid_until": paid_until, "source_key": "stripe:invoice:in_1"}
    promise(ada_account, 10, MONTH, now, **once)

    assert Grant.objects.get().source_key == "stripe:invoice:in_1"


@pytest.mark.parametrize(("keep_paid", "months"), [(True, 12), (False, 1)])
def test_an_ended_year_goes_on_if_what_was_paid_for_is_kept(
    ada_account: Account, now: datetime, keep_paid: bool, months: int
) -> None:
    paid_until = datetime(2027, 11, 21, 11, tzinfo=UTC)
    promise(ada_account, 10, MONTH, now, zone="UTC", periods=12, paid_until=paid_until, series="s")

    allowances.end(account_id=ada_account.pk, series="s", keep_paid=keep_paid, now=now + timedelta(days=5))
    settling.settle(account_id=ada_account.pk, now=now + timedelta(days=500))

    assert Grant.objects.count() == months
