"""Undoing: what was spent comes back, what was paid back is taken back, and who did it is written down."""

from datetime import datetime, timedelta

import pytest

from accounts.models import Account
from api.problems import status_of
from common.sides import Side
from credits import ledger
from credits.api import refusals  # noqa: F401 - registers the statuses
from credits.errors import (
    AccountInDebtError,
    AlreadyReversedError,
    GrantConflictError,
    GrantNotFoundError,
    InsufficientCreditsError,
    InvalidAmountError,
    KeyReusedError,
    NotReversibleError,
    ReversalTooLargeError,
    TransactionNotFoundError,
)
from credits.models import Grant, Source, Transaction, Wallet
from credits.tests.test_spending import give


def spend(account: Account, amount: int, now: datetime, key: str = "job-1") -> ledger.SpendResult:
    return ledger.spend(account_id=account.pk, amount=amount, idempotency_key=key, now=now, feature="image", quantity=1)


def reverse(
    account: Account, spent: ledger.SpendResult, now: datetime, amount: int | None = None, key: str = "undo-1"
) -> ledger.CorrectionResult:
    return ledger.reverse(
        account_id=account.pk,
        transaction_id=spent.transaction_id,
        amount=amount,
        idempotency_key=key,
        reason="The model failed",
        actor="key_x",
        now=now,
    )


def revoke(
    account: Account, grant: Grant, amount: int, now: datetime, *, debt: bool, cause: str = "re_1"
) -> ledger.RevokeResult:
    return ledger.revoke(
        account_id=account.pk,
        grant_source_key=grant.source_key,
        amount=amount,
        source_key=f"stripe:refund:{cause}",
        create_debt=debt,
        now=now,
    )


def stands(account: Account) -> tuple[int, int]:
    wallet = Wallet.objects.get(account=account)
    return wallet.balance, wallet.debt


def test_a_reversal_gives_back_to_the_grants_it_came_from(ada_account: Account, now: datetime) -> None:
    free, bought = give(ada_account, 3, now, Source.FREE), give(ada_account, 10, now)
    spent = spend(ada_account, 5, now)

    back = reverse(ada_account, spent, now)

    assert (back.transaction.kind, back.transaction.amount, back.transaction.reverses_id) == (
        "reverse",
        5,
        spent.transaction_id,
    )
    assert (back.transaction.description, back.transaction.actor) == ("The model failed", "key_x")
    assert list(Grant.objects.order_by("id").values_list("id", "remaining")) == [(free.pk, 3), (bought.pk, 10)]


def test_in_parts_what_was_drawn_last_comes_back_first(ada_account: Account, now: datetime) -> None:
    free, bought = give(ada_account, 3, now, Source.FREE), give(ada_account, 10, now)
    spent = spend(ada_account, 5, now)

    reverse(ada_account, spent, now, 3, key="a")

    assert dict(Grant.objects.values_list("id", "remaining")) == {free.pk: 1, bought.pk: 10}
    with pytest.raises(ReversalTooLargeError):
        reverse(ada_account, spent, now, 3, key="b")
    reverse(ada_account, spent, now, 2, key="b")
    with pytest.raises(AlreadyReversedError):
        reverse(ada_account, spent, now, key="c")
    assert stands(ada_account) == (13, 0)


def test_a_repeated_reversal_gets_the_first_answer(ada_account: Account, now: datetime) -> None:
    give(ada_account, 10, now)
    spent = spend(ada_account, 5, now)
    first = reverse(ada_account, spent, now, 2)

    again = reverse(ada_account, spent, now + timedelta(days=1), 2)

    assert (again.is_replayed, again.transaction) == (True, first.transaction)
    with pytest.raises(KeyReusedError):
        reverse(ada_account, spent, now, 3)
    assert stands(ada_account) == (7, 0)


def test_only_a_spend_of_one_s_own_can_be_reversed(ada_account: Account, now: datetime) -> None:
    give(ada_account, 10, now)
    spent = spend(ada_account, 5, now)
    other = Account.objects.create(name="Eve", created_at=now)

    with pytest.raises(TransactionNotFoundError):
        reverse(other, spent, now)
    granted = Transaction.objects.get(kind="grant")
    with pytest.raises(NotReversibleError):
        ledger.reverse(account_id=ada_account.pk, transaction_id=granted.pk, idempotency_key="x", reason="", now=now)


def test_what_comes_back_too_late_expires_at_once(ada_account: Account, now: datetime) -> None:
    give(ada_account, 5, now, Source.BONUS, expires_at=now + timedelta(hours=1))
    spent = spend(ada_account, 5, now)

    reverse(ada_account, spent, now + timedelta(hours=2))

    assert stands(ada_account) == (0, 0)
    assert list(Transaction.objects.order_by("id").values_list("kind", "amount")) == [
        ("grant", 5),
        ("spend", -5),
        ("reverse", 5),
        ("expire", -5),
    ]


