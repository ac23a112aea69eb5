"""manage.py check_schema: whether the database is as the code believes."""

from django.core.management.base import BaseCommand, CommandError

from console import schema_check


class Command(BaseCommand):
    help = "Compare the database's tables, constraints, indexes, functions and triggers with the code. Changes nothing."

    def handle(self, *_arguments: object, **_options: object) -> None:
        result = schema_check.differences()
        for difference in result:
            self.stdout.write(difference)
        if result:
            raise CommandError(f"{len(result)} differences. Has `manage.py release` run for this version?")
        self.stdout.write("The database is as this version has it.")
