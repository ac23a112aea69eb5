"""Spending: exact, in order, once per key."""

from datetime import datetime, timedelta

import pytest
from django.db import connection

from accounts.models import Account
from credits import ledger, selectors
from credits.errors import InsufficientCreditsError, InvalidAmountError, KeyReusedError, SpendingFrozenError
from credits.models import Entry, Grant, Source, Transaction, Wallet


def give(account: Account, amount: int, now: datetime, source: Source = Source.PURCHASE, **fields: object) -> Grant:
    key = f"test:{Grant.objects.count()}"
    return ledger.grant(account_id=account.pk, amount=amount, source=source, source_key=key, now=now, **fields).grant


def spend(account: Account, amount: int, now: datetime, key: str = "job-1", **fields: object) -> ledger.SpendResult:
    return ledger.spend(account_id=account.pk, amount=amount, idempotency_key=key, now=now, **fields)


def test_a_spend_takes_what_it_costs(ada_account: Account, now: datetime) -> None:
    give(ada_account, 10, now)

    spent = spend(ada_account, 3, now, description="A poem")

    assert (spent.amount, spent.balance_after, spent.is_replayed) == (-3, 7, False)
    row = Transaction.objects.get(pk=spent.transaction_id)
    assert (row.kind, row.amount, row.balance_after, row.description) == ("spend", -3, 7, "A poem")
    assert Wallet.objects.get(account=ada_account).balance == 7


def test_spending_more_than_there_is_changes_nothing(ada_account: Account, now: datetime) -> None:
    give(ada_account, 10, now)

    with pytest.raises(InsufficientCreditsError) as caught:
        spend(ada_account, 11, now)

    assert (caught.value.required, caught.value.available) == (11, 10)
    assert Wallet.objects.get(account=ada_account).balance == 10
    assert Transaction.objects.filter(kind="spend").count() == 0


def test_spending_order_is_priority_then_soonest_expiry(ada_account: Account, now: datetime) -> None:
    bought = give(ada_account, 5, now)
    later = give(ada_account, 5, now, Source.PLAN, expires_at=now + timedelta(days=30))
    sooner = give(ada_account, 5, now, Source.PLAN, expires_at=now + timedelta(days=3))
    free = give(ada_account, 2, now, Source.FREE)

    spent = spend(ada_account, 13, now)

    assert [(lot.grant_id, lot.amount) for lot in spent.lots] == [
        (free.pk, 2),
        (sooner.pk, 5),
        (later.pk, 5),
        (bought.pk, 1),
    ]


def test_of_equal_grants_the_oldest_is_spent_first(ada_account: Account, now: datetime) -> None:
    newer = give(ada_account, 5, now)
    older = give(ada_account, 5, now - timedelta(days=1))

    assert [lot.grant_id for lot in spend(ada_account, 6, now).lots] == [older.pk, newer.pk]


def test_a_repeated_key_gets_the_first_answer(ada_account: Account, now: datetime) -> None:
    give(ada_account, 2, now, Source.FREE)
    give(ada_account, 10, now)
    first = spend(ada_account, 3, now)

    second = spend(ada_account, 3, now + timedelta(minutes=5))

    assert second.is_replayed
    assert (second.transaction_id, second.balance_after, second.created_at) == (first.transaction_id, 9, now)
    assert second.lots == first.lots
    assert Wallet.objects.get(account=ada_account).balance == 9


def test_a_key_of_another_request_is_refused(ada_account: Account, now: datetime) -> None:
    give(ada_account, 10, now)
    spend(ada_account, 3, now)

    with pytest.raises(KeyReusedError):
        spend(ada_account, 4, now)

    assert Wallet.objects.get(account=ada_account).balance == 7


def test_a_refusal_keeps_its_key_free(ada_account: Account, now: datetime) -> None:
    with pytest.raises(InsufficientCreditsError):
        spend(ada_account, 3, now)
    give(ada_account, 10, now)

    assert not spend(ada_account, 3, now).is_replayed


def test_a_feature_whose_price_changed_still_replays(ada_account: Account, now: datetime) -> None:
    give(ada_account, 10, now)
    first = spend(ada_account, 1, now, feature="message", quantity=1)

    again = spend(ada_account, 2, now, feature="message", quantity=1)

    assert again.is_replayed
    assert again.transaction_id == first.transaction_id


