"""What every account gets without paying: the default plan's credits a day and a month."""

from datetime import datetime, timedelta

from django.db.models import Q

from accounts.models import Account
from billing.catalogue import price_list
from credits import allowances, limits, spending_order
from credits.calendar import day_at
from credits.models import Allowance, Source

# Spent before anything else, today's first: they are the first to be gone.
# Who closed an account and comes back after this long starts over.
CLOSED_LONG_AGO = timedelta(days=90)


def start(*, account: Account, now: datetime, is_proven: bool = True) -> None:
    """Start the default plan's free allowances of an account, today's credits at once.

    A team gets none, nor does a second account of one mailbox, nor one whose address is only claimed.

    A repeated call changes nothing.
    """
    plan = price_list.default_plan()
    if plan is None:
        return
    limits.set_daily_cap(account_id=account.pk, cap=plan.daily_cap)
    if account.kind == Account.Kind.TEAM or not is_proven:
        return  # free credits are a person's: a team for each of them would be credits without end
    if _mailbox_has_free_plan(account, now=now):
        return
    today = day_at(now, account.time_zone)
    offers = (
        (Allowance.Period.DAY, plan.daily_credits, spending_order.DAILY_FREE),
        (Allowance.Period.MONTH, plan.monthly_credits, spending_order.MONTHLY_FREE),
    )
    for period, amount, priority in offers:
        if amount:
            allowances.start(
                account=account,
                source=Source.FREE,
                source_key=f"plan:{plan.code}:{period}",
                amount=amount,
                period=period,
                anchor=today.starts_at,
                priority=priority,
                now=now,
            )


def _mailbox_has_free_plan(account: Account, *, now: datetime) -> bool:
    """Whether another account of the same mailbox is open, or was closed not long ago."""
    if not account.mailbox:
        return False
    others = Account.objects.filter(mailbox=account.mailbox).exclude(pk=account.pk)
    return others.filter(Q(closed_at=None) | Q(closed_at__gt=now - CLOSED_LONG_AGO)).exists()
