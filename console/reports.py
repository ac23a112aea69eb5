"""What the owner wants to know of a period: credits, revenue, plans, payments, webhooks, customers, oddities.

Everything is summed from the ledger and the orders when it is asked for. Revenue is billing's books
(`billing.payments.books`).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection

from accounts.models import Account
from billing.payments import books
from billing.payments.books import Books
from common.json_types import JsonObject

TOP = 10
MANY_ACCOUNTS = 5
MANY_REFUNDS = 3
FARMED_WITHIN = timedelta(days=7)
REFUNDED_WITHIN = timedelta(days=90)
USUAL_DAYS = 14
MICROS = 1_000_000

CREDITS = """
SELECT g.source, t.kind, sum(e.amount)::bigint AS credits
FROM credits_entry e
JOIN credits_transaction t ON t.id = e.transaction_id
JOIN credits_grant g ON g.id = e.grant_id
WHERE coalesce(t.due_at, t.created_at) >= %(since)s AND coalesce(t.due_at, t.created_at) < %(until)s
GROUP BY 1, 2
"""
BY_DAY = """
SELECT (coalesce(t.due_at, t.created_at) AT TIME ZONE %(zone)s)::date AS day,
       coalesce(sum(e.amount) FILTER (WHERE t.kind = 'grant' AND g.source IN ('purchase', 'plan')), 0)::bigint AS sold,
       coalesce(sum(e.amount) FILTER (WHERE t.kind = 'grant' AND g.source NOT IN ('purchase', 'plan')), 0)::bigint
           AS given,
       coalesce(sum(-e.amount) FILTER (WHERE t.kind IN ('spend', 'reverse')), 0)::bigint AS spent,
       coalesce(sum(-e.amount) FILTER (WHERE t.kind = 'expire'), 0)::bigint AS expired
FROM credits_entry e
JOIN credits_transaction t ON t.id = e.transaction_id
JOIN credits_grant g ON g.id = e.grant_id
WHERE coalesce(t.due_at, t.created_at) >= %(since)s AND coalesce(t.due_at, t.created_at) < %(until)s
GROUP BY 1 ORDER BY 1
"""
# Revenue in millionths of the currency's unit, so that a feature of tenths of a cent shows.
FEATURES = """
WITH spends AS (
    SELECT t.id, t.feature, t.kind, coalesce((t.usage ->> 'provider_cost_micros')::bigint, 0) AS cost
    FROM credits_transaction t
    WHERE t.kind IN ('spend', 'reverse') AND t.created_at >= %(since)s AND t.created_at < %(until)s
), earned AS (
    SELECT e.transaction_id, sum(-e.amount)::bigint AS credits,
           sum(-e.amount * g.paid_minor * 10000 / g.amount)::bigint AS revenue
    FROM credits_entry e JOIN credits_grant g ON g.id = e.grant_id
    WHERE e.transaction_id IN (SELECT id FROM spends)
    GROUP BY 1
)
SELECT s.feature, count(*) FILTER (WHERE s.kind = 'spend') AS uses, sum(x.credits)::bigint AS credits,
       sum(x.revenue)::bigint AS revenue_micros, sum(s.cost)::bigint AS cost_micros
FROM spends s JOIN earned x ON x.transaction_id = s.id
GROUP BY 1 ORDER BY 3 DESC
"""
PLANS = """
SELECT p.currency,
       count(*) FILTER (WHERE s.started_at < %(until)s AND (s.ended_at IS NULL OR s.ended_at >= %(until)s)
                        AND is_paying) AS payers,
       coalesce(sum(m.monthly) FILTER (WHERE s.started_at < %(until)s
                                       AND (s.ended_at IS NULL OR s.ended_at >= %(until)s)
                                       AND is_paying), 0)::bigint AS mrr,
       coalesce(sum(m.monthly) FILTER (WHERE s.started_at >= %(since)s AND s.started_at < %(until)s), 0)::bigint
           AS fresh,
       coalesce(sum(m.monthly) FILTER (WHERE s.ended_at >= %(since)s AND s.ended_at < %(until)s), 0)::bigint AS churned,
       count(*) FILTER (WHERE s.ended_at >= %(since)s AND s.ended_at < %(until)s) AS left_count,
       count(*) FILTER (WHERE s.started_at < %(since)s
                        AND (s.ended_at IS NULL OR s.ended_at >= %(since)s)) AS before_count