def test_a_refund_takes_what_is_left_and_makes_no_debt(ada_account: Account, now: datetime) -> None:
    pack = give(ada_account, 20, now)
    spend(ada_account, 15, now)

    revoked = revoke(ada_account, pack, 20, now, debt=False)

    assert (revoked.taken, revoked.debt) == (5, 0)
    assert stands(ada_account) == (0, 0)


def test_a_lost_dispute_makes_a_debt_of_what_was_spent(ada_account: Account, now: datetime) -> None:
    pack = give(ada_account, 20, now)
    give(ada_account, 3, now, Source.FREE)
    spend(ada_account, 18, now)  # 3 free, 15 bought

    revoked = revoke(ada_account, pack, 20, now, debt=True)

    assert (revoked.taken, revoked.debt) == (5, 15)
    assert stands(ada_account) == (0, 15)
    with pytest.raises(AccountInDebtError) as caught:
        spend(ada_account, 1, now, key="job-2")
    assert (caught.value.code, status_of(type(caught.value)), caught.value.debt) == ("account_in_debt", 402, 15)


def test_debt_is_paid_by_paid_credits_only(ada_account: Account, now: datetime) -> None:
    pack = give(ada_account, 20, now)
    spend(ada_account, 15, now)
    revoke(ada_account, pack, 20, now, debt=True)

    give(ada_account, 7, now, Source.FREE)
    assert stands(ada_account) == (7, 15)
    give(ada_account, 10, now)
    assert stands(ada_account) == (7, 5)
    give(ada_account, 20, now)

    assert stands(ada_account) == (22, 0)
    assert [row.amount for row in Transaction.objects.filter(kind="debt").order_by("id")] == [-10, -5]
    assert spend(ada_account, 1, now, key="job-2").balance_after == 21


def test_other_paid_credits_pay_the_debt_at_once(ada_account: Account, now: datetime) -> None:
    pack, _other = give(ada_account, 20, now), give(ada_account, 50, now)
    spend(ada_account, 20, now)

    revoked = revoke(ada_account, pack, 20, now, debt=True)

    assert (revoked.taken, revoked.debt) == (0, 20)
    assert stands(ada_account) == (30, 0)


def test_a_repeated_revocation_gets_the_first_answer(ada_account: Account, now: datetime) -> None:
    pack = give(ada_account, 20, now)
    spend(ada_account, 15, now)
    first = revoke(ada_account, pack, 20, now, debt=True)

    again = revoke(ada_account, pack, 20, now + timedelta(days=1), debt=True)

    assert again.is_replayed
    assert (again.taken, again.debt, again.transaction) == (5, 15, first.transaction)
    assert stands(ada_account) == (0, 15)


def test_a_client_s_key_cannot_get_in_the_way_of_a_revocation(ada_account: Account, now: datetime) -> None:
    pack = give(ada_account, 20, now)
    spend(ada_account, 1, now, key="stripe:refund:re_1")

    assert revoke(ada_account, pack, 20, now, debt=False).taken == 19


def test_no_more_is_revoked_than_was_granted(ada_account: Account, now: datetime) -> None:
    pack = give(ada_account, 20, now)

    with pytest.raises(InvalidAmountError):
        revoke(ada_account, pack, 21, now, debt=True)
    with pytest.raises(GrantNotFoundError):
        ledger.revoke(
            account_id=ada_account.pk,
            grant_source_key="none",
            amount=1,
            source_key="x",
            create_debt=True,
            now=now,
        )
    assert stands(ada_account) == (20, 0)


def test_credits_that_come_back_pay_what_is_owed(ada_account: Account, now: datetime) -> None:
    pack = give(ada_account, 20, now)
    on_hold = ledger.hold(
        account_id=ada_account.pk, amount=12, idempotency_key="h", expires_at=now + timedelta(hours=1), now=now
    )
    revoke(ada_account, pack, 20, now, debt=True)
    assert stands(ada_account) == (0, 12)

    ledger.capture(account_id=ada_account.pk, hold_id=on_hold.hold_id, cost=2, now=now)

    assert stands(ada_account) == (0, 2)


def test_adjust_takes_credits_and_forgives_debt(ada_account: Account, now: datetime) -> None:
    pack = give(ada_account, 20, now)
    spend(ada_account, 15, now)
    revoke(ada_account, pack, 20, now, debt=True)
    give(ada_account, 9, now, Source.BONUS)

    def adjust(**what: int) -> ledger.CorrectionResult:
        key = f"form-{sorted(what.items())}"
        return ledger.adjust(
            account_id=ada_account.pk, idempotency_key=key, reason="A mistake of ours", actor="user:1", now=now, **what
        )

    assert not adjust(forgive=15).is_replayed
    assert adjust(forgive=15).is_replayed
    adjust(take=4)

    assert stands(ada_account) == (5, 0)
    row = Transaction.objects.filter(kind="adjust").latest("id")
    assert (row.amount, row.description, row.actor) == (-4, "A mistake of ours", "user:1")
    with pytest.raises(InsufficientCreditsError):
        adjust(take=6)
    with pytest.raises(InvalidAmountError):
        adjust(forgive=1)
    with pytest.raises(InvalidAmountError):
        adjust()


