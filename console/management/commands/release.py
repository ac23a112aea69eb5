"""manage.py release: what has to happen before the processes of a new version start."""

from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand


class Command(BaseCommand):
    help = (
        "Migrate the database, give DATABASE_RUNTIME_ROLE its rights, gather the static files. Run it with the owner's "
        "address in DATABASE_URL."
    )

    def handle(self, *_arguments: object, **options: Any) -> None:
        call_command("migrate", interactive=False, verbosity=options["verbosity"])
        if settings.DATABASE_RUNTIME_ROLE:
            call_command("grant_runtime_role", settings.DATABASE_RUNTIME_ROLE)
        if settings.STATIC_ROOT:
            call_command("collectstatic", interactive=False, verbosity=options["verbosity"])