FROM billing_subscription s
JOIN billing_price p ON p.id = s.price_id
-- (A plan whose payment failed, or that is paused, brings nothing now.)
CROSS JOIN LATERAL (SELECT p.amount_minor / CASE p.interval WHEN 'year' THEN 12 ELSE 1 END AS monthly,
                           s.status NOT IN ('past_due', 'unpaid', 'paused') AND NOT s.is_paused AS is_paying) m
WHERE s.status NOT IN ('incomplete', 'incomplete_expired', 'trialing')
GROUP BY 1 ORDER BY 1
"""
PAYMENTS = """
WITH failed AS (
    SELECT DISTINCT data ->> 'invoice' AS invoice FROM outbox_outboxevent
    WHERE name = 'payment.failed' AND happened_at >= %(since)s AND happened_at < %(until)s AND data ? 'invoice'
)
SELECT count(*) AS failed, count(p.id) AS recovered
FROM failed LEFT JOIN billing_paidinvoice p ON p.stripe_invoice_id = failed.invoice
"""
ORDERS = """
SELECT currency, count(*) AS orders, sum(coalesce(paid_minor, amount_minor))::bigint AS paid,
       sum(refunded_minor)::bigint AS refunded
FROM billing_order
WHERE status = 'completed' AND completed_at >= %(since)s AND completed_at < %(until)s
GROUP BY 1 ORDER BY 1
"""
# The same steps as the books add up, so that the days of a period are its sum.
MONEY_BY_DAY = """
SELECT (s.at AT TIME ZONE %(zone)s)::date AS day, r.currency,
       coalesce(sum(s.net_minor + s.tax_minor) FILTER (WHERE s.is_payment), 0)::bigint AS paid,
       coalesce(-sum(s.net_minor + s.tax_minor) FILTER (WHERE NOT s.is_payment), 0)::bigint AS refunded
FROM billing_moneystep s JOIN billing_paymentrecord r ON r.id = s.payment_id
WHERE s.at >= %(since)s AND s.at < %(until)s
GROUP BY 1, 2 ORDER BY 1, 2
"""
WEBHOOKS = """
SELECT count(*) AS received,
       count(*) FILTER (WHERE state = 'dead') AS dead,
       count(*) FILTER (WHERE state IN ('received', 'failed')) AS waiting,
       coalesce(extract(epoch FROM percentile_disc(0.95) WITHIN GROUP (ORDER BY processed_at - received_at)), 0)::bigint
           AS p95_s,
       coalesce(extract(epoch FROM max(processed_at - received_at)), 0)::bigint AS slowest_s
FROM billing_inboxevent WHERE received_at >= %(since)s AND received_at < %(until)s
"""
QUEUES = """
SELECT coalesce(extract(epoch FROM %(now)s - (SELECT min(received_at) FROM billing_inboxevent
                                             WHERE next_attempt_at IS NOT NULL)), 0)::bigint AS inbox_s,
       coalesce(extract(epoch FROM %(now)s - (SELECT min(created_at) FROM outbox_outboxevent
                                             WHERE next_attempt_at IS NOT NULL)), 0)::bigint AS outbox_s
"""
TOP_CUSTOMERS = """
SELECT account_id, currency, sum(paid_minor)::bigint AS paid, sum(amount)::bigint AS credits
FROM credits_grant
WHERE paid_minor > 0 AND effective_at >= %(since)s AND effective_at < %(until)s
GROUP BY 1, 2 ORDER BY 3 DESC LIMIT %(top)s
"""
SPIKES = """
SELECT account_id,
       sum(-amount) FILTER (WHERE created_at >= %(day)s)::bigint AS today,
       coalesce(sum(-amount) FILTER (WHERE created_at < %(day)s), 0)::bigint AS before
FROM credits_transaction
WHERE kind = 'spend' AND created_at >= %(since)s AND created_at < %(now)s
GROUP BY 1
HAVING coalesce(sum(-amount) FILTER (WHERE created_at >= %(day)s), 0) >= %(least)s
   AND sum(-amount) FILTER (WHERE created_at >= %(day)s) * %(days)s
       >= %(factor)s * coalesce(sum(-amount) FILTER (WHERE created_at < %(day)s), 0)
