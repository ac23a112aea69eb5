"""The quick way to a new database and dj-stripe's long way end in the same schema.

The long way takes a minute and a half, and depends on nothing but dj-stripe's release: what it makes is kept here as a
digest for each table, and recreated every night (FULL_HISTORY=1).
"""

import hashlib
import json
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from django.conf import settings
from django.db import connection

KNOWN = Path(__file__).with_name("djstripe_schema.json")

COLUMNS = """
    SELECT table_name, column_name, data_type, character_maximum_length, is_nullable, column_default, is_identity
    FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, 2
"""
# Names of constraints and indexes hold hashes of the migration that made them; what they say is compared.
CONSTRAINTS = """
    SELECT conrelid::regclass::text, contype::text, pg_get_constraintdef(oid)
    FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND contype <> 'n' ORDER BY 1, 2, 3
"""
INDEXES = """
    SELECT tablename, regexp_replace(indexdef, 'INDEX \\S+ ON', 'INDEX ON')
    FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1, 2
"""
APPLIED = "SELECT app, name FROM django_migrations ORDER BY 1, 2"


@pytest.fixture
def long_way(db: None) -> Iterator[psycopg.Connection]:
    """A second database, migrated through dj-stripe's whole history."""
    url = urlsplit(settings.DATABASE_URL)
    name = f"{connection.settings_dict['NAME']}_long"
    other = url._replace(path=f"/{name}").geturl()
    with psycopg.connect(settings.DATABASE_URL, autocommit=True) as server:
        server.execute(f'DROP DATABASE IF EXISTS "{name}"')
        server.execute(f'CREATE DATABASE "{name}"')
        try:
            environment = os.environ | {"DATABASE_URL": other}
            subprocess.run(
                [sys.executable, "manage.py", "migrate", "--full-history", "--verbosity", "0"],
                env=environment,
                cwd=settings.BASE_DIR,
                check=True,
            )
            with psycopg.connect(other) as slow:
                yield slow
        finally:
            server.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def digests(cursor: Any) -> dict[str, str]:
    """What dj-stripe's tables are, as a digest of each."""
    reported: dict[str, list[str]] = defaultdict(list)
    for query in (COLUMNS, CONSTRAINTS, INDEXES):
        cursor.execute(query)
        for row in cursor.fetchall():
            reported[row[0]].append(repr(tuple(row)))
    return {
        table: hashlib.sha256("\n".join(sorted(rows)).encode()).hexdigest()[:16]
        for table, rows in sorted(reported.items())
        if table.startswith("djstripe_")
    }


def test_the_quick_way_makes_what_the_long_way_made(db: None) -> None:
    known = json.loads(KNOWN.read_text())
    with connection.cursor() as cursor:
        quick = digests(cursor)
        cursor.execute(APPLIED)
        applied = [name for app, name in cursor.fetchall() if app == "djstripe"]

    again = f"dj-stripe is another release than that of {KNOWN.name}: run with FULL_HISTORY=1, which writes it anew"
    assert known["release"] == version("dj-stripe"), again
    assert (quick, applied) == (known["tables"], known["applied"])


if os.environ.get("FULL_HISTORY"):

    def test_the_quick_way_makes_the_same_schema_as_the_long_way(long_way: psycopg.Connection) -> None:
        for query in (COLUMNS, CONSTRAINTS, INDEXES, APPLIED):
            with connection.cursor() as quick:
                quick.execute(query)
                assert set(quick.fetchall()) == set(long_way.execute(query).fetchall())
        applied = [name for app, name in long_way.execute(APPLIED).fetchall() if app == "djstripe"]
        tables = digests(long_way.cursor())
        reported = {"release": version("dj-stripe"), "applied": applied, "tables": tables}
        KNOWN.write_text(json.dumps(reported, indent=1) + "\n")
