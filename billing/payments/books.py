"""The books: what was paid for credits is earned, still owed, given back, or tax. To the cent, for every moment.

Revenue is recognised lot by lot: of what was paid for one, the part that is spent or has expired. What is owed is the
rest of every lot, and the price of months that were paid for and are still to come. Money that went back lowers what
was earned by as much as it was more than the price of the credits that were taken back for it. All parts are rounded
down in one way, so that they add up: paid = recognised + owed + given back + taxes.

Sums of the ledger and of `MoneyStep`, made when they are asked for.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection

from common.json_types import JsonObject

# Of each lot up to a moment: what was used or is gone, and what was taken back because its money went back.
MOVES = """
    SELECT e.grant_id,
           coalesce(sum(-e.amount) FILTER (WHERE t.kind IN ('spend', 'reverse', 'expire', 'debt', 'adjust')), 0)
               ::bigint AS consumed,
           coalesce(sum(-e.amount) FILTER (WHERE t.kind IN ('revoke', 'restore')), 0)::bigint AS taken
    FROM credits_entry e JOIN credits_transaction t ON t.id = e.transaction_id
    WHERE t.kind <> 'grant' AND coalesce(t.due_at, t.created_at) < %(at)s
    GROUP BY e.grant_id
"""
# A lot that was moved by a merge went on with a part of its price: what was used before stays here.
LOTS = f"""
    SELECT g.currency, g.paid_minor AS paid, g.amount, coalesce(m.consumed, 0) AS consumed,
           CASE WHEN x.id IS NULL THEN coalesce(m.taken, 0) ELSE 0 END AS taken,
           coalesce(x.paid_minor, 0) AS moved,
           CASE WHEN x.id IS NULL THEN g.amount - coalesce(m.consumed, 0) - coalesce(m.taken, 0) ELSE 0 END AS credits
    FROM credits_grant g
    LEFT JOIN ({MOVES}) m ON m.grant_id = g.id
    LEFT JOIN credits_grant x ON x.moved_from_id = g.id
    LEFT JOIN credits_allowance a ON a.id = g.allowance_id
    WHERE g.paid_minor > 0 AND greatest(g.effective_at, a.created_at) < %(at)s
"""  # noqa: S608 - constants
# Months that were paid for and are still to come; what of them will be kept back. Nothing, once an allowance is over.
PROMISES = """
    SELECT a.currency, a.amount, least(a.withheld, a.amount) AS withheld,
           coalesce(a.ended_at < %(at)s, false) OR coalesce(a.paid_until <= %(at)s, false) AS is_over,
           a.paid_minor + a.carried_minor + coalesce(g.added, 0) - coalesce(g.given, 0)
               - CASE WHEN a.handed_at < %(at)s THEN a.handed_minor ELSE 0 END AS rest
    FROM credits_allowance a
    LEFT JOIN LATERAL (
        SELECT sum(deferred_minor) FILTER (WHERE is_top_up) AS added,
               sum(paid_minor) FILTER (WHERE NOT is_top_up) AS given
        FROM credits_grant
        WHERE account_id = a.account_id AND allowance_id = a.id AND moved_from_id IS NULL
              AND greatest(effective_at, a.created_at) < %(at)s
    ) g ON true
    WHERE a.currency <> '' AND a.created_at < %(at)s
"""
BOOKS = f"""
WITH lots AS (
    SELECT currency, sum(paid * consumed / amount) AS earned,
           sum(paid - moved - paid * (consumed + taken) / amount) AS owed,
           sum(paid * (consumed + taken) / amount - paid * consumed / amount) AS taken,
           sum(credits) AS credits
    FROM ({LOTS}) l GROUP BY currency
), promises AS (
    SELECT currency, sum(CASE WHEN is_over THEN rest ELSE 0 END) AS earned,
           sum(CASE WHEN is_over THEN 0 ELSE rest - rest * withheld / amount END) AS owed,
           sum(CASE WHEN is_over THEN 0 ELSE rest * withheld / amount END) AS taken
    FROM ({PROMISES}) p GROUP BY currency
), money AS (
    SELECT r.currency, coalesce(sum(s.net_minor + s.tax_minor) FILTER (WHERE s.is_payment), 0) AS paid,
           coalesce(sum(s.net_minor - r.priced_minor) FILTER (WHERE s.is_payment), 0) AS unpriced,
           coalesce(-sum(s.net_minor) FILTER (WHERE NOT s.is_payment), 0) AS back_net,
           coalesce(-sum(s.net_minor + s.tax_minor) FILTER (WHERE NOT s.is_payment), 0) AS back,
           sum(s.tax_minor) AS taxes
    FROM billing_moneystep s JOIN billing_paymentrecord r ON r.id = s.payment_id
    WHERE s.at < %(at)s GROUP BY r.currency
)
SELECT c.currency, coalesce(m.paid, 0)::bigint AS paid,
       (coalesce(l.earned, 0) + coalesce(p.earned, 0) + coalesce(m.unpriced, 0)
        + coalesce(l.taken, 0) + coalesce(p.taken, 0) - coalesce(m.back_net, 0))::bigint AS recognised,
       (coalesce(l.owed, 0) + coalesce(p.owed, 0))::bigint AS owed, coalesce(p.owed, 0)::bigint AS owed_to_come,
       coalesce(l.credits, 0)::bigint AS owed_credits, coalesce(m.back, 0)::bigint AS refunded,
       coalesce(m.taxes, 0)::bigint AS taxes