ORDER BY 2 DESC LIMIT %(top)s
"""
FARMING = """
SELECT 'address' AS by, host(ip::inet) AS what, count(DISTINCT user_id) AS people
FROM usersessions_usersession WHERE created_at >= %(since)s GROUP BY 2 HAVING count(DISTINCT user_id) >= %(many)s
UNION ALL
SELECT 'device', host(ip::inet) || ' ' || left(user_agent, 60), count(DISTINCT user_id)
FROM usersessions_usersession WHERE created_at >= %(since)s AND user_agent <> ''
GROUP BY 2 HAVING count(DISTINCT user_id) >= %(many)s
UNION ALL
SELECT 'mailbox', regexp_replace(email, '\\+[^@]*@', '@'), count(*)
FROM accounts_user WHERE date_joined >= %(since)s GROUP BY 2 HAVING count(*) >= %(many)s
ORDER BY 3 DESC LIMIT %(top)s
"""
WHAT_IF = """
WITH spends AS (
    SELECT t.account_id, (t.created_at AT TIME ZONE a.time_zone)::date AS day, sum(-t.amount)::bigint AS spent,
           coalesce(sum((t.usage ->> 'provider_cost_micros')::bigint), 0)::bigint AS cost,
           coalesce(sum((SELECT sum(-e.amount) FROM credits_entry e
                         JOIN credits_grant g ON g.id = e.grant_id
                         JOIN credits_allowance w ON w.id = g.allowance_id
                         WHERE e.transaction_id = t.id AND g.source = 'free' AND w.period = 'day')), 0)::bigint AS free
    FROM credits_transaction t JOIN accounts_account a ON a.id = t.account_id
    WHERE t.kind = 'spend' AND t.created_at >= %(since)s AND t.created_at < %(until)s
    GROUP BY 1, 2
)
SELECT count(*) AS account_days, coalesce(sum(spent), 0)::bigint AS spent, coalesce(sum(free), 0)::bigint AS free_spent,
       coalesce(sum(least(spent, %(free)s)), 0)::bigint AS free_then, coalesce(sum(cost), 0)::bigint AS cost_micros,
       count(*) FILTER (WHERE spent > %(free)s) AS short_days
FROM spends
"""
REFUNDERS = """
SELECT account_id, count(*) FILTER (WHERE refunded_minor > 0) AS refunds,
       count(*) FILTER (WHERE is_disputed) AS disputes
FROM billing_order WHERE created_at >= %(since)s
GROUP BY 1
HAVING count(*) FILTER (WHERE refunded_minor > 0) >= %(many)s OR count(*) FILTER (WHERE is_disputed) > 1
ORDER BY 2 DESC LIMIT %(top)s
"""

Row = JsonObject


@dataclass(frozen=True, kw_only=True)
class Margin:
    """What a feature earned and cost in a period, in millionths of the currency's unit."""

    feature: str
    uses: int
    credits: int
    revenue_micros: int
    cost_micros: int

    @property
    def margin_micros(self) -> int:
        return self.revenue_micros - self.cost_micros

    @property
    def percent(self) -> int | None:
        """What is left of each unit that was earned; None where nothing was."""
        return self.margin_micros * 100 // self.revenue_micros if self.revenue_micros > 0 else None


@dataclass(frozen=True, kw_only=True)
class Oddity:
    """Something that an operator should look at."""

    kind: str
    what: str
    detail: str
    account: Account | None = None


@dataclass(frozen=True, kw_only=True)
class WhatIf:
    """Credits that were really spent in a period; free ones as they were, and as they would have been."""

    account_days: int
    spent: int
    free_spent: int
    free_then: int
    cost_micros: int
    short_days: int  # account-days that would have wanted more than the free ones

    @property
    def free_cost_micros(self) -> int:
        """What the free ones cost, at the period's own cost a credit."""
        return self.cost_micros * self.free_spent // self.spent if self.spent else 0

    @property
    def free_cost_then_micros(self) -> int:
        return self.cost_micros * self.free_then // self.spent if self.spent else 0


def revenue(*, since: datetime, until: datetime) -> list[Books]:
    """What was paid, earned, given back and taxed in the period, and what is owed at its end; by currency."""
    return books.between(since, until)


def credits_moved(*, since: datetime, until: datetime) -> dict[str, int]:
    """Credits sold, granted free, spent, expired, taken back, in the period."""
    result = dict.fromkeys(("sold", "granted", "spent", "expired", "taken_back"), 0)
    for row in _rows(CREDITS, since=since, until=until):
        match row["kind"]:
            case "grant":
                result["sold" if row["source"] in ("purchase", "plan") else "granted"] += row["credits"]
            case "spend" | "reverse":
                result["spent"] -= row["credits"]
            case "expire":
                result["expired"] -= row["credits"]
            case _:
                result["taken_back"] -= row["credits"]
    return result


