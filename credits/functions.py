"""The ledger's functions in the database: one file each in credits/sql, installed by one operation of a migration."""

from pathlib import Path

import psycopg.errors
from django.db import ProgrammingError
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.backends.utils import CursorWrapper
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

from credits import spending_order

# At so many percent of a spending limit, who set it is warned.
WARN_AT = (50, 80, 100)

FOLDER = Path(__file__).resolve().parent / "sql"
OVERLOADS = (
    "SELECT oid::regprocedure::text FROM pg_proc WHERE proname = %s AND pronamespace = current_schema::regnamespace"
)


def definitions() -> dict[str, str]:
    """Each function's name and the statement that creates it."""
    return {
        f"credits_{path.stem}": path.read_text()
        .replace("{draw_order}", spending_order.SQL)
        .replace("{warn_at}", "{" + ", ".join(map(str, WARN_AT)) + "}")
        for path in sorted(FOLDER.glob("*.sql"))
    }


def install(cursor: CursorWrapper) -> None:
    """Create each function as its file says, and drop those of the same name with other arguments or another answer."""
    for name, statement in definitions().items():
        earlier = _overloads(cursor, name)
        cursor.execute("SAVEPOINT install_function")
        try:
            cursor.execute(statement)
        except ProgrammingError as error:
            if not isinstance(error.__cause__, psycopg.errors.InvalidFunctionDefinition):
                raise
            cursor.execute("ROLLBACK TO SAVEPOINT install_function")
            _drop(cursor, earlier)
            cursor.execute(statement)
        else:
            if _overloads(cursor, name) > earlier:
                _drop(cursor, earlier)
        cursor.execute("RELEASE SAVEPOINT install_function")


def _overloads(cursor: CursorWrapper, name: str) -> set[str]:
    cursor.execute(OVERLOADS, [name])
    return {signature for (signature,) in cursor.fetchall()}


def _drop(cursor: CursorWrapper, signatures: set[str]) -> None:
    for signature in signatures:
        cursor.execute(f"DROP FUNCTION {signature}")


class InstallFunctions(Operation):
    """The last operation of every migration that comes with a changed function, or changes a table that one returns."""

    reversible = True
    reduces_to_sql = False

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        """The models stay as they are."""

    def database_forwards(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        with schema_editor.connection.cursor() as cursor:
            install(cursor)

    def database_backwards(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        """The functions go with their tables: going back to an earlier release is restoring its backup."""

    def describe(self) -> str:
        return "Install the ledger's functions"


class MakeAppendOnly(Operation):
    """Rows of a model can only be added: the database refuses UPDATE, DELETE and TRUNCATE."""

    reversible = True
    reduces_to_sql = False

    def __init__(self, model: str, name: str) -> None:
        """`name` begins the names of the two triggers."""
        self.model, self.name = model, name

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        """The model stays as it is."""

    def database_forwards(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        table = to_state.apps.get_model(app_label, self.model)._meta.db_table
        for statement in self.creates(table).values():
            schema_editor.execute(statement)

    def database_backwards(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        table = from_state.apps.get_model(app_label, self.model)._meta.db_table
        for trigger in self.creates(table):
            schema_editor.execute(f"DROP TRIGGER {trigger} ON {table}")

    def describe(self) -> str:
        return f"Make {self.model} append-only"

    def creates(self, table: str) -> dict[str, str]:
        """The names of the triggers, and the statements that create them."""
        events = {
            f"{self.name}_is_append_only": f"BEFORE UPDATE OR DELETE ON {table} FOR EACH ROW",
            f"{self.name}_is_not_truncated": f"BEFORE TRUNCATE ON {table} FOR EACH STATEMENT",
        }
        return {
            trigger: f"CREATE TRIGGER {trigger} {event} EXECUTE FUNCTION credits_refuse_change()"
            for trigger, event in events.items()
        }
