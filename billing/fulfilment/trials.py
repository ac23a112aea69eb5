"""A free trial is had once. A second one, by the same person or card, is ended before it costs anything."""

from datetime import datetime

from billing.catalogue import one_time_benefits
from billing.stripe import lookup, payloads, stripe_client
from billing.stripe.payloads import Stripe


def end_if_repeated(subscription: Stripe, *, now: datetime) -> None:
    """Claim a trial for its person and card; end the subscription if that is not their first. Nothing is charged then.

    (Whether it is the first is known only now: two checkouts may have been open, and the card was not known.)
    """
    if not payloads.begins_on_trial(subscription):
        return
    account = lookup.resolve_account(subscription)
    card = stripe_client.card_of_subscription(subscription)
    if not one_time_benefits.claim(one_time_benefits.Kind.TRIAL, account, cause=subscription["id"], card=card, now=now):
        stripe_client.cancel_subscription(subscription["id"])
