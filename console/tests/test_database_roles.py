"""The role that the application runs as: it can do its work, and change nothing of what the ledger says."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.core import checks
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction

from accounts.models import Account, User
from common import clock
from console import audit_log, database_roles
from credits import audit, ledger, seals
from credits.models import Source, Transaction

ROLE = "tegoed_runtime_of_tests"


@pytest.fixture
def role(db: None) -> str:
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE ROLE {ROLE}")
    call_command("grant_runtime_role", ROLE)
    return ROLE


@contextmanager
def acting_as(role: str) -> Iterator[Any]:
    with connection.cursor() as cursor:
        cursor.execute(f"SET ROLE {role}")
        yield cursor
        cursor.execute("RESET ROLE")


@pytest.fixture
def used(ada_account: Account, now: datetime, role: str) -> Account:
    """An account whose every kind of ledger row was written by the runtime role."""
    account = ada_account.pk
    with acting_as(role):
        ledger.grant(account_id=account, amount=20, source=Source.PURCHASE, source_key="g", now=now)
        spent = ledger.spend(account_id=account, amount=5, idempotency_key="s", now=now)
        ends = now + timedelta(hours=1)
        on_hold = ledger.hold(account_id=account, amount=5, idempotency_key="h", expires_at=ends, now=now)
        ledger.capture(account_id=account, hold_id=on_hold.hold_id, cost=3, now=now)
        other = ledger.hold(account_id=account, amount=5, idempotency_key="h2", expires_at=ends, now=now)
        ledger.release(account_id=account, hold_id=other.hold_id, now=now)
        ledger.reverse(
            account_id=account, transaction_id=spent.transaction_id, idempotency_key="r", reason="r", now=now
        )
        ledger.adjust(account_id=account, idempotency_key="a", reason="r", actor="t", take=1, now=now)
        ledger.revoke(account_id=account, grant_source_key="g", amount=2, source_key="v", create_debt=False, now=now)
        seals.seal(now=now)
    return ada_account


def test_it_does_everything_that_the_ledger_does(used: Account, role: str, ada: User) -> None:
    with acting_as(role):
        audit_log.record(key="k", action="note", operator=ada, now=clock.now())
        assert list(audit.all_disagreements()) == []
        assert list(seals.breaches()) == []
    assert Transaction.objects.filter(account=used).count() == 6


@pytest.mark.parametrize("table", database_roles.APPEND_ONLY)
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE {} SET ctid = ctid",
        "DELETE FROM {}",
        "TRUNCATE {}",
        "ALTER TABLE {} DISABLE TRIGGER ALL",
        "DROP TABLE {}",
        "ALTER TABLE {} OWNER TO " + ROLE,
        "CREATE TRIGGER mine BEFORE INSERT ON {} FOR EACH ROW EXECUTE FUNCTION credits_refuse_change()",
        "LOCK TABLE {} IN ACCESS EXCLUSIVE MODE",
    ],
)
def test_it_changes_nothing_that_was_written(used: Account, role: str, table: str, statement: str) -> None:
    text = statement.format(table).replace("ctid = ctid", "id = id" if table != "credits_entry" else "amount = amount")
    text = text.replace("id = id", "number = number") if table == "credits_seal" else text
    with acting_as(role), pytest.raises(DatabaseError, match=r"permission denied|must be owner"), transaction.atomic():
        connection.cursor().execute(text)


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE OR REPLACE FUNCTION credits_refuse_change() RETURNS trigger LANGUAGE sql AS 'SELECT 1'",
        "SET session_replication_role = replica",
        "CREATE ROLE mine SUPERUSER",
        "INSERT INTO django_migrations (app, name, applied) VALUES ('x', 'y', now())",
    ],
)
def test_it_cannot_help_itself(role: str, statement: str) -> None:
    with acting_as(role), pytest.raises(DatabaseError), transaction.atomic():
        connection.cursor().execute(statement)


def test_deploy_check_rejects_owner_and_accepts_runtime_role(role: str) -> None:
    def result() -> list[str]:
        return [message.id for message in checks.run_checks(include_deployment_checks=True) if message.id]

    assert "console.E001" in result()
    with acting_as(role) as cursor:
        assert "console.E001" not in result()
        assert database_roles.standing().is_safe
        cursor.execute("RESET ROLE")
        cursor.execute(f"GRANT UPDATE ON credits_entry TO {ROLE}")
        cursor.execute(f"SET ROLE {ROLE}")
        assert database_roles.standing().may_change == ["credits_entry"]


def test_a_role_that_is_not_there_is_named(db: None) -> None:
    with pytest.raises(CommandError, match="nobody_here"), transaction.atomic():
        call_command("grant_runtime_role", "nobody_here")


def test_the_switch_for_buyers_is_shown(settings: Any, db: None) -> None:
    settings.BUYERS_MAY_UNDO = True
    assert "console.W002" in [message.id for message in checks.run_checks(include_deployment_checks=True)]
