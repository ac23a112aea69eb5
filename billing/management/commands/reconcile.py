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

from billing.errors import BillingError
from billing.payments import manual_settlement
from billing.reconciliation import comparison, rebuilding
from common import clock

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
        parser.add_argument(
            "--settle",
            metavar="KIND:ID",
            help="note that a person has seen to a difference elsewhere, as it stands; takes a --reason",
        )
        parser.add_argument("--reason", default="", help='how it was settled: "EUR 15 in cash, 27 November"')
        parser.add_argument("--dry-run", action="store_true", help="change nothing, also with --repair")
        parser.add_argument("--json", action="store_true", help="print one JSON object per difference")

    def handle(self, *args: object, **options: Any) -> None:
        now = clock.now()
        if options["settle"]:
            since = now - timedelta(days=options["days"])
            self._settle(options["settle"], options["reason"].strip(), since=since, now=now)
            return
        repairs = options["repair"] and not options["dry_run"]
        since = BEGINNING if options["from_stripe"] else now - timedelta(days=options["days"])
        watch = _silently if options["json"] or not sys.stderr.isatty() else _with_progress
        try:
            if options["from_stripe"] and repairs:
                self._rebuild(watch)
            result = list(comparison.differences(since=since, watch=watch))
            mended = sum(comparison.repair(row, now=now) for row in result) if repairs and result else 0
            left = list(comparison.differences(since=since)) if mended else result
        except BillingError as error:
            raise CommandError(str(error)) from error
        for row in left:
            line = (
                json.dumps(asdict(row), default=str)
                if options["json"]
                else f"{row.kind} {row.object_id}: {row.problem}"
            )
            self.stdout.write(line)
        if left:
            hint = "" if repairs else " --repair brings in line what can be."
            raise CommandError(f"{len(result)} differences, {mended} mended, {len(left)} left.{hint}", returncode=1)
        if not options["json"]:
            self.stdout.write(f"Stripe and the ledger agree ({len(result)} differences, {mended} mended).")

    def _settle(self, named: str, reason: str, *, since: datetime, now: datetime) -> None:
        kind, _, object_id = named.partition(":")
        if not reason:
            raise CommandError("Say how it was settled: --reason. Whoever reads it in a year wants to know.")
        try:
            known = comparison.differences(since=since)
            result = [row for row in known if (row.kind, row.object_id) == (kind, object_id)]
        except BillingError as error:
            raise CommandError(str(error)) from error
        if not result:
            raise CommandError(
                f"There is no difference about {named!r} in these days. `manage.py reconcile --days …` lists them as "
                "KIND ID."
            )
        for row in result:
            manual_settlement.settle(
                kind=kind,
                object_id=object_id,
                problem=row.problem,
                account_id=row.account_id,
                reason=reason,
                actor="manage.py reconcile",
                now=now,
            )
        self.stdout.write(f"Settled: {kind} {object_id}: {result[0].problem}")

    def _rebuild(self, watch: comparison.Watch) -> None:
        rebuilt = rebuilding.rebuild(watch=watch)
        for line in rebuilt.failed:
            self.stderr.write(line)
        self.stdout.write(f"Brought {rebuilt.done} payments in line; {len(rebuilt.failed)} could not be placed.")


def _with_progress(rows: Iterable[Any]) -> Iterable[Any]:
    return tqdm(rows, unit="object", leave=False)


def _silently(rows: Iterable[Any]) -> Iterable[Any]:
    return rows
