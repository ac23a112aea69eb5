"""`manage.py check_schema` finds whatever somebody changed in the database by hand."""

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from console import schema_check
from credits import functions


def test_a_migrated_database_is_as_the_code_has_it(db: None) -> None:
    assert schema_check.differences() == []


CHANGES = {
    "column": "ALTER TABLE billing_order ADD COLUMN note text",
    "default": "ALTER TABLE credits_wallet ALTER COLUMN next_due_at SET NOT NULL",
    "constraint": "ALTER TABLE credits_wallet DROP CONSTRAINT wallet_balance_not_negative",
    "index": "DROP INDEX grant_open_in_order",
    "trigger": "DROP TRIGGER entry_is_append_only ON credits_entry",
    "table": "DROP TABLE usage_usagemark",
    "function": "CREATE FUNCTION credits_returned(uuid, uuid) RETURNS bigint LANGUAGE sql AS 'SELECT 0::bigint'",
}


@pytest.mark.parametrize("statement", CHANGES.values(), ids=CHANGES)
def test_a_change_by_hand_is_found(db: None, statement: str, capsys: pytest.CaptureFixture[str]) -> None:
    with connection.cursor() as cursor:
        if "FUNCTION" in statement:
            cursor.execute("DROP FUNCTION credits_returned")
        cursor.execute(statement)

    with pytest.raises(CommandError, match="differences"):
        call_command("check_schema")
    assert capsys.readouterr().out


def test_a_function_with_other_arguments_is_replaced(db: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute("DROP FUNCTION credits_returned")
        cursor.execute("CREATE FUNCTION credits_returned(p text) RETURNS bigint LANGUAGE sql AS 'SELECT 0::bigint'")
        functions.install(cursor)

    assert schema_check.differences() == []


def test_a_function_with_another_answer_is_replaced(db: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute("DROP FUNCTION credits_returned")
        cursor.execute(
            "CREATE FUNCTION credits_returned(p_account_id uuid, p_transaction_id uuid) RETURNS text"
            " LANGUAGE sql AS 'SELECT null::text'"
        )
        functions.install(cursor)

    assert schema_check.differences() == []