def test_a_grant_of_other_terms_is_refused(ada_account: Account, now: datetime) -> None:
    terms = {"account_id": ada_account.pk, "source": Source.PURCHASE, "source_key": "stripe:session:cs_1", "now": now}
    ledger.grant(amount=20, **terms)

    with pytest.raises(GrantConflictError):
        ledger.grant(amount=21, **terms)


def test_an_operator_may_take_all_there_is(ada_account: Account, now: datetime) -> None:
    give(ada_account, 9, now)

    taken = ledger.adjust(
        account_id=ada_account.pk, idempotency_key="f", reason="Closing", actor="user:1", now=now, take=9
    )

    assert (taken.transaction.amount, stands(ada_account)) == (-9, (0, 0))


def test_a_first_revocation_is_no_replay(ada_account: Account, now: datetime) -> None:
    pack = give(ada_account, 20, now)

    assert not revoke(ada_account, pack, 5, now, debt=True).is_replayed
    assert not revoke(ada_account, pack, 5, now, debt=True, cause="re_2").is_replayed
    assert stands(ada_account) == (10, 0)


class TestRestore:
    """A dispute that is won."""

    def restore(
        self, account: Account, grant: Grant, credits: int, debt: int, now: datetime
    ) -> ledger.CorrectionResult:
        return ledger.restore(
            account_id=account.pk,
            grant_source_key=grant.source_key,
            credits=credits,
            debt=debt,
            source_key="stripe:dispute:du_1",
            now=now,
        )

    def test_what_was_taken_comes_back_and_what_was_owed_is_not(self, ada_account: Account, now: datetime) -> None:
        pack = give(ada_account, 20, now)
        spend(ada_account, 15, now)
        revoke(ada_account, pack, 20, now, debt=True)

        first, again = (self.restore(ada_account, pack, 5, 15, now) for _ in range(2))

        assert (first.is_replayed, again.is_replayed) == (False, True)
        assert stands(ada_account) == (5, 0)

    def test_a_debt_that_was_paid_meanwhile_comes_back_as_credits(self, ada_account: Account, now: datetime) -> None:
        pack = give(ada_account, 20, now)
        spend(ada_account, 15, now)
        revoke(ada_account, pack, 20, now, debt=True)
        give(ada_account, 10, now)  # pays ten of the fifteen
        assert stands(ada_account) == (0, 5)

        self.restore(ada_account, pack, 5, 15, now)

        assert stands(ada_account) == (15, 0)

    def test_more_than_was_granted_is_refused(self, ada_account: Account, now: datetime) -> None:
        pack = give(ada_account, 20, now)

        for credits, debt in ((1, 0), (0, 1), (0, 0)):
            with pytest.raises(InvalidAmountError):
                self.restore(ada_account, pack, credits, debt, now)
        assert stands(ada_account) == (20, 0)


def test_where_there_is_nothing_to_take_nothing_is_written(ada_account: Account, now: datetime) -> None:
    pack = give(ada_account, 5, now)
    spend(ada_account, 5, now)

    revoked = revoke(ada_account, pack, 5, now, debt=False)

    assert (revoked.taken, revoked.debt, revoked.transaction, revoked.is_replayed) == (0, 0, None, False)
    assert not Transaction.objects.filter(kind="revoke").exists()


def test_a_grant_that_paid_a_debt_says_what_is_left_of_it(ada_account: Account, now: datetime) -> None:
    pack = give(ada_account, 20, now)
    spend(ada_account, 20, now)
    revoke(ada_account, pack, 20, now, debt=True)

    assert give(ada_account, 50, now).remaining == 30


def test_what_the_console_gave_back_the_api_gives_back_no_more(ada_account: Account, now: datetime) -> None:
    give(ada_account, 10, now)
    spent = spend(ada_account, 5, now)
    for side, key in ((Side.INTERNAL, "console"), (Side.BUYER, "buyer")):
        ledger.reverse(
            account_id=ada_account.pk, transaction_id=spent.transaction_id, amount=2, idempotency_key=key, reason="",
            side=side, now=now,
        )  # fmt: skip

    with pytest.raises(ReversalTooLargeError):
        reverse(ada_account, spent, now, amount=2)

    reverse(ada_account, spent, now)
    assert stands(ada_account) == (10, 0)
