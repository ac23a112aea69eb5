"""Trials that end soon: their customers are mailed what will be charged, and when, in time to stop it."""

from datetime import datetime, timedelta

from django.db.models import F

from billing.models import Subscription
from billing.notifications import domain_events

NOTICE = timedelta(days=3)


def warn(*, now: datetime) -> int:
    """Mail the customers whose trial ends within NOTICE and goes on as a paid plan; how many were mailed now."""
    running = Subscription.objects.filter(first_trial_ends_at__gt=now)
    ending = running.filter(
        status=Subscription.Status.TRIALING,
        cancel_at_period_end=False,
        is_paused=False,
        first_trial_ends_at__lte=now + NOTICE,
        # (One that is shorter was announced as it began.)
        first_trial_ends_at__gt=F("started_at") + NOTICE,
    )
    return sum(
        domain_events.trial_ending(row, now=now)
        for row in ending.select_related("account", "price__plan", "next_price__plan")
    )
