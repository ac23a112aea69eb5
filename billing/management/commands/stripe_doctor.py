"""manage.py stripe_doctor: is Stripe set up as the product needs it?"""

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from billing.setup import doctor
from billing.setup.doctor import Verdict

MARKS = {Verdict.GOOD: "ok     ", Verdict.LOOK: "look   ", Verdict.PROBLEM: "PROBLEM"}


class Command(BaseCommand):
    help = (
        "Look at Stripe's side point by point: the key and its permissions, webhooks, portal, ways to pay, tax, "
        "renewals, catalogue. Nothing is changed. Exits 1 when there is a problem."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="one JSON list, for scripts")

    def handle(self, *args: object, **options: Any) -> None:
        points = []
        for point in doctor.run_checks():
            points.append(point)
            if not options["json"]:
                remedy = f"\n            {point.remedy}" if point.remedy else ""
                self.stdout.write(f"{MARKS[point.verdict]}  {point.about}: {point.text}{remedy}")
        problems = sum(1 for point in points if point.verdict == Verdict.PROBLEM)
        if options["json"]:
            self.stdout.write(json.dumps([point.as_data() for point in points], indent=2))
        else:
            self.stdout.write(f"{problems} problems." if problems else "Ready to take payments.")
        if problems:
            raise SystemExit(1)