FROM (SELECT currency FROM lots UNION SELECT currency FROM promises UNION SELECT currency FROM money) c
LEFT JOIN lots l USING (currency) LEFT JOIN promises p USING (currency) LEFT JOIN money m USING (currency)
ORDER BY c.currency
"""  # noqa: S608 - constants
# Each payment's price in the ledger once more, by its lots and allowances rather than by what was written down.
UNEQUAL = """
WITH prices AS (
    SELECT split_part(source_key, ':', 3) AS origin, paid_minor + deferred_minor AS minor FROM credits_grant
    WHERE (allowance_id IS NULL OR is_top_up) AND moved_from_id IS NULL AND currency <> ''
    UNION ALL
    SELECT split_part(source_key, ':', 3), paid_minor FROM credits_allowance WHERE paid_minor > 0
), sums AS (SELECT origin, sum(minor)::bigint AS minor FROM prices GROUP BY origin)
SELECT coalesce(r.origin_id, s.origin) AS origin_id, coalesce(r.currency, '') AS currency,
       coalesce(r.priced_minor, 0) AS expected, coalesce(s.minor, 0) AS found
FROM billing_paymentrecord r FULL JOIN sums s ON s.origin = r.origin_id
WHERE coalesce(r.priced_minor, 0) <> coalesce(s.minor, 0)
ORDER BY 1
"""


@dataclass(frozen=True, kw_only=True)
class Books:
    """One currency's money of credits up to a moment, in minor units.

    `owed_to_come` of `owed` is for months that were paid for and are still to come; `owed_credits` are those that were
    given and not used yet.
    """

    currency: str
    paid: int
    recognised: int
    owed: int
    owed_to_come: int
    owed_credits: int
    refunded: int
    taxes: int

    @property
    def difference(self) -> int:
        """What is paid and neither earned, owed, given back nor tax: nothing, unless something is wrong."""
        return self.paid - self.recognised - self.owed - self.refunded - self.taxes


@dataclass(frozen=True, kw_only=True)
class Unequal:
    """A payment whose price is not what its lots and allowances cost together, in minor units."""

    origin_id: str
    currency: str
    expected: int
    found: int


def at(moment: datetime) -> list[Books]:
    """Everything up to a moment, by currency."""
    return [Books(**row) for row in _rows(BOOKS, at=moment)]


def between(since: datetime, until: datetime) -> list[Books]:
    """What a period brought, by currency; what is owed is as of its end."""
    before = {row.currency: row for row in at(since)}
    result = []
    for row in at(until):
        earlier = before.get(row.currency)
        result.append(_minus(row, earlier) if earlier else row)
    return result


def unequal_payments() -> Iterator[Unequal]:
    """The payments that the ledger does not hold at the price that was written down for them."""
    for row in _rows(UNEQUAL):
        yield Unequal(**row)


def problems(now: datetime) -> Iterator[str]:
    """Everything in the books that is not as it should be, a sentence each."""
    for row in at(now):
        if row.difference:
            yield f"{row.difference} {row.currency} were paid, and are neither earned, owed, given back nor tax."
    for payment in unequal_payments():
        yield (
            f"{payment.origin_id}: {payment.expected} {payment.currency} were paid for its credits, and they cost "
            f"{payment.found} in the ledger."
        )


def _minus(row: Books, earlier: Books) -> Books:
    return Books(
        currency=row.currency,
        paid=row.paid - earlier.paid,
        recognised=row.recognised - earlier.recognised,
        owed=row.owed,
        owed_to_come=row.owed_to_come,
        owed_credits=row.owed_credits,
        refunded=row.refunded - earlier.refunded,
        taxes=row.taxes - earlier.taxes,
    )


def _rows(statement: str, **asked: Any) -> list[JsonObject]:
    with connection.cursor() as cursor:
        # Sums over a large ledger take longer than a request may.
        cursor.execute("SET statement_timeout = 0")
        try:
            cursor.execute(statement, asked)
            names = [column.name for column in cursor.description or ()]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
        finally:
            cursor.execute("RESET statement_timeout")
