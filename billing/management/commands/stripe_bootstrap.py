"""manage.py stripe_bootstrap: fill a Stripe account and our catalogue from a preset."""

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from billing.errors import BillingError
from billing.setup import bootstrap, presets
from common.urls import absolute_url


class Command(BaseCommand):
    help = (
        "Make a preset's products and prices in Stripe and here, and register our address for Stripe's webhooks. "
        "Running it again makes only what is missing."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--preset", default=settings.CATALOGUE_PRESET, help=f"one of: {', '.join(presets.names())}")

        parser.add_argument("--no-webhook", action="store_true", help="leave the registration of webhooks to you")

    def handle(self, *args: object, **options: Any) -> None:
        try:
            preset = presets.load(options["preset"])
            bootstrap.push(preset, say=self.stdout.write)
            # Stripe reaches public addresses only; the sandbox brings its webhooks by itself.
            if settings.BASE_URL.startswith("https://") and not options["no_webhook"]:
                bootstrap.register_endpoint(absolute_url("stripe-webhook"), say=self.stdout.write)
        except (presets.UnknownPresetError, BillingError) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"The catalogue has what the preset {options['preset']!r} has.")
