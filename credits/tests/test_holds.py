"""Holds: set aside, captured, released, lapsed; each answered the same however often it is asked."""

from datetime import datetime, timedelta

import pytest

from accounts.models import Account
from credits import allowances, jobs, ledger, selectors
from credits.errors import (
    CaptureConflictError,
    HoldExpiredError,
    HoldNotFoundError,
    HoldNotOpenError,
    InsufficientCreditsError,
    InvalidHoldTimeError,
    KeyReusedError,
    TooManyHoldsError,
)
from credits.models import Allowance, Hold, Source, Transaction, Wallet
from credits.tests.test_spending import give

QUARTER = timedelta(minutes=15)


def hold(
    account: Account, amount: int, now: datetime, key: str = "call-1", lasts: timedelta = QUARTER
) -> ledger.HoldResult:
    return ledger.hold(
        account_id=account.pk, amount=amount, idempotency_key=key, expires_at=now + lasts, now=now, feature="chat"
    )


def capture(account: Account, held: ledger.HoldResult, cost: int, now: datetime) -> ledger.CaptureResult:
    return ledger.capture(account_id=account.pk, hold_id=held.hold_id, cost=cost, now=now)


def stands(account: Account) -> tuple[int, int]:
    wallet = Wallet.objects.get(account=account)
    return wallet.balance, wallet.held


def test_what_is_held_cannot_be_spent(ada_account: Account, now: datetime) -> None:
    give(ada_account, 10, now)

    on_hold = hold(ada_account, 8, now)

    assert (on_hold.amount, on_hold.balance_after, on_hold.expires_at) == (8, 2, now + QUARTER)
    assert stands(ada_account) == (2, 8)
    with pytest.raises(InsufficientCreditsError):
        ledger.spend(account_id=ada_account.pk, amount=3, idempotency_key="k", now=now)
    assert not Transaction.objects.exclude(kind="grant").exists()


def test_partial_capture_returns_the_rest_to_its_grants(ada_account: Account, now: datetime) -> None:
    free, bought = give(ada_account, 3, now, Source.FREE), give(ada_account, 10, now)
    on_hold = hold(ada_account, 8, now)

    captured = capture(ada_account, on_hold, 4, now)

    assert (captured.captured, captured.missing, captured.balance_after) == (4, 0, 9)
    assert [(lot.grant_id, lot.amount) for lot in captured.lots] == [(free.pk, 3), (bought.pk, 1)]
    assert stands(ada_account) == (9, 0)
    row = Transaction.objects.get(pk=captured.transaction_id)
    assert (row.kind, row.amount, row.feature, row.hold_id) == ("spend", -4, "chat", on_hold.hold_id)


def test_a_capture_of_all_of_it(ada_account: Account, now: datetime) -> None:
    give(ada_account, 10, now)

    assert capture(ada_account, hold(ada_account, 8, now), 8, now).captured == 8
    assert stands(ada_account) == (2, 0)


def test_a_capture_of_more_draws_the_rest_if_all_of_it_is_there(ada_account: Account, now: datetime) -> None:
    give(ada_account, 10, now)

    captured = capture(ada_account, hold(ada_account, 6, now), 9, now)

    assert (captured.captured, captured.missing) == (9, 0)
    assert [lot.amount for lot in captured.lots] == [9]  # one grant, one entry
    assert stands(ada_account) == (1, 0)


def test_capture_beyond_the_balance_takes_the_hold_and_says_so(ada_account: Account, now: datetime) -> None:
    give(ada_account, 10, now)

    captured = capture(ada_account, hold(ada_account, 6, now), 11, now)

    assert (captured.captured, captured.missing) == (6, 5)
    assert stands(ada_account) == (4, 0)


