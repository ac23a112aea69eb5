"""Statements that every request sends: prepared once a connection. (Django's cursor has each parsed every time.)"""

from collections.abc import Sequence
from typing import Any

import psycopg
from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, connections
from psycopg.rows import dict_row

from common.json_types import JsonObject


def fetch_one(statement: str, arguments: Sequence[Any]) -> JsonObject | None:
    """The first row that a statement answers, in one round trip, on Django's own connection. Raises Django's errors."""
    database = connections[DEFAULT_DB_ALIAS]
    database.validate_no_broken_transaction()
    database.close_if_health_check_failed()
    database.ensure_connection()
    with database.wrap_database_errors, psycopg.Cursor(database.connection, row_factory=dict_row) as cursor:
        cursor.execute(statement, arguments, prepare=settings.PREPARE_STATEMENTS, binary=True)
        row: JsonObject | None = cursor.fetchone()
    return row
