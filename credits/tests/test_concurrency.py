"""Many at once, on real connections: exactly what one after the other would have done."""

import os
import random
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection, connections, transaction

from accounts.models import Account
from credits import allowances, audit, ledger
from credits.errors import CreditsError, InsufficientCreditsError
from credits.models import Allowance, Grant, Source, Transaction, Wallet

pytestmark = pytest.mark.django_db(transaction=True)

MIXED_OPERATIONS = int(os.environ.get("MIXED_OPERATIONS", "1200"))  # ten thousand, nightly


def at_once(jobs: list[Callable[[], Any]]) -> list[Any]:
    """Run each job in a thread and on a connection of its own, all starting together. Refusals are answers."""
    together = threading.Barrier(len(jobs))

    def run(job: Callable[[], Any]) -> Any:
        try:
            together.wait(10)
            return job()
        except CreditsError as error:
            return error
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(jobs)) as pool:
        return list(pool.map(run, jobs))


def pool_of(workers: int, work: Callable[[int], Any]) -> list[Any]:
    """What each of so many threads answers, each on a connection of its own."""

    def run(worker: int) -> Any:
        try:
            return work(worker)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(run, range(workers)))


def nothing_disagrees() -> bool:
    return not list(audit.all_disagreements())


@pytest.mark.parametrize("balance", [1, 10])
def test_the_last_credits_go_to_exactly_as_many(ada_account: Account, now: datetime, balance: int) -> None:
    ledger.grant(account_id=ada_account.pk, amount=balance, source=Source.BONUS, source_key="t", now=now)

    answers = at_once(
        [
            lambda n=n: ledger.spend(account_id=ada_account.pk, amount=1, idempotency_key=f"k{n}", now=now)
            for n in range(50)
        ]
    )

    assert sum(isinstance(answer, ledger.SpendResult) for answer in answers) == balance
    assert sum(isinstance(answer, InsufficientCreditsError) for answer in answers) == 50 - balance
    assert Wallet.objects.get().balance == 0
    assert nothing_disagrees()


def test_one_key_fifty_times_at_once_is_one_spend(ada_account: Account, now: datetime) -> None:
    ledger.grant(account_id=ada_account.pk, amount=100, source=Source.BONUS, source_key="t", now=now)

    answers = at_once([lambda: ledger.spend(account_id=ada_account.pk, amount=2, idempotency_key="k", now=now)] * 50)

    assert len({answer.transaction_id for answer in answers}) == 1
    assert sum(not answer.is_replayed for answer in answers) == 1
    assert Wallet.objects.get().balance == 98


def test_one_source_key_fifty_times_at_once_is_one_grant(ada_account: Account, now: datetime) -> None:
    answers = at_once(
        [
            lambda: ledger.grant(
                account_id=ada_account.pk, amount=20, source=Source.PURCHASE, source_key="stripe:session:cs", now=now
            )
        ]
        * 50
    )

    assert sum(not answer.is_replayed for answer in answers) == 1
    assert (Grant.objects.count(), Wallet.objects.get().balance) == (1, 20)


def test_the_first_operations_of_an_account_open_one_wallet(db: None, now: datetime) -> None:
    account = Account.objects.create(name="New", created_at=now)

    at_once(
        [
            lambda n=n: ledger.grant(account_id=account.pk, amount=1, source=Source.BONUS, source_key=f"g{n}", now=now)
            for n in range(50)
        ]
    )

    assert Wallet.objects.get().balance == 50
    assert nothing_disagrees()


def test_without_the_lock_the_same_race_loses_credits(ada_account: Account, now: datetime) -> None:
    """The twin of the tests above: what a counter in a table does, so that they are known to be able to fail."""
    ledger.grant(account_id=ada_account.pk, amount=100, source=Source.BONUS, source_key="t", now=now)
    both_have_read = threading.Barrier(2)

    def naive() -> None:
        with transaction.atomic():
            wallet = Wallet.objects.get(account=ada_account)
            both_have_read.wait(5)
            wallet.balance -= 1
            wallet.save(update_fields=["balance"])

    at_once([naive, naive])

    assert Wallet.objects.get().balance == 99  # two were spent


def test_a_lock_that_is_held_too_long_is_given_up(ada_account: Account, now: datetime) -> None:
    from django.db import OperationalError

    ledger.grant(account_id=ada_account.pk, amount=10, source=Source.BONUS, source_key="t", now=now)
    holds, result = threading.Event(), threading.Event()

    def hold() -> None:
        with transaction.atomic():
            Wallet.objects.select_for_update().get(account=ada_account)
            holds.set()
            result.wait(10)
        connections.close_all()

    holder = threading.Thread(target=hold)
    holder.start()
    holds.wait(5)
    try:
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '50ms'")
        with pytest.raises(OperationalError, match="lock timeout"):
            ledger.spend(account_id=ada_account.pk, amount=1, idempotency_key="k", now=now)
    finally:
        connection.close()
        result.set()
        holder.join()

    assert not Transaction.objects.filter(kind="spend").exists()


