"""Cards that end soon: their customers are mailed in time."""

import calendar
from datetime import UTC, datetime, timedelta

from billing.models import RUNNING, Subscription, TopUp
from billing.notifications import domain_events
from billing.stripe import djstripe_store

NOTICE = timedelta(days=30)


def warn(*, now: datetime) -> int:
    """Mail the customers whose saved card ends within NOTICE and is still needed; how many were mailed now."""
    payers = set(Subscription.objects.filter(status__in=RUNNING).values_list("account_id", flat=True))
    payers |= set(TopUp.objects.filter(is_on=True).values_list("account_id", flat=True))
    warned = 0
    for account_id, card_id, card in djstripe_store.cards_of(payers):
        if now <= _end_of(card["exp_month"], card["exp_year"]) <= now + NOTICE:
            warned += domain_events.card_expiring(account_id, card, card_id=card_id, now=now)
    return warned


def _end_of(month: int, year: int) -> datetime:
    last_day = calendar.monthrange(year, month)[1]
    return datetime(year, month, last_day, 23, 59, tzinfo=UTC)
