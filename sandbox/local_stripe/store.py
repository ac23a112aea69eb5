"""The local Stripe's objects: in memory, and in one SQLite file so that a restart finds them again."""

import copy
import json
import secrets
import sqlite3
import string
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from common.json_types import JsonObject

LETTERS = string.ascii_letters + string.digits
ID_LETTERS = 24

# Kinds of rows that are the local Stripe's own, and no object of the API.
DELIVERY = "_delivery"
IDEMPOTENCY = "_idempotency"
DUE = "_due"


class Store:
    """Objects by kind and id, in the order of their making."""

    def __init__(self, path: Path | None = None) -> None:
        self._rows: dict[str, dict[str, JsonObject]] = {}
        self._changed: dict[tuple[str, str], bool] = {}
        self._file: sqlite3.Connection | None = None
        if path is not None:
            self._file = sqlite3.connect(path, check_same_thread=False)
            self._file.execute(
                "CREATE TABLE IF NOT EXISTS objects "
                "(number INTEGER PRIMARY KEY, kind TEXT, id TEXT, body TEXT, UNIQUE (kind, id))"
            )
            for kind, identifier, body in self._file.execute("SELECT kind, id, body FROM objects ORDER BY number"):
                self._rows.setdefault(kind, {})[identifier] = json.loads(body)

    def put(self, kind: str, identifier: str, row: JsonObject) -> JsonObject:
        """Keep a row, new or changed."""
        self._rows.setdefault(kind, {})[identifier] = row
        self._changed[kind, identifier] = True
        return row

    def remove(self, kind: str, identifier: str) -> None:
        self._rows.get(kind, {}).pop(identifier, None)
        self._changed[kind, identifier] = False

    def get(self, kind: str, identifier: str) -> JsonObject | None:
        return self._rows.get(kind, {}).get(identifier)

    def all(self, kind: str) -> Iterator[JsonObject]:
        """Rows of one kind, oldest first."""
        return iter(list(self._rows.get(kind, {}).values()))

    def find(self, identifier: str) -> JsonObject | None:
        """The object with this id, of whatever kind."""
        return next((rows[identifier] for rows in self._rows.values() if identifier in rows), None)

    @contextmanager
    def rehearsal(self) -> Iterator[None]:
        """What is done inside is taken back at its end."""
        rows, changed = copy.deepcopy(self._rows), dict(self._changed)
        try:
            yield
        finally:
            self._rows, self._changed = rows, changed

    def save(self) -> None:
        """Write what has changed to the file."""
        if self._file is not None and self._changed:
            with self._file:
                for (kind, identifier), is_kept in self._changed.items():
                    if is_kept:
                        body = json.dumps(self._rows[kind][identifier])
                        self._file.execute(
                            "INSERT INTO objects (kind, id, body) VALUES (?, ?, ?) "
                            "ON CONFLICT (kind, id) DO UPDATE SET body = excluded.body",
                            (kind, identifier, body),
                        )
                    else:
                        self._file.execute("DELETE FROM objects WHERE kind = ? AND id = ?", (kind, identifier))
        self._changed.clear()


def new_id(prefix: str) -> str:
    """An id as Stripe makes them: a prefix and random letters."""
    return f"{prefix}_{''.join(secrets.choice(LETTERS) for _ in range(ID_LETTERS))}"
