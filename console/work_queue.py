"""What waits for one operator: money to see to, answers to what they asked for, and whom they looked after lately."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from accounts.models import Account, User
from billing.models import Order, Subscription
from console import operator_limits
from console.models import Approval, AuditEvent

MOST = 6  # of each kind; the whole list is a click away
LATELY = timedelta(days=14)


@dataclass(frozen=True, kw_only=True)
class WorkQueue:
    """One operator's own part of the front page. None of what they may not see is in it."""

    customers: list[Account]  # whom they did something for, latest first
    asked: list[Approval]  # what they asked a colleague for, lately
    orders: list[Order]  # paid, but not as ordered
    failed: list[Subscription]  # plans whose payment failed
    credits_left: int | None  # that they may still give today, by themselves; None without a small limit


def of(user: User, *, now: datetime) -> WorkQueue:
    """What waits for this operator now."""
    may = user.has_perm
    return WorkQueue(
        customers=_customers(user, since=now - LATELY) if may("accounts.view_account") else [],
        asked=list(_asked(user, since=now - LATELY)),
        orders=list(_orders()) if may("billing.view_order") else [],
        failed=list(_failed()) if may("billing.view_subscription") else [],
        credits_left=operator_limits.credits_left(user, now=now) if may("console.grant_credits") else None,
    )


def _customers(user: User, *, since: datetime) -> list[Account]:
    rows = AuditEvent.objects.filter(operator=user, account__isnull=False, at__gte=since).order_by("-at")
    latest = dict.fromkeys(rows.values_list("account_id", flat=True)[:200])
    known = Account.objects.in_bulk(list(latest)[:MOST])
    return [known[pk] for pk in latest if pk in known]


def _asked(user: User, *, since: datetime) -> list[Approval]:
    rows = Approval.objects.filter(asked_by=user, asked_at__gte=since).select_related("account", "decided_by")
    return list(rows.order_by("-asked_at")[:MOST])


def _orders() -> list[Order]:
    rows = Order.objects.filter(status=Order.Status.REVIEW).select_related("account")
    return list(rows.order_by("created_at")[:MOST])


def _failed() -> list[Subscription]:
    rows = Subscription.objects.filter(status__in=Subscription.PAYMENT_FAILED, ended_at=None)
    return list(rows.select_related("account", "price__plan").order_by("current_period_end")[:MOST])