def test_a_repeated_capture_gets_the_first_answer(ada_account: Account, now: datetime) -> None:
    give(ada_account, 10, now)
    on_hold = hold(ada_account, 8, now)
    first = capture(ada_account, on_hold, 4, now)

    again = capture(ada_account, on_hold, 4, now + timedelta(days=3))

    assert again.is_replayed
    assert (again.transaction_id, again.captured, again.lots) == (first.transaction_id, 4, first.lots)
    with pytest.raises(CaptureConflictError):
        capture(ada_account, on_hold, 5, now)
    with pytest.raises(HoldNotOpenError):
        ledger.release(account_id=ada_account.pk, hold_id=on_hold.hold_id, now=now)
    assert stands(ada_account) == (6, 0)


def test_a_release_gives_all_of_it_back_and_can_be_repeated(ada_account: Account, now: datetime) -> None:
    give(ada_account, 10, now)
    on_hold = hold(ada_account, 8, now)

    first, again = (ledger.release(account_id=ada_account.pk, hold_id=on_hold.hold_id, now=now) for _ in range(2))

    assert (first.is_replayed, again.is_replayed) == (False, True)
    assert stands(ada_account) == (10, 0)
    with pytest.raises(HoldNotOpenError):
        capture(ada_account, on_hold, 1, now)
    assert not Transaction.objects.exclude(kind="grant").exists()


@pytest.mark.parametrize("by", ["job", "touch"])
def test_a_hold_that_nobody_settles_lapses(ada_account: Account, now: datetime, by: str) -> None:
    give(ada_account, 10, now)
    on_hold = hold(ada_account, 8, now)
    later = now + QUARTER

    if by == "job":
        assert jobs.lapse_holds(now=later - timedelta(seconds=1)) == 0
        assert jobs.lapse_holds(now=later) == 1
    else:
        assert selectors.balance(account_id=ada_account.pk, now=later).available == 10

    lapsed = Hold.objects.get(pk=on_hold.hold_id)
    assert (lapsed.status, lapsed.ended_at) == ("lapsed", later)
    assert stands(ada_account) == (10, 0)
    with pytest.raises(HoldExpiredError):
        capture(ada_account, on_hold, 1, later)


def test_capture_after_expiry_is_refused_before_any_job_ran(ada_account: Account, now: datetime) -> None:
    give(ada_account, 10, now)
    on_hold = hold(ada_account, 8, now)

    with pytest.raises(HoldExpiredError):
        capture(ada_account, on_hold, 8, now + QUARTER)

    assert stands(ada_account) == (10, 0)


def test_credits_returned_to_an_expired_grant_expire(ada_account: Account, now: datetime) -> None:
    give(ada_account, 10, now, Source.BONUS, expires_at=now + timedelta(minutes=5))
    on_hold = hold(ada_account, 8, now)

    captured = capture(ada_account, on_hold, 3, now + timedelta(minutes=10))

    assert captured.captured == 3
    assert stands(ada_account) == (0, 0)
    assert [row.amount for row in Transaction.objects.filter(kind="expire").order_by("id")] == [-2, -5]


def test_a_key_that_is_repeated_answers_the_first_hold(ada_account: Account, now: datetime) -> None:
    give(ada_account, 10, now)
    first = hold(ada_account, 4, now)

    assert hold(ada_account, 4, now + timedelta(minutes=1)).hold_id == first.hold_id
    with pytest.raises(KeyReusedError):
        ledger.hold(account_id=ada_account.pk, amount=5, idempotency_key="call-1", expires_at=now + QUARTER, now=now)
    assert stands(ada_account) == (6, 4)


@pytest.mark.parametrize("lasts", [timedelta(0), timedelta(minutes=-1), timedelta(hours=24, seconds=1)])
def test_a_hold_lasts_more_than_nothing_and_at_most_a_day(
    ada_account: Account, now: datetime, lasts: timedelta
) -> None:
    give(ada_account, 10, now)

    with pytest.raises(InvalidHoldTimeError):
        hold(ada_account, 1, now, lasts=lasts)


