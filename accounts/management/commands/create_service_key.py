"""manage.py create_service_key NAME: a key for an app's backend, made by whoever may use this server's shell."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts import keys
from accounts.models import Scope
from common import clock


class Command(BaseCommand):
    help = (
        "Make a service key and print its secret, this once. A key that is made here grants credits without a second "
        "person's approval; one that is made in the console needs it."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="what it is for, e.g. 'Chat backend'")
        parser.add_argument(
            "--scope",
            action="append",
            dest="scopes",
            choices=Scope.values,
            help="what it may do; repeat it for several (default: everything but granting)",
        )
        parser.add_argument(
            "--grants-per-day",
            type=int,
            help="credits that it may grant in a day (default: SERVICE_KEY_GRANTS_PER_DAY)",
        )

    def handle(self, *_arguments: object, **options: Any) -> None:
        scopes = options["scopes"] or [scope for scope in keys.SERVICE_KEY_SCOPES if scope != Scope.CREDITS_GRANT]
        if options["grants_per_day"] is not None and options["grants_per_day"] < 0:
            raise CommandError("--grants-per-day is a number of credits, 0 or more.")
        created = keys.create_key(
            account=None,
            name=options["name"][:80],
            scopes=scopes,
            created_by=None,
            grants_per_day=options["grants_per_day"],
            now=clock.now(),
        )
        self.stdout.write(created.secret)
