"""manage.py audit_ledger: is every balance what its entries say? Exit 1 with the rows that disagree."""

import json
import sys
from argparse import ArgumentParser
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from tqdm import tqdm

from common.json_types import JsonObject
from common.public_ids import MalformedIdError, parse_id
from credits import audit, seal_publishing, seals
from credits.models import Seal


class Command(BaseCommand):
    help = "Check every invariant of the ledger; exit 1 and list the rows that disagree."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--account", help="only this account (acc_...)")
        parser.add_argument(
            "--verify-seals",
            action="store_true",
            help="compare every transaction with the seals instead: what was changed, removed or put in since",
        )
        parser.add_argument(
            "--heads",
            metavar="FILE",
            help="with --verify-seals: the published heads (default: SEAL_FILE, if it is there)",
        )
        parser.add_argument("--json", action="store_true", help="print one JSON object per disagreement")

    def handle(self, *args: object, **options: Any) -> None:
        if options["verify_seals"]:
            self._verify_seals(options)
            return
        account_id = None
        if options["account"]:
            try:
                account_id = parse_id("acc", options["account"])
            except MalformedIdError:
                raise CommandError(f"{options['account']!r} is not an account: they look like acc_01j...") from None
        result: list[audit.Disagreement] = []
        for check in tqdm(audit.CHECKS, unit="check", disable=options["json"] or not sys.stderr.isatty()):
            result += audit.disagreements(check=check, account_id=account_id)
        for row in result:
            if options["json"]:
                self.stdout.write(json.dumps(asdict(row), default=str))
            else:
                self.stdout.write(
                    f"{row.check}: account {row.account_id}, {row.subject}: expected {row.expected}, found {row.found}"
                )
        if result:
            raise CommandError(f"{len(result)} disagreements.", returncode=1)
        if not options["json"]:
            self.stdout.write(f"The ledger agrees with itself: {len(audit.CHECKS)} checks, 0 disagreements.")

    def _verify_seals(self, options: JsonObject) -> None:
        path = options["heads"]
        try:
            published = seal_publishing.read_heads(path) if path else seal_publishing.published_heads()
        except (OSError, seal_publishing.HeadsFileError) as error:
            raise CommandError(str(error)) from error
        result = 0
        for result, breach in enumerate(seals.breaches(published=published), start=1):  # noqa: B007 - counted
            self.stdout.write(json.dumps(asdict(breach)) if options["json"] else str(breach))
        if result:
            raise CommandError(f"{result} differences from what was sealed.", returncode=1)
        if not options["json"]:
            compared = f", compared with {len(published)} published heads" if published else ""
            self.stdout.write(f"The ledger is as it was sealed: {Seal.objects.count()} seals{compared}.")
