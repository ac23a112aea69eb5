"""manage.py run_job NAME: do by hand what beat does, as if it were some other time if need be."""

import sys
import uuid
from argparse import ArgumentParser
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from tqdm import tqdm

from common import clock
from credits.jobs import JOBS


class Command(BaseCommand):
    help = f"Run one job now: {', '.join(JOBS)}. Running it twice changes nothing."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", choices=sorted(JOBS))
        parser.add_argument("--now", help="act as at this instant, e.g. 2027-03-28T00:30:00+01:00")

    def handle(self, *args: object, **options: Any) -> None:
        now = self._instant(options["now"]) if options["now"] else clock.now()
        count = JOBS[options["name"]](now=now, watch=_with_progress)
        self.stdout.write(f"{options['name']}: {count} accounts settled at {now.isoformat()}.")

    def _instant(self, text: str) -> datetime:
        try:
            instant = datetime.fromisoformat(text)
        except ValueError:
            raise CommandError(f"{text!r} is not an instant like 2027-03-28T00:30:00+01:00.") from None
        if instant.tzinfo is None:
            raise CommandError("Give the instant a time zone, e.g. 2027-03-28T00:30:00+01:00.")
        return instant


def _with_progress(accounts: Iterable[uuid.UUID]) -> Iterable[uuid.UUID]:
    return tqdm(accounts, unit="account", disable=not sys.stderr.isatty())
