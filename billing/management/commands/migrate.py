"""manage.py migrate, but quick on a new database.

dj-stripe's history removes some five hundred fields one by one, which costs 40 seconds of CPU. Where none of its
tables exist yet there is nothing to convert: they are made as its latest models have them, and its migrations are
recorded as applied. `--full-history` takes the long way; a test holds both ways to the same schema.

On a database in use, a migration that waits for a table makes everybody behind it wait as well. So it waits half as
long as those do before they give up (LOCK_TIMEOUT_MS), steps aside, and tries again. An index may take its time.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import psycopg.errors
from django.apps import apps
from django.conf import settings
from django.core.management.base import CommandParser
from django.core.management.commands import migrate
from django.db import OperationalError, connections, migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ModelState, ProjectState

APP = "djstripe"
LOCK_TRIES = 30
LOCK_PAUSE_S = 1


class CreateLatestModels(Operation):
    """Make all of an app's tables as its models are now."""

    reversible = False

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        state.__dict__.pop("apps", None)  # recreated once, when it is asked for, and not after each model
        for model in apps.get_app_config(app_label).get_models():
            state.add_model(ModelState.from_model(model))

    def database_forwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        for model in apps.get_app_config(app_label).get_models():
            schema_editor.create_model(to_state.apps.get_model(app_label, model.__name__))

    def describe(self) -> str:
        return "Create the tables of the latest models"


class Command(migrate.Command):
    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--full-history",
            action="store_true",
            help="Run dj-stripe's whole history on a new database too (40 s of CPU for the same tables).",
        )

    def handle(self, *args: object, **options: Any) -> None:
        is_new = not _has_history(options["database"])
        with connections[options["database"]].cursor() as cursor:
            cursor.execute(f"SET statement_timeout = 0; SET lock_timeout = {settings.LOCK_TIMEOUT_MS // 2}")
        if options.pop("full_history", False) or not is_new:
            self._handle_without_waiting(*args, **options)
            return
        with _history_cut_short():
            super().handle(*args, **options)

    def _handle_without_waiting(self, *args: Any, **options: Any) -> None:
        """Migrate; where a lock cannot be had at once, let the others through and try again."""
        for left in reversed(range(LOCK_TRIES)):
            try:
                super().handle(*args, **options)
            except OperationalError as error:
                if not left or not isinstance(error.__cause__, psycopg.errors.LockNotAvailable):
                    raise
                self.stderr.write(f"A table is in use. Trying again in {LOCK_PAUSE_S} s ({left} more).")
                time.sleep(LOCK_PAUSE_S)
            else:
                return


def _has_history(database: str) -> bool:
    loader = MigrationLoader(connections[database])
    return any(app == APP for app, _ in loader.applied_migrations)


@contextmanager
def _history_cut_short() -> Iterator[None]:
    """dj-stripe's first migration makes everything, the later ones nothing."""
    names = sorted(name for app, name in MigrationLoader(None).disk_migrations if app == APP)
    classes: list[type[migrations.Migration]] = [import_module(f"{APP}.migrations.{name}").Migration for name in names]
    originals = [migration.operations for migration in classes]
    try:
        for number, migration in enumerate(classes):
            migration.operations = [CreateLatestModels()] if number == 0 else []
        with _made_last():
            yield
    finally:
        for migration, operations in zip(classes, originals, strict=True):
            migration.operations = operations


@contextmanager
def _made_last() -> Iterator[None]:
    """Its models come after all others: while they are there, Django makes them anew for each change of ours."""
    in_order = MigrationExecutor.migration_plan

    def last(executor: MigrationExecutor, *args: Any, **options: Any) -> list[tuple[migrations.Migration, bool]]:
        steps = in_order(executor, *args, **options)
        mine = [step for step in steps if step[0].app_label == APP]
        others = [step for step in steps if step[0].app_label != APP]
        is_needed = any(app == APP for step, _ in others for app, _ in step.dependencies)
        return steps if is_needed else others + mine

    MigrationExecutor.migration_plan = last  # type: ignore[method-assign,assignment]  # put back afterwards
    try:
        yield
    finally:
        MigrationExecutor.migration_plan = in_order  # type: ignore[method-assign]  # put back afterwards
