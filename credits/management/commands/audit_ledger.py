"""manage.py audit_ledger: is every balance what its entries say? Exit 1 with the rows that disagree."""

import json
import sys
from argparse import ArgumentParser
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from tqdm import tqdm

from accounts.public_ids import MalformedIdError, parse_id
from credits import audit


class Command(BaseCommand):
    help = "Check every invariant of the ledger; exit 1 and list the rows that disagree."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--account", help="only this account (acc_...)")
        parser.add_argument("--json", action="store_true", help="print one JSON object per disagreement")

    def handle(self, *args: Any, **options: Any) -> None:
        account_id = None
        if options["account"]:
            try:
                account_id = parse_id("acc", options["account"])
            except MalformedIdError:
                raise CommandError(f"{options['account']!r} is not an account: they look like acc_01j...") from None
        found: list[audit.Disagreement] = []
        for check in tqdm(audit.CHECKS, unit="check", disable=options["json"] or not sys.stderr.isatty()):
            found += audit.disagreements(check=check, account_id=account_id)
        for row in found:
            if options["json"]:
                self.stdout.write(json.dumps(asdict(row), default=str))
            else:
                self.stdout.write(
                    f"{row.check}: account {row.account_id}, {row.subject}: expected {row.expected}, found {row.found}"
                )
        if found:
            raise CommandError(f"{len(found)} disagreements.", returncode=1)
        if not options["json"]:
            self.stdout.write(f"The ledger agrees with itself: {len(audit.CHECKS)} checks, 0 disagreements.")
