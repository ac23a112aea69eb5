"""Does the database have the schema that the code believes it has? Tables, constraints, indexes, functions, triggers.

The models, the ledger's functions and its append-only triggers are made once more in a schema of their own, inside a
transaction that is rolled back; both schemas are then compared by what PostgreSQL says of them.
"""

from collections.abc import Iterator

from django.apps import apps
from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper
from django.db.migrations.loader import MigrationLoader

from credits import functions

APPS = ("accounts", "outbox", "credits", "usage", "billing", "console")
SCRATCH = "tegoed_schema_check"

# Names of indexes and constraints may hold hashes of the migration that made them: what they say is compared. Columns
# have no order.
QUERIES = {
    "column": """
        SELECT table_name, column_name || ' ' || concat_ws(' ', udt_name, character_maximum_length, is_nullable,
            column_default, is_identity, generation_expression)
        FROM information_schema.columns WHERE table_schema = current_schema""",
    "constraint": """
        SELECT conrelid::regclass::text, pg_get_constraintdef(oid) FROM pg_constraint
        WHERE connamespace = current_schema::regnamespace AND contype IN ('c', 'f', 'p', 'u') AND conrelid <> 0""",
    "index": """
        SELECT tablename, regexp_replace(indexdef, 'INDEX \\S+ ON (ONLY )?\\S+', 'INDEX ON') FROM pg_indexes
        WHERE schemaname = current_schema""",
    "trigger": """
        SELECT tgrelid::regclass::text, regexp_replace(pg_get_triggerdef(t.oid), ' ON \\S+ ', ' ') FROM pg_trigger t
        JOIN pg_class c ON c.oid = tgrelid
        WHERE NOT tgisinternal AND relnamespace = current_schema::regnamespace""",
    "function": """
        SELECT proname, pg_get_function_identity_arguments(oid) || ' ' || pg_get_function_result(oid) || prosrc
        FROM pg_proc WHERE pronamespace = current_schema::regnamespace AND proname LIKE 'credits\\_%'""",
}


def differences() -> list[str]:
    """What the database has and the code does not, or the other way round; a sentence each."""
    with transaction.atomic(), connection.cursor() as cursor:
        actual = _found(cursor)
        cursor.execute(f"CREATE SCHEMA {SCRATCH}")
        cursor.execute(f"SET LOCAL search_path TO {SCRATCH}, public")
        _make_everything(cursor)
        expected = _found(cursor)
        transaction.set_rollback(True)
    missing = [f"{name} lacks a {kind}: {text}" for kind, name, text in sorted(expected - actual)]
    return missing + [f"{name} has an unknown {kind}: {text}" for kind, name, text in sorted(actual - expected)]


def _make_everything(cursor: CursorWrapper) -> None:
    with connection.schema_editor(atomic=False) as editor:
        for app in APPS:
            for model in apps.get_app_config(app).get_models():
                editor.create_model(model)
        functions.install(cursor)
        for app, operation in _append_only():
            table = apps.get_model(app, operation.model)._meta.db_table
            for statement in operation.creates(table).values():
                editor.execute(statement)


def _append_only() -> Iterator[tuple[str, functions.MakeAppendOnly]]:
    for (app, _name), migration in MigrationLoader(None).disk_migrations.items():
        for operation in migration.operations:
            if isinstance(operation, functions.MakeAppendOnly):
                yield app, operation


def _found(cursor: CursorWrapper) -> set[tuple[str, str, str]]:
    """Everything of ours in the current schema: its kind, its table or name, and what PostgreSQL says of it."""
    result = set()
    for kind, query in QUERIES.items():
        cursor.execute(query)
        result |= {(kind, name, " ".join(text.split())) for name, text in cursor.fetchall() if _is_ours(name)}
    return result


def _is_ours(name: str) -> bool:
    return name.startswith(tuple(f"{app}_" for app in APPS))
