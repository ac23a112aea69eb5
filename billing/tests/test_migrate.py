"""The quick way to a new database and dj-stripe's long way end in the same schema."""

import os
import subprocess
import sys
from collections.abc import Iterator
from urllib.parse import urlsplit

import psycopg
import pytest
from django.conf import settings
from django.db import connection

COLUMNS = """
    SELECT table_name, column_name, data_type, character_maximum_length, is_nullable, column_default, is_identity
    FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, 2
"""
# Names of constraints and indexes hold hashes of the migration that made them; what they say is compared.
CONSTRAINTS = """
    SELECT conrelid::regclass::text, contype::text, pg_get_constraintdef(oid)
    FROM pg_constraint WHERE connamespace = 'public'::regnamespace ORDER BY 1, 2, 3
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


def test_the_quick_way_makes_the_same_schema_as_the_long_way(long_way: psycopg.Connection) -> None:
    for query in (COLUMNS, CONSTRAINTS, INDEXES, APPLIED):
        with connection.cursor() as quick:
            quick.execute(query)
            assert set(quick.fetchall()) == set(long_way.execute(query).fetchall())