def test_expired_credits_cannot_be_spent_though_no_job_has_run(ada_account: Account, now: datetime) -> None:
    give(ada_account, 10, now, expires_at=now + timedelta(hours=1))

    with pytest.raises(InsufficientCreditsError) as caught:
        spend(ada_account, 1, now + timedelta(hours=1))

    assert caught.value.available == 0
    assert Transaction.objects.get(kind="expire").amount == -10


def test_a_frozen_account_spends_nothing(ada_account: Account, now: datetime) -> None:
    give(ada_account, 10, now)
    Wallet.objects.filter(account=ada_account).update(frozen_at=now)

    with pytest.raises(SpendingFrozenError):
        spend(ada_account, 1, now)

    assert Wallet.objects.get(account=ada_account).balance == 10


@pytest.mark.parametrize("amount", [0, -1, 1.5, "1", True, None, 2**53 + 1])
def test_an_amount_is_a_positive_whole_number(ada_account: Account, now: datetime, amount: object) -> None:
    with pytest.raises(InvalidAmountError):
        spend(ada_account, amount, now)  # type: ignore[arg-type]


def test_a_grant_is_given_once_per_source_key(ada_account: Account, now: datetime) -> None:
    terms = {"account_id": ada_account.pk, "amount": 20, "source": Source.PURCHASE, "source_key": "stripe:session:cs_1"}
    first = ledger.grant(**terms, now=now)

    second = ledger.grant(**terms, now=now + timedelta(days=1))

    assert second.is_replayed
    assert second.grant.pk == first.grant.pk
    assert second.transaction == first.transaction
    assert Wallet.objects.get(account=ada_account).balance == 20


def test_a_balance_beyond_what_json_keeps_exactly_is_refused(ada_account: Account, now: datetime) -> None:
    give(ada_account, 2**53 - 1, now)

    with pytest.raises(InvalidAmountError):
        give(ada_account, 2, now)

    assert Wallet.objects.get(account=ada_account).balance == 2**53 - 1


def test_the_balance_names_its_buckets(ada_account: Account, now: datetime) -> None:
    give(ada_account, 5, now)
    give(ada_account, 3, now, Source.BONUS)
    give(ada_account, 2, now, Source.PLAN, expires_at=now + timedelta(days=9))

    balance = selectors.balance(account_id=ada_account.pk, now=now)

    assert balance.available == 10
    assert {bucket.kind: bucket.remaining for bucket in balance.buckets} == {"purchased": 5, "promo": 3, "grant": 2}


def test_a_spend_of_settled_credits_is_one_round_trip(
    ada_account: Account, now: datetime, round_trips: list[str]
) -> None:
    give(ada_account, 10, now)
    round_trips.clear()

    spend(ada_account, 1, now)

    assert len(round_trips) == 1


def test_the_function_refuses_what_is_not_positive(ada_account: Account, now: datetime) -> None:
    give(ada_account, 10, now)

    with connection.cursor() as cursor, pytest.raises(Exception, match="positive amount"):
        cursor.execute(
            "SELECT * FROM credits_spend(%s, gen_random_uuid(), -5, 'k', '', '', NULL, '', '{}', '', %s, NULL, 'x')",
            [ada_account.pk, now],
        )


def test_entries_add_up_to_their_transaction(ada_account: Account, now: datetime) -> None:
    give(ada_account, 2, now, Source.FREE)
    give(ada_account, 5, now)

    spent = spend(ada_account, 4, now)

    assert sum(Entry.objects.filter(transaction_id=spent.transaction_id).values_list("amount", flat=True)) == -4


def test_the_order_of_metadata_is_not_part_of_a_request(ada_account: Account, now: datetime) -> None:
    give(ada_account, 10, now)
    first = spend(ada_account, 1, now, metadata={"a": 1, "b": 2})

    assert spend(ada_account, 1, now, metadata={"b": 2, "a": 1}).is_replayed
    assert Transaction.objects.get(pk=first.transaction_id).metadata == {"a": 1, "b": 2}


def test_a_single_credit_can_be_granted(ada_account: Account, now: datetime) -> None:
    assert give(ada_account, 1, now).remaining == 1


def test_the_largest_balance_can_be_reached(ada_account: Account, now: datetime) -> None:
    give(ada_account, 2**53 - 1, now)
    give(ada_account, 1, now)

    assert Wallet.objects.get(account=ada_account).balance == 2**53
