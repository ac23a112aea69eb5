"""Two roles in the database: the owner, who migrates, and the runtime, whose ledger and audit log can only grow.

Triggers stop accidents. The rights of the runtime role stop the application itself, and whoever takes it over: it may
neither change what was written nor switch the triggers off, since it owns nothing.
"""

from dataclasses import dataclass

from django.db import connection
from psycopg import sql

# What is only ever added to.
APPEND_ONLY = ("credits_transaction", "credits_entry", "credits_seal", "console_auditevent")
# What is never removed, and of which only these columns change: a lot stays what it was when it was granted.
CHANGING = {"credits_grant": ("remaining", "expires_at", "awaited")}
CHANGES = ("UPDATE", "DELETE", "TRUNCATE")


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What the role that this process connects as could do to the append-only tables."""

    role: str
    is_superuser: bool
    owns: list[str]
    may_change: list[str]

    @property
    def is_safe(self) -> bool:
        return not (self.is_superuser or self.owns or self.may_change)


def standing() -> Standing:
    """How the role of this process stands. Raises OperationalError without a database."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_user, rolsuper FROM pg_roles WHERE rolname = current_user")
        role, is_superuser = cursor.fetchone()
        cursor.execute(
            "SELECT c.relname, pg_has_role(current_user, c.relowner, 'MEMBER'),"
            " has_table_privilege(c.oid, 'UPDATE, DELETE, TRUNCATE')"
            " FROM pg_class c WHERE c.oid = ANY (SELECT to_regclass(name) FROM unnest(%s::text[]) name)",
            [list(APPEND_ONLY)],
        )
        rows = cursor.fetchall()
    return Standing(
        role=role,
        is_superuser=is_superuser,
        owns=sorted(name for name, is_owner, _ in rows if is_owner),
        may_change=sorted(name for name, _, may_change in rows if may_change),
    )


def grant_runtime(role: str) -> None:
    """Give the runtime role what it needs, and take from it what it must not have. Called by the owner, repeatable."""
    name = sql.Identifier(role)
    tables = sql.SQL(", ").join(map(sql.Identifier, APPEND_ONLY))
    statements = [
        sql.SQL("GRANT USAGE ON SCHEMA public TO {}").format(name),
        sql.SQL("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {}").format(name),
        sql.SQL("GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO {}").format(name),
        sql.SQL("REVOKE ALL ON {} FROM {}").format(tables, name),
        sql.SQL("GRANT SELECT, INSERT ON {} TO {}").format(tables, name),
        *(
            statement
            for table, columns in CHANGING.items()
            for statement in (
                sql.SQL("REVOKE ALL ON {} FROM {}").format(sql.Identifier(table), name),
                sql.SQL("GRANT SELECT, INSERT ON {} TO {}").format(sql.Identifier(table), name),
                sql.SQL("GRANT UPDATE ({}) ON {} TO {}").format(
                    sql.SQL(", ").join(map(sql.Identifier, columns)), sql.Identifier(table), name
                ),
            )
        ),
        sql.SQL("REVOKE INSERT, UPDATE, DELETE ON django_migrations FROM {}").format(name),
    ]
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement.as_string(cursor.connection))
