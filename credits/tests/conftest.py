"""Fixtures for the ledger's tests."""

from typing import Any

import psycopg
import pytest


@pytest.fixture
def round_trips(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every statement that is sent to the database from here on, whichever cursor sends it."""
    sent: list[str] = []
    for kind in (psycopg.Cursor, psycopg.ClientCursor):
        execute = kind.execute

        def counted(self: Any, query: Any, *arguments: Any, _execute: Any = execute, **how: Any) -> Any:
            sent.append(str(query))
            return _execute(self, query, *arguments, **how)

        monkeypatch.setattr(kind, "execute", counted)
    return sent
