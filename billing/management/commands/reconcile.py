"""manage.py reconcile: does what Stripe was paid agree with what we granted? Exit 1 when something does not."""

import json
import sys
from argparse import ArgumentParser
from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from tqdm import tqdm

from accounts import clock
from billing import rebuilding, reconciliation
from billing.errors import BillingError

BEGINNING = datetime(2010, 1, 1, tzinfo=UTC)  # Stripe is not older


class Command(BaseCommand):
    help = "Compare Stripe's payments, refunds and disputes with our grants, and mend what webhooks did not tell."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--days", type=int, default=7, help="look at what happened in so many days (default: 7)")
        parser.add_argument("--repair", action="store_true", help="bring what differs in line, and look again")
        parser.add_argument(
            "--from-stripe",
            action="store_true",
            help="make billing's credits anew, on an empty ledger; without --repair only say what Stripe was paid for",
        )
        parser.add_argument("--dry-run", action="store_true", help="change nothing, also with --repair")
        parser.add_argument("--json", action="store_true", help="print one JSON object per difference")

    def handle(self, *args: Any, **options: Any) -> None:
        now = clock.now()
        repairs = options["repair"] and not options["dry_run"]
        since = BEGINNING if options["from_stripe"] else now - timedelta(days=options["days"])
        watch = _silently if options["json"] or not sys.stderr.isatty() else _with_progress
        try:
            if options["from_stripe"] and repairs:
                self._rebuild(watch)
            found = list(reconciliation.differences(since=since, watch=watch))
            mended = sum(reconciliation.mend(row, now=now) for row in found) if repairs and found else 0
            left = list(reconciliation.differences(since=since)) if mended else found
        except BillingError as error:
            raise CommandError(str(error)) from error
        for row in left:
            line = json.dumps(asdict(row)) if options["json"] else f"{row.kind} {row.object_id}: {row.problem}"
            self.stdout.write(line)
        if left:
            hint = "" if repairs else " --repair brings in line what can be."
            raise CommandError(f"{len(found)} differences, {mended} mended, {len(left)} left.{hint}", returncode=1)
        if not options["json"]:
            self.stdout.write(f"Stripe and the ledger agree ({len(found)} differences, {mended} mended).")

    def _rebuild(self, watch: reconciliation.Watch) -> None:
        rebuilt = rebuilding.rebuild(watch=watch)
        for line in rebuilt.failed:
            self.stderr.write(line)
        self.stdout.write(f"Brought {rebuilt.done} payments in line; {len(rebuilt.failed)} could not be placed.")


def _with_progress(rows: Iterable[Any]) -> Iterable[Any]:
    return tqdm(rows, unit="object", leave=False)


def _silently(rows: Iterable[Any]) -> Iterable[Any]:
    return rows
