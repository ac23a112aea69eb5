"""The audit finds what was changed behind the ledger's back, names it, and says so in its exit code."""

import json
from datetime import datetime, timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from accounts.models import Account
from credits import audit, ledger
from credits.models import Grant, Source, Wallet


@pytest.fixture
def used(ada_account: Account, now: datetime) -> Account:
    """An account with a little of everything in its ledger."""
    soon = now + timedelta(days=1)
    ledger.grant(account_id=ada_account.pk, amount=5, source=Source.BONUS, source_key="b", expires_at=soon, now=now)
    ledger.grant(account_id=ada_account.pk, amount=20, source=Source.PURCHASE, source_key="p", now=now)
    ledger.spend(account_id=ada_account.pk, amount=3, idempotency_key="k", now=now)
    return ada_account


def found() -> set[str]:
    return {check for check in audit.CHECKS if list(audit.disagreements(check=check))}


def test_an_honest_ledger_agrees_with_itself(used: Account) -> None:
    out = StringIO()

    call_command("audit_ledger", stdout=out)

    assert "0 disagreements" in out.getvalue()


@pytest.mark.parametrize(
    ("tampering", "check"),
    [
        ("UPDATE credits_wallet SET balance = balance + 1", "wallet balance and held are the sum of its entries"),
        (
            "UPDATE credits_grant SET remaining = remaining - 1 WHERE source = 'purchase'",
            "grant remaining and held are the sum of its entries",
        ),
        ("UPDATE credits_grant SET amount = amount + 1", "grant starts with an entry of its amount"),
        ("UPDATE credits_transaction SET amount = amount + 1", "transaction amount is the sum of its entries"),
        (
            "UPDATE credits_entry SET account_id = gen_random_uuid()",
            "entry is of the account of its transaction and its grant",
        ),
        ("DELETE FROM credits_wallet", "every account with a ledger has a wallet"),
        ("UPDATE credits_wallet SET next_due_at = NULL", "wallet knows when it is next due"),
    ],
)
def test_what_was_changed_by_hand_is_named(used: Account, tampering: str, check: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(tampering)
        cursor.execute("SET LOCAL session_replication_role = origin")

    assert check in found()


def test_audit_disagreement_is_exit_1_and_a_json_line(used: Account) -> None:
    Wallet.objects.update(balance=17)
    out = StringIO()

    with pytest.raises(CommandError) as caught:
        call_command("audit_ledger", "--json", stdout=out)

    assert caught.value.returncode == 1
    (row,) = [json.loads(line) for line in out.getvalue().splitlines()]
    assert (row["account_id"], row["expected"], row["found"]) == (str(used.pk), 22, 17)


def test_one_account_can_be_audited_by_itself(used: Account, now: datetime) -> None:
    other = Account.objects.create(name="Bob", created_at=now)
    Wallet.objects.create(account=other, balance=3)

    call_command("audit_ledger", "--account", used.public_id, stdout=StringIO())
    with pytest.raises(CommandError, match="1 disagreements"):
        call_command("audit_ledger", "--account", other.public_id, stdout=StringIO())


def test_a_name_that_is_no_account_is_said_so() -> None:
    with pytest.raises(CommandError, match="acc_"):
        call_command("audit_ledger", "--account", "ada")


def test_the_books_can_be_rebuilt_from_entries_alone(used: Account, now: datetime) -> None:
    for number in range(11):
        ledger.spend(account_id=used.pk, amount=2, idempotency_key=f"n{number}", now=now)
    with connection.cursor() as cursor:
        cursor.execute("SELECT grant_id, sum(amount) FROM credits_entry GROUP BY grant_id")
        rebuilt = dict(cursor.fetchall())

    assert rebuilt == dict(Grant.objects.values_list("id", "remaining"))
    assert sum(rebuilt.values()) == Wallet.objects.get(account=used).balance == 0
