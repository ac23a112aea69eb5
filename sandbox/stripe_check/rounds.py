"""One round of the check: a catalogue of its own at Stripe, every story, and everything cleaned up again."""

import secrets
from collections.abc import Callable

import stripe

from billing.errors import BillingError
from billing.models import Price
from billing.setup import bootstrap, doctor
from billing.setup.doctor import Verdict
from billing.setup.presets import Preset
from billing.stripe import portal_configuration, stripe_client
from sandbox.stripe_check.recording import Record, RecordingClient
from sandbox.stripe_check.stories import STORIES, Teller

Say = Callable[[str], None]


class LiveKeyRefusedError(RuntimeError):
    """The check is for test mode: it makes customers and moves time."""


def play(record: Record, *, is_local: bool, say: Say) -> None:
    """Play every story at the Stripe that the client is set up for; what it made is gone afterwards."""
    refuse_live(stripe.api_key or "")
    run = f"check-{secrets.token_hex(3)}"
    stripe.default_http_client = RecordingClient(stripe.default_http_client or stripe.RequestsClient(), record)
    mark, portal_configuration.MARK = (
        portal_configuration.MARK,
        {"tegoed": run},
    )  # leave the account's own settings alone
    teller = Teller(run=run, record=record, is_local=is_local)
    try:
        bootstrap.push(catalogue(run), say=lambda _line: None)
        teller.skip_what_was()
        for story in STORIES:
            went_well = teller.tell(story)
            say(f"  {'ok     ' if went_well else 'FAILED '} {story.__name__.replace('_', ' ')}")
        for point in doctor.run_checks():
            # (The portal's settings were made a moment ago: read back, they are as they were made.)
            if point.verdict == Verdict.PROBLEM and point.about in ("permission", "portal"):
                record.failures.append(f"{point.about}: {point.text}")
    finally:
        clean_up(teller, say=say)
        portal_configuration.MARK = mark


def refuse_live(key: str) -> None:
    """Raises LiveKeyRefusedError for anything but a key of the test mode."""
    if not key.startswith(("sk_test_", "rk_test_")):
        raise LiveKeyRefusedError("This takes a key of Stripe's test mode: sk_test_… or rk_test_….")


def catalogue(run: str) -> Preset:
    """A pack and two plans whose names are of this round only."""
    plans = [
        {
            "code": f"{code}-{run}", "name": f"{code} {run}", "monthly_credits": credits,
            "prices": [
                {"interval": interval, "currency": "eur", "amount_minor": minor * months}
                for interval, months in (("month", 1), ("year", 10))
            ],
        }
        for code, credits, minor in (("small", 100, 2000), ("large", 400, 6000))
    ]  # fmt: skip
    pack = {
        "code": f"pack-{run}", "name": f"pack {run}", "credits": 20,
        "prices": [{"currency": "eur", "amount_minor": 500}],
    }  # fmt: skip
    return Preset(plans=plans, packs=[pack])


def clean_up(teller: Teller, *, say: Say) -> None:
    """Delete test clocks with their customers, take the catalogue off sale, switch the portal's settings off."""
    left = []
    for clock_id in teller.clocks:
        try:
            stripe.test_helpers.TestClock.delete(clock_id)
        except stripe.StripeError as error:
            left.append(f"test clock {clock_id}: {error}")
    for price in Price.objects.filter(stripe_price_id__startswith="price_"):
        product = price.plan or price.pack
        if product is None or not product.code.endswith(teller.run):
            continue
        try:
            stripe.Price.modify(price.stripe_price_id, active=False)
            stripe.Product.modify(product.stripe_product_id or "", active=False)
        except stripe.StripeError as error:
            left.append(f"price {price.stripe_price_id}: {error}")
    try:
        known = portal_configuration.find()
        if known is not None:
            with stripe_client.calling():
                stripe.billing_portal.Configuration.modify(known["id"], active=False)
    except (stripe.StripeError, BillingError) as error:
        left.append(f"the portal's settings: {error}")
    for line in left:
        say(f"  not cleaned up: {line}")
