"""manage.py replay_events: fetch the events that never came in, and try the failed ones again."""

import sys
from argparse import ArgumentParser
from collections import Counter
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils.dateparse import parse_date, parse_datetime
from tqdm import tqdm

from billing.errors import BillingError
from billing.models import InboxEvent
from billing.stripe import stripe_client
from billing.webhooks import inbox, receiving
from common import clock
from common.json_types import JsonObject

STATE = InboxEvent.State


class Command(BaseCommand):
    help = (
        "Fetch from Stripe the events since a moment that never came in (Stripe keeps them for thirty days), and act "
        "on them, and on those that failed before. Safe to repeat. Exit 1 when any of them fails."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--since", required=True, help="a day or a moment: 2026-11-21 or 2026-11-21T09:30Z")
        parser.add_argument("--all", action="store_true", help="act once more on those that went well, too")
        parser.add_argument("--offline", action="store_true", help="do not ask Stripe for events that never came in")
        parser.add_argument("--dry-run", action="store_true", help="only say what would be done")

    def handle(self, *args: object, **options: Any) -> None:
        since, now = _moment(options["since"]), clock.now()
        try:
            missing = [] if options["offline"] else _missing(since)
        except BillingError as error:
            raise CommandError(str(error)) from error
        rows = InboxEvent.objects.filter(created_at__gte=since)
        if not options["all"]:
            rows = rows.exclude(state__in=(STATE.PROCESSED, STATE.IGNORED))
        if options["dry_run"]:
            self.stdout.write(f"{len(missing)} events never came in; {rows.count()} would be tried again.")
            return
        for event in missing:
            receiving.store_event(event, now=now)
        chosen = list(rows.order_by("created_at", "pk").values_list("event_id", flat=True))
        watched = tqdm(chosen, unit="event", leave=False, disable=not sys.stderr.isatty())
        became = Counter(str(inbox.replay(event_id=event_id, now=clock.now())) for event_id in watched)
        reported = ", ".join(f"{count} {state}" for state, count in sorted(became.items())) or "nothing to do"
        self.stdout.write(f"{len(missing)} fetched; {reported}.")
        if became[STATE.FAILED] or became[STATE.DEAD]:
            raise CommandError("Some failed; the console's webhooks page says why.", returncode=1)


def _missing(since: datetime) -> list[JsonObject]:
    """The events since then that Stripe has and we have not, oldest first."""
    theirs = list(stripe_client.events_since(int(since.timestamp())))
    ours = set(InboxEvent.objects.filter(created_at__gte=since).values_list("event_id", flat=True))
    return [event for event in reversed(theirs) if event["id"] not in ours]


def _moment(text: str) -> datetime:
    try:
        result = parse_datetime(text)
        day = parse_date(text) if result is None else None
    except ValueError as error:
        raise CommandError(f"--since: {error}.") from error
    if day is not None:
        return datetime(day.year, day.month, day.day, tzinfo=UTC)
    if result is None:
        raise CommandError("--since takes a day or a moment: 2026-11-21 or 2026-11-21T09:30Z.")
    return result if result.tzinfo else result.replace(tzinfo=UTC)