def test_spend_races_with_expiry_refill_and_purchase(ada_account: Account, now: datetime) -> None:
    """Expiry, refill, revocation, capture and lapse against forty spends: each result is one that some order gives."""
    due = now + timedelta(hours=1)
    account_id = ada_account.pk
    ledger.grant(account_id=account_id, amount=7, source=Source.BONUS, source_key="soon", expires_at=due, now=now)
    pack = ledger.grant(account_id=account_id, amount=20, source=Source.PURCHASE, source_key="pack", now=now).grant
    allowances.start(
        account=ada_account,
        source=Source.PLAN,
        source_key="plan",
        amount=5,
        period=Allowance.Period.MONTH,
        anchor=due - timedelta(days=31),  # its second month begins right then
        now=now,
    )
    captured, lapsing = (
        ledger.hold(account_id=account_id, amount=3, idempotency_key=key, expires_at=until, now=now)
        for key, until in (("captured", due + timedelta(hours=1)), ("lapsing", due))
    )

    jobs: list[Callable[[], Any]] = [
        lambda: ledger.settle(account_id=account_id, now=due),
        lambda: ledger.revoke(
            account_id=account_id,
            grant_source_key=pack.source_key,
            amount=20,
            source_key="r",
            create_debt=False,
            now=due,
        ),
        lambda: ledger.capture(account_id=account_id, hold_id=captured.hold_id, cost=5, now=due),
        lambda: ledger.release(account_id=account_id, hold_id=lapsing.hold_id, now=due),
        *(
            lambda n=n: ledger.spend(account_id=account_id, amount=1, idempotency_key=f"k{n}", now=due)
            for n in range(40)
        ),
    ]
    at_once(jobs)

    assert nothing_disagrees()
    wallet = Wallet.objects.get()
    assert (wallet.balance, wallet.held, wallet.debt) == (0, 0, 0)


def test_concurrent_histories_are_linearizable(db: None, now: datetime) -> None:
    """Linearisable: the answers form one chain of balances, and nobody's answer is older than what he knew already."""
    for history in range(100):
        account = Account.objects.create(name=str(history), created_at=now)
        ledger.grant(account_id=account.pk, amount=60, source=Source.BONUS, source_key="t", now=now)

        def work(
            worker: int, account: Account = account, history: int = history
        ) -> list[tuple[float, float, int, int]]:
            chance = random.Random(f"{history}-{worker}")
            reported = []
            for number in range(4):
                amount, started_at = chance.randint(1, 4), time.monotonic()
                try:
                    spent = ledger.spend(
                        account_id=account.pk, amount=amount, idempotency_key=f"{worker}-{number}", now=now
                    )
                except InsufficientCreditsError:
                    continue
                reported.append((started_at, time.monotonic(), amount, spent.balance_after))
            return reported

        chain = sorted((row for rows in pool_of(8, work) for row in rows), key=lambda row: -row[3])

        balance = 60
        for started_at, _, amount, balance_after in chain:
            balance -= amount
            assert balance_after == balance
            later = chain[chain.index((started_at, _, amount, balance_after)) + 1 :]
            assert all(ended_at > started_at for _, ended_at, *_ in later)


def test_mixed_operations_on_ten_accounts_never_deadlock(db: None, now: datetime) -> None:
    accounts = [Account.objects.create(name=str(number), created_at=now).pk for number in range(10)]
    for account_id in accounts:
        ledger.grant(account_id=account_id, amount=100_000, source=Source.PURCHASE, source_key="start", now=now)

    def work(worker: int) -> int:
        chance = random.Random(worker)
        result = 0
        for number in range(MIXED_OPERATIONS // 8):
            account_id, key = chance.choice(accounts), f"{worker}-{number}"
            try:
                _anything(chance.randrange(8), account_id, key, now)
            except CreditsError:
                continue
            result += 1
        return result

    assert sum(pool_of(8, work)) > 0.9 * MIXED_OPERATIONS
    assert nothing_disagrees()


def _anything(kind: int, account_id: uuid.UUID, key: str, now: datetime) -> None:
    """One operation of a kind: mostly spends, as in life."""
    match kind:
        case 0:
            ledger.grant(account_id=account_id, amount=5, source=Source.BONUS, source_key=key, now=now)
        case 1:
            on_hold = ledger.hold(
                account_id=account_id, amount=4, idempotency_key=key, expires_at=now + timedelta(hours=1), now=now
            )
            ledger.capture(account_id=account_id, hold_id=on_hold.hold_id, cost=2, now=now)
        case 2:
            on_hold = ledger.hold(
                account_id=account_id, amount=4, idempotency_key=key, expires_at=now + timedelta(hours=1), now=now
            )
            ledger.release(account_id=account_id, hold_id=on_hold.hold_id, now=now)
        case 3:
            spent = ledger.spend(account_id=account_id, amount=2, idempotency_key=key, now=now)
            ledger.reverse(
                account_id=account_id,
                transaction_id=spent.transaction_id,
                idempotency_key=f"{key}-undo",
                reason="",
                now=now,
            )
        case _:
            ledger.spend(account_id=account_id, amount=1, idempotency_key=key, now=now)