def by_day(*, since: datetime, until: datetime, zone: str) -> list[Row]:
    """Credits sold, given, spent and expired, day by day in the zone's calendar; days without any are left out."""
    return _rows(BY_DAY, since=since, until=until, zone=zone)


def money_by_day(*, since: datetime, until: datetime, zone: str) -> list[Row]:
    """What was paid and given back for credits, day by day and by currency; days without any are left out."""
    return _rows(MONEY_BY_DAY, since=since, until=until, zone=zone)


def margins(*, since: datetime, until: datetime) -> list[Margin]:
    """What each feature earned, of credits that were paid for, and what its provider cost."""
    return [Margin(**row) for row in _rows(FEATURES, since=since, until=until)]


def plans(*, since: datetime, until: datetime) -> list[Row]:
    """Recurring revenue a month at the period's end, new and churned in it; by currency, at today's prices."""
    rows = _rows(PLANS, since=since, until=until)
    for row in rows:
        row["net_new"] = row["fresh"] - row["churned"]
        row["arpu"] = row["mrr"] // row["payers"] if row["payers"] else 0
        row["churn_percent"] = row["left_count"] * 100 // row["before_count"] if row["before_count"] else 0
    return rows


def payments(*, since: datetime, until: datetime) -> Row:
    """Orders and their money by currency; invoices that could not be collected, and how many were paid since."""
    (row,) = _rows(PAYMENTS, since=since, until=until)
    row["recovery_percent"] = row["recovered"] * 100 // row["failed"] if row["failed"] else None
    row["orders"] = _rows(ORDERS, since=since, until=until)
    return row


def webhooks(*, since: datetime, until: datetime) -> Row:
    """How Stripe's webhooks fared: how many, how late the slowest twentieth was done, how many were given up."""
    (row,) = _rows(WEBHOOKS, since=since, until=until)
    return row


def queues(*, now: datetime) -> Row:
    """For how many seconds the oldest waits, of what comes in and of what goes out."""
    (row,) = _rows(QUEUES, now=now)
    return row


def top_customers(*, since: datetime, until: datetime) -> list[tuple[Account, Row]]:
    """Who paid the most for credits that came in the period."""
    return _with_accounts(_rows(TOP_CUSTOMERS, since=since, until=until, top=TOP))


def oddities(*, now: datetime, factor: int, least: int) -> Iterator[Oddity]:
    """Spend spikes, many accounts of one address, device or mailbox, and many refunds."""
    day = now - timedelta(days=1)
    spikes = _rows(
        SPIKES,
        day=day,
        since=day - timedelta(days=USUAL_DAYS),
        now=now,
        days=USUAL_DAYS,
        factor=factor,
        least=least,
        top=TOP,
    )
    for account, row in _with_accounts(spikes):
        usual = row["before"] // USUAL_DAYS
        yield Oddity(kind="spike", what=str(account), detail=f"{row['today']} ({usual})", account=account)
    for row in _rows(FARMING, since=now - FARMED_WITHIN, many=MANY_ACCOUNTS, top=TOP):
        yield Oddity(kind=row["by"], what=row["what"], detail=str(row["people"]))
    for account, row in _with_accounts(_rows(REFUNDERS, since=now - REFUNDED_WITHIN, many=MANY_REFUNDS, top=TOP)):
        detail = f"{row['refunds']} + {row['disputes']}"
        yield Oddity(kind="refunds", what=str(account), detail=detail, account=account)


def what_if(*, since: datetime, until: datetime, free_a_day: int) -> WhatIf:
    """The period's real spends, day by day and account by account, had the free allowance of a day been another."""
    (row,) = _rows(WHAT_IF, since=since, until=until, free=free_a_day)
    return WhatIf(**row)


def _with_accounts(rows: Iterable[Row]) -> list[tuple[Account, Row]]:
    result = list(rows)
    known = Account.objects.in_bulk([row["account_id"] for row in result])
    return [(known[row["account_id"]], row) for row in result if row["account_id"] in known]


def _rows(statement: str, **asked: Any) -> list[Row]:
    with connection.cursor() as cursor:
        cursor.execute(statement, asked)
        names = [column.name for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