def test_there_are_only_so_many_open_holds(ada_account: Account, now: datetime, settings: object) -> None:
    settings.MAX_OPEN_HOLDS_PER_ACCOUNT = 2  # type: ignore[attr-defined]
    give(ada_account, 10, now)
    first = hold(ada_account, 1, now, "a")
    hold(ada_account, 1, now, "b")

    with pytest.raises(TooManyHoldsError):
        hold(ada_account, 1, now, "c")

    ledger.release(account_id=ada_account.pk, hold_id=first.hold_id, now=now)
    assert hold(ada_account, 1, now, "c").amount == 1


def test_a_hold_of_another_account_is_not_there(ada_account: Account, now: datetime) -> None:
    give(ada_account, 10, now)
    on_hold = hold(ada_account, 4, now)
    other = Account.objects.create(name="Eve", created_at=now)
    give(other, 10, now)

    for act in (ledger.release, lambda **what: ledger.capture(cost=1, **what)):
        with pytest.raises(HoldNotFoundError):
            act(account_id=other.pk, hold_id=on_hold.hold_id, now=now)
    assert stands(ada_account) == (6, 4)


def test_a_hold_is_one_round_trip_and_so_is_its_capture(
    ada_account: Account, now: datetime, round_trips: list[str]
) -> None:
    give(ada_account, 10, now)
    round_trips.clear()

    capture(ada_account, hold(ada_account, 4, now), 3, now)

    assert len(round_trips) == 2


def test_a_refill_meanwhile_does_not_touch_what_is_held(ada_account: Account, now: datetime) -> None:
    allowances.start(
        account=ada_account,
        source=Source.FREE,
        source_key="free",
        amount=3,
        period=Allowance.Period.DAY,
        anchor=now,
        now=now,
    )
    midnight = datetime.fromisoformat("2026-11-21T23:00Z")
    on_hold = hold(ada_account, 2, midnight - timedelta(minutes=5))

    captured = capture(ada_account, on_hold, 2, midnight + timedelta(minutes=5))

    assert captured.captured == 2  # of yesterday's
    assert stands(ada_account) == (3, 0)  # today's are whole; yesterday's last one is gone


def test_a_hold_may_last_a_whole_day_and_keeps_what_it_was_told(ada_account: Account, now: datetime) -> None:
    give(ada_account, 10, now)
    on_hold = ledger.hold(
        account_id=ada_account.pk,
        amount=4,
        idempotency_key="k",
        expires_at=now + timedelta(hours=24),
        metadata={"model": "m"},
        now=now,
    )

    kept = Hold.objects.get(pk=on_hold.hold_id)
    assert (kept.metadata, kept.expires_at - kept.created_at) == ({"model": "m"}, timedelta(hours=24))


def test_what_comes_back_at_the_very_end_of_a_grant_expires(ada_account: Account, now: datetime) -> None:
    ends_at = now + timedelta(minutes=10)
    give(ada_account, 10, now, Source.BONUS, expires_at=ends_at)
    on_hold = hold(ada_account, 8, now)

    ledger.release(account_id=ada_account.pk, hold_id=on_hold.hold_id, now=ends_at)

    assert stands(ada_account) == (0, 0)


def test_hold_replay_ignores_a_changed_price(ada_account: Account, now: datetime) -> None:
    give(ada_account, 10, now)

    def ask(amount: int, quantity: int) -> ledger.HoldResult:
        return ledger.hold(
            account_id=ada_account.pk,
            amount=amount,
            idempotency_key="k",
            expires_at=now + QUARTER,
            feature="chat",
            quantity=quantity,
            now=now,
        )

    first = ask(4, 1)
    again = ask(5, 1)

    assert (again.hold_id, again.amount, again.is_replayed) == (first.hold_id, 4, True)
    with pytest.raises(KeyReusedError):
        ask(4, 2)


def test_released_hold_wakes_nobody(ada_account: Account, now: datetime) -> None:
    """What is next is what the grants say: not the end of a hold that is over."""
    give(ada_account, 10, now)
    on_hold = hold(ada_account, 8, now)
    assert Wallet.objects.get(account=ada_account).next_due_at is not None

    ledger.release(account_id=ada_account.pk, hold_id=on_hold.hold_id, now=now)

    assert Wallet.objects.get(account=ada_account).next_due_at is None
