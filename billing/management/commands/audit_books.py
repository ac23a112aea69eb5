"""manage.py audit_books: is everything that was paid earned, owed, given back or tax? Exit 1 with what is not."""

import json
from argparse import ArgumentParser
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from billing.payments import books
from common import clock


class Command(BaseCommand):
    help = "Check that paid = recognised + owed + given back + taxes, by currency and payment; exit 1 where it is not."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="print one JSON object per currency and problem")

    def handle(self, *args: object, **options: Any) -> None:
        now = clock.now()
        for row in books.at(now):
            if options["json"]:
                self.stdout.write(json.dumps(asdict(row)))
            else:
                self.stdout.write(
                    f"{row.currency}: {row.paid} paid = {row.recognised} recognised + {row.owed} owed + {row.refunded} "
                    f"given back + {row.taxes} taxes (in minor units; {row.owed_to_come} owed for months to come)"
                )
        problems = list(books.problems(now))
        for problem in problems:
            self.stdout.write(json.dumps({"problem": problem}) if options["json"] else problem)
        if problems:
            raise CommandError(f"{len(problems)} differences.", returncode=1)
        if not options["json"]:
            self.stdout.write("The books are in order.")
