"""manage.py grant_runtime_role ROLE: what the application's own role may do, after a migration."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import ProgrammingError

from console import database_roles


class Command(BaseCommand):
    help = (
        "Give a database role what the running application needs: everything but changing or removing rows of the "
        "ledger and the audit log. Run it as the owner of the tables, after each migration."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("role", help="the role that DATABASE_URL names for web, workers and beat")

    def handle(self, *_arguments: object, **options: Any) -> None:
        try:
            database_roles.grant_runtime(options["role"])
        except ProgrammingError as error:
            raise CommandError(str(error).strip()) from error
        self.stdout.write(f"{options['role']} may add to the ledger and the audit log, and change neither.")
