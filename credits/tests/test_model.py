"""Random histories of one account, every operation and the passing of time included, against a plain model.

A few thousand operations each run; `LEDGER_EXAMPLES=2000` makes it a hundred thousand.
"""

import itertools
import os
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, precondition, rule
from hypothesis.stateful import run_state_machine_as_test as run

from accounts.models import Account
from credits import allowances, audit, ledger, limits, signals
from credits.errors import CreditsError
from credits.models import Allowance, Grant, Hold, Source, Wallet
from credits.tests.model import Lot, Model, Promise, Refused, Reserved, Spend, months_on

ZONE = "Europe/Amsterdam"
START = datetime(2026, 10, 20, 9, 30, tzinfo=UTC)  # the clocks go back five days later
AMOUNTS = st.integers(1, 60)
STEPS = 50

numbers = itertools.count()


class LedgerAndModel(RuleBasedStateMachine):
    """Every rule does the same to both, and both must answer the same."""

    granted = Bundle("granted")
    held = Bundle("held")
    spent = Bundle("spent")
    promised = Bundle("promised")

    @initialize()
    def open(self) -> None:
        self.now = START
        self.account = Account.objects.create(name="Model", time_zone=ZONE, created_at=START)
        self.model = Model(ZONE)
        self.heard: list[str] = []
        signals.balance_low.connect(self._hear_low, weak=False)
        signals.balance_exhausted.connect(self._hear_empty, weak=False)

    def teardown(self) -> None:
        signals.balance_low.disconnect(self._hear_low)
        signals.balance_exhausted.disconnect(self._hear_empty)
        if hasattr(self, "account"):
            result = list(audit.all_disagreements(account_id=self.account.pk))
            assert result == []

    def _hear_low(self, **event: Any) -> None:
        self.heard.append("low")

    def _hear_empty(self, **event: Any) -> None:
        self.heard.append("empty")

    def both(self, real: Any, modelled: Any) -> tuple[Any, Any] | None:
        """Do both; what one refuses the other must refuse with the same code."""
        try:
            expected = modelled()
        except Refused as refusal:
            code = refusal.code
            with pytest.raises(CreditsError, check=lambda error: error.code == code):
                real()
            # A refusal takes back what its own transaction had settled: go on from the same place.
            ledger.settle(account_id=self.account.pk, now=self.now)
            self.model.settle(self.now)
            self.heard = list(self.model.signals)
            return None
        return real(), expected

    def key(self) -> str:
        return f"k{next(numbers)}"

    # --- operations -----------------------------------------------------------------------------

    @rule(
        target=granted,
        source=st.sampled_from(["purchase", "bonus", "free", "plan"]),
        amount=AMOUNTS,
        hours=st.none() | st.integers(1, 200),
    )
    def grant(self, source: str, amount: int, hours: int | None) -> tuple[str, Lot]:
        until = self.now + timedelta(hours=hours) if hours else None
        key = self.key()
        ledger.grant(
            account_id=self.account.pk,
            amount=amount,
            source=Source(source),
            source_key=key,
            expires_at=until,
            now=self.now,
        )
        return key, self.model.grant(source, amount, until, self.now)

    @rule(target=spent, amount=AMOUNTS)
    def spend(self, amount: int) -> Any:
        key = self.key()

        def real() -> ledger.SpendResult:
            return ledger.spend(account_id=self.account.pk, amount=amount, idempotency_key=key, now=self.now)

        result = self.both(real, lambda: self.model.spend(amount, self.now))
        if result is None:
            return None
        answer, parts = result
        assert [lot.amount for lot in answer.lots] == [part for _, part in parts]
        assert [lot.source for lot in answer.lots] == [lot.source for lot, _ in parts]
        again = real()
        assert (again.is_replayed, again.transaction_id, again.lots) == (True, answer.transaction_id, answer.lots)
        return answer.transaction_id, self.model.spends[-1]

    @rule(target=held, amount=AMOUNTS, minutes=st.integers(1, 24 * 60))
    def hold(self, amount: int, minutes: int) -> Any:
        until, key = self.now + timedelta(minutes=minutes), self.key()

        def real() -> ledger.HoldResult:
            return ledger.hold(
                account_id=self.account.pk, amount=amount, idempotency_key=key, expires_at=until, now=self.now
            )

        result = self.both(real, lambda: self.model.hold(amount, until, self.now))
        if result is None:
            return None
        answer, expected = result
        assert [lot.amount for lot in answer.lots] == [part for _, part in expected.parts]
        assert real().hold_id == answer.hold_id
        return answer.hold_id, expected

    @rule(target=spent, hold=held, cost=AMOUNTS)
    def capture(self, hold: tuple[Any, Reserved] | None, cost: int) -> Any:
        if hold is None:
            return None
        hold_id, expected = hold
        was_open = expected.state == "open"

        def real() -> ledger.CaptureResult:
            return ledger.capture(account_id=self.account.pk, hold_id=hold_id, cost=cost, now=self.now)

        result = self.both(real, lambda: self.model.capture(expected, cost, self.now))
        if result is None:
            return None
        answer, captured = result
        assert (answer.captured, answer.missing) == (captured, cost - captured)
        assert answer.is_replayed != was_open
        return (answer.transaction_id, self.model.spends[-1]) if was_open else None

    @rule(hold=held)
    def release(self, hold: tuple[Any, Reserved] | None) -> None:
        if hold is not None:
            hold_id, expected = hold
            self.both(
                lambda: ledger.release(account_id=self.account.pk, hold_id=hold_id, now=self.now),
                lambda: self.model.release(expected, self.now),
            )

    @rule(spend=spent, amount=st.none() | AMOUNTS)
    def reverse(self, spend: tuple[Any, Spend] | None, amount: int | None) -> None:
        if spend is None:
            return
        transaction_id, expected = spend
        key = self.key()

        def real() -> ledger.CorrectionResult:
            return ledger.reverse(
                account_id=self.account.pk,
                transaction_id=transaction_id,
                amount=amount,
                idempotency_key=key,
                reason="It failed",
                now=self.now,
            )

        result = self.both(real, lambda: self.model.reverse(expected, amount, self.now))
        if result is not None:
            assert real().is_replayed

    @rule(grant=granted, share=st.integers(1, 60), rest_is_debt=st.booleans())
    def revoke(self, grant: tuple[str, Lot], share: int, rest_is_debt: bool) -> None:
        key, lot = grant
        amount = min(share, lot.amount)
        ledger.revoke(
            account_id=self.account.pk,
            grant_source_key=key,
            amount=amount,
            source_key=self.key(),
            create_debt=rest_is_debt,
            now=self.now,
        )
        self.model.revoke(lot, amount, rest_is_debt, self.now)

    @rule(amount=AMOUNTS)
    def take(self, amount: int) -> None:
        self.both(lambda: self._adjust(take=amount), lambda: self.model.take(amount, self.now))

    @rule(amount=AMOUNTS)
    def forgive(self, amount: int) -> None:
        self.both(lambda: self._adjust(forgive=amount), lambda: self.model.forgive(amount, self.now))

    def _adjust(self, **what: int) -> Any:
        return ledger.adjust(
            account_id=self.account.pk, idempotency_key=self.key(), reason="r", actor="op", now=self.now, **what
        )

    @rule(cap=st.none() | st.integers(0, 80))
    def set_cap(self, cap: int | None) -> None:
        limits.set_daily_cap(account_id=self.account.pk, cap=cap)
        self.model.cap = cap

    # --- allowances -------------------------------------------------------------------------------

    @precondition(lambda self: len(self.model.promises) < 3)
    @rule(
        target=promised,
        period=st.sampled_from(["day", "month"]),
        amount=AMOUNTS,
        periods=st.none() | st.integers(1, 4),
        rollover=st.sampled_from(["none", "none", "capped", "all"]),
        limit=st.integers(0, 40),
        days_ago=st.integers(0, 70),
    )
    def promise(  # noqa: PLR0917 - Hypothesis draws them
        self, period: str, amount: int, periods: int | None, rollover: str, limit: int, days_ago: int
    ) -> tuple[str, Promise]:
        if period == "day":
            periods, rollover, anchor = None, "none", self.now.astimezone().replace(minute=0, second=0, microsecond=0)
            anchor = anchor.astimezone(UTC)
        else:
            anchor = self.now - timedelta(days=days_ago)
        until = months_on(anchor, periods, ZONE) if periods else None
        source = "plan" if periods else "free"
        key = self.key()
        kept = limit if rollover == "capped" else None
        allowances.start(
            account=self.account,
            source=Source(source),
            source_key=key,
            amount=amount,
            period=Allowance.Period(period),
            anchor=anchor,
            periods=periods,
            paid_until=until,
            zone=ZONE if period == "month" else "",
            rollover=Allowance.Rollover(rollover),
            rollover_limit=kept,
            now=self.now,
        )
        promise = Promise(key, source, amount, period, anchor, periods, until, rollover, kept)
        self.model.promise(promise, self.now)
        return key, promise

    @rule(promise=promised, amount=AMOUNTS)
    def change(self, promise: tuple[str, Promise], amount: int) -> None:
        allowances.change(account_id=self.account.pk, series=promise[0], amount=amount, now=self.now)
        self.model.change(promise[1], amount, self.now)

    @rule(promise=promised, keep_paid=st.booleans())
    def end(self, promise: tuple[str, Promise], keep_paid: bool) -> None:
        allowances.end(account_id=self.account.pk, series=promise[0], keep_paid=keep_paid, now=self.now)
        self.model.end(promise[1], keep_paid, self.now)

    @rule(promise=promised, verb=st.sampled_from(["pause", "resume"]))
    def rest(self, promise: tuple[str, Promise], verb: str) -> None:
        getattr(allowances, verb)(account_id=self.account.pk, series=promise[0], now=self.now)
        getattr(self.model, verb)(promise[1], self.now)

    # --- time -----------------------------------------------------------------------------------

    @rule(minutes=st.sampled_from([1, 7, 59, 60, 60 * 5, 60 * 24, 60 * 24 * 3, 60 * 24 * 31]))
    def wait(self, minutes: int) -> None:
        self.now += timedelta(minutes=minutes)

    @rule()
    def settle(self) -> None:
        ledger.settle(account_id=self.account.pk, now=self.now)
        self.model.settle(self.now)
        ledger.settle(account_id=self.account.pk, now=self.now)

    # --- the comparison -------------------------------------------------------------------------

    @invariant()
    def both_agree(self) -> None:
        if not hasattr(self, "account"):
            return
        wallet = Wallet.objects.filter(account=self.account).first()
        if wallet is None:
            return
        model = self.model
        assert (wallet.balance, wallet.held, wallet.debt) == (model.balance, model.held, model.debt)
        lots = Grant.objects.filter(account=self.account).order_by("id")
        assert sorted(_of_grant(lot) for lot in lots) == sorted(
            (lot.source, lot.amount, lot.remaining, lot.since, str(lot.until)) for lot in model.lots
        )
        assert Hold.objects.filter(account=self.account, status="open").count() == sum(
            hold.state == "open" for hold in model.holds
        )
        due = model.next_due()
        assert due is None or (wallet.next_due_at is not None and wallet.next_due_at <= due)
        if wallet.cap is not None:
            assert wallet.cap_used == model.cap_used
        assert self.heard == model.signals


def _of_grant(lot: Grant) -> tuple[str, int, int, datetime, str]:
    return lot.source, lot.amount, lot.remaining, lot.effective_at, str(lot.expires_at)


@pytest.mark.django_db
def test_the_ledger_does_as_the_model(monkeypatch: Any) -> None:
    # One transaction around the test: what would be sent after a commit is sent at once.
    monkeypatch.setattr(limits.transaction, "on_commit", lambda send: send())
    run(
        LedgerAndModel,
        settings=settings(
            max_examples=int(os.environ.get("LEDGER_EXAMPLES", "25")),
            stateful_step_count=STEPS,
            deadline=None,
            phases=[Phase.generate] if os.environ.get("QUICK") else list(Phase),
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )
