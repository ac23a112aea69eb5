"""The ledger's rows are facts: the database itself refuses to change them."""

from datetime import datetime

import pytest
from django.db import DatabaseError, connection, transaction

from accounts.models import Account
from credits import ledger
from credits.models import Entry, Source, Transaction


@pytest.mark.parametrize("table", ["credits_transaction", "credits_entry"])
@pytest.mark.parametrize("change", ["UPDATE {} SET amount = 1000", "DELETE FROM {}", "TRUNCATE {} CASCADE"])
def test_a_change_is_refused(ada_account: Account, now: datetime, table: str, change: str) -> None:
    ledger.grant(account_id=ada_account.pk, amount=5, source=Source.BONUS, source_key="t", now=now)

    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")  # or TRUNCATE is refused for another reason

    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(change.format(table))

    assert list(Transaction.objects.values_list("amount", flat=True)) == [5]
    assert list(Entry.objects.values_list("amount", flat=True)) == [5]


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE credits_wallet SET balance = -1",
        "UPDATE credits_grant SET remaining = -1",
        "UPDATE credits_grant SET remaining = amount + 1",
        "UPDATE credits_grant SET paid_minor = 5, currency = ''",
    ],
)
def test_an_impossible_number_is_refused(ada_account: Account, now: datetime, change: str) -> None:
    ledger.grant(account_id=ada_account.pk, amount=5, source=Source.BONUS, source_key="t", now=now)

    with pytest.raises(DatabaseError, match="violates check constraint"), transaction.atomic():
        connection.cursor().execute(change)
