"""manage.py migrate, but quick on a new database.

dj-stripe's history removes some five hundred fields one by one, which costs 40 seconds of CPU. Where none of its
tables exist yet there is nothing to convert: they are made as its latest models have them, and its migrations are
recorded as applied. `--full-history` takes the long way; a test holds both ways to the same schema.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from django.apps import apps
from django.core.management.base import CommandParser
from django.core.management.commands import migrate
from django.db import connections, migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ModelState, ProjectState

APP = "djstripe"


class CreateLatestModels(Operation):
    """Make all of an app's tables as its models are now."""

    reversible = False

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
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

    def handle(self, *args: Any, **options: Any) -> None:
        is_new = not _has_history(options["database"])
        if options.pop("full_history", False) or not is_new:
            super().handle(*args, **options)
            return
        with _history_cut_short():
            super().handle(*args, **options)


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
        yield
    finally:
        for migration, operations in zip(classes, originals, strict=True):
            migration.operations = operations
