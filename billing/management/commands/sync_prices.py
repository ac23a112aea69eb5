"""manage.py sync_prices: sync the catalogue with Stripe's products and prices."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from billing.catalogue import price_sync
from billing.errors import BillingError


class Command(BaseCommand):
    help = "Pull products and prices from Stripe and say what changed. Credits set in the admin stay as they are."

    def handle(self, *args: object, **options: Any) -> None:
        try:
            changes = price_sync.pull()
        except BillingError as error:
            raise CommandError(str(error)) from error
        for change in changes:
            self.stdout.write(change)
        self.stdout.write(f"{len(changes)} changes." if changes else "Nothing has changed.")
