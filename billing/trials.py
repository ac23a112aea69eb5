"""A free trial is had once. A second one, by the same person or card, is ended before it costs anything."""

from datetime import datetime

from billing import benefits, placing, stripe_api, stripe_objects
from billing.stripe_objects import Stripe


def end_if_repeated(subscription: Stripe, *, now: datetime) -> None:
    """Claim a trial for its person and card; end the subscription if that is not their first. Nothing is charged then.

    (Whether it is the first can be told only now: two checkouts may have been open, and the card was not known.)
    """
    if not stripe_objects.begins_on_trial(subscription):
        return
    account = placing.account_of(subscription)
    card = stripe_api.card_of_subscription(subscription)
    if not benefits.claim(benefits.Kind.TRIAL, account, cause=subscription["id"], card=card, now=now):
        stripe_api.cancel_subscription(subscription["id"])
