"""manage.py reconcile: does what Stripe was paid agree with what we granted? Exit 1 when something does not."""

import json
import sys
from argparse import ArgumentParser
from collections.abc import Iterable
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from tqdm import tqdm

from accounts import clock
from billing import reconciliation
from billing.errors import BillingError


class Command(BaseCommand):
    help = "Compare Stripe's payments, refunds and disputes with our grants, and mend what webhooks did not tell."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--days", type=int, default=7, help="look at what happened in so many days (default: 7)")
        parser.add_argument("--repair", action="store_true", help="bring what differs in line, and look again")
        parser.add_argument("--json", action="store_true", help="print one JSON object per difference")

    def handle(self, *args: Any, **options: Any) -> None:
        now = clock.now()
        since = now - timedelta(days=options["days"])
        watch = _silently if options["json"] or not sys.stderr.isatty() else _with_progress
        try:
            found = list(reconciliation.differences(since=since, watch=watch))
            mended = sum(reconciliation.mend(row, now=now) for row in found) if options["repair"] and found else 0
            left = list(reconciliation.differences(since=since)) if mended else found
        except BillingError as error:
            raise CommandError(str(error)) from error
        for row in left:
            line = json.dumps(asdict(row)) if options["json"] else f"{row.kind} {row.object_id}: {row.problem}"
            self.stdout.write(line)
        if left:
            hint = "" if options["repair"] else " --repair brings in line what can be."
            raise CommandError(f"{len(found)} differences, {mended} mended, {len(left)} left.{hint}", returncode=1)
        if not options["json"]:
            self.stdout.write(f"Stripe and the ledger agree ({len(found)} differences, {mended} mended).")


def _with_progress(rows: Iterable[Any]) -> Iterable[Any]:
    return tqdm(rows, unit="object", leave=False)


def _silently(rows: Iterable[Any]) -> Iterable[Any]:
    return rows
