"""Does the ledger agree with itself? Every invariant as one set-based query over all accounts.

The queries share no code with what writes the ledger, so that one mistake cannot hide in both.
"""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.db import connection

# Each names the rows that disagree: the account, what it is about, what the ledger says, what the cache says.
CHECKS = {
    "wallet balance and held are the sum of its entries": """
        SELECT w.account_id, w.account_id AS subject, coalesce(e.total, 0) AS expected, w.balance + w.held AS found
        FROM credits_wallet w
        LEFT JOIN (SELECT account_id, sum(amount) AS total FROM credits_entry GROUP BY account_id) e USING (account_id)
        WHERE w.balance + w.held <> coalesce(e.total, 0) AND {account}
    """,
    "wallet held is the sum of its open holds": """
        SELECT w.account_id, w.account_id AS subject, coalesce(h.total, 0) AS expected, w.held AS found
        FROM credits_wallet w
        LEFT JOIN (SELECT account_id, sum(amount) AS total FROM credits_hold WHERE status = 'open' GROUP BY account_id)
            h USING (account_id)
        WHERE w.held <> coalesce(h.total, 0) AND {account}
    """,
    "wallet debt is the sum of what made and paid it": """
        SELECT w.account_id, w.account_id AS subject, coalesce(t.total, 0) AS expected, w.debt AS found
        FROM credits_wallet w
        LEFT JOIN (
            SELECT account_id, sum(debt_change) AS total FROM credits_transaction
            WHERE kind IN ('revoke', 'restore', 'adjust', 'debt') GROUP BY account_id
        ) t USING (account_id)
        WHERE w.debt <> coalesce(t.total, 0) AND {account}
    """,
    "grant remaining and held are the sum of its entries": """
        SELECT w.account_id, w.id AS subject, coalesce(e.total, 0) AS expected,
               w.remaining + coalesce(h.total, 0) AS found
        FROM credits_grant w
        LEFT JOIN (SELECT grant_id, sum(amount) AS total FROM credits_entry GROUP BY grant_id) e ON e.grant_id = w.id
        LEFT JOIN (
            SELECT l.grant_id, sum(l.amount) AS total FROM credits_hold o JOIN credits_holdlot l ON l.hold_id = o.id
            WHERE o.status = 'open' GROUP BY l.grant_id
        ) h ON h.grant_id = w.id
        WHERE w.remaining + coalesce(h.total, 0) <> coalesce(e.total, 0) AND {account}
    """,
    "grant starts with an entry of its amount": """
        SELECT w.account_id, w.id AS subject, w.amount AS expected, coalesce(e.total, 0) AS found
        FROM credits_grant w
        LEFT JOIN (
            SELECT e.grant_id, sum(e.amount) AS total FROM credits_transaction t
            JOIN credits_entry e ON e.transaction_id = t.id WHERE t.kind = 'grant' GROUP BY e.grant_id
        ) e ON e.grant_id = w.id
        WHERE w.amount <> coalesce(e.total, 0) AND {account}
    """,
    "transaction amount is the sum of its entries": """
        SELECT w.account_id, w.id AS subject, w.amount AS expected, coalesce(e.total, 0) AS found
        FROM credits_transaction w
        LEFT JOIN (SELECT transaction_id, sum(amount) AS total FROM credits_entry GROUP BY transaction_id) e
            ON e.transaction_id = w.id
        WHERE w.amount <> coalesce(e.total, 0) AND {account}
    """,
    "no more was given back than was spent": """
        SELECT w.account_id, w.id AS subject, -w.amount AS expected, r.total AS found
        FROM credits_transaction w
        JOIN (
            SELECT reverses_id, sum(amount) AS total FROM credits_transaction
            WHERE reverses_id IS NOT NULL GROUP BY reverses_id
        ) r ON r.reverses_id = w.id
        WHERE (r.total > -w.amount OR w.kind <> 'spend') AND {account}
    """,
    "hold is the sum of its lots, and its capture of what they spent": """
        SELECT w.account_id, w.id AS subject, w.amount AS expected, l.total AS found
        FROM credits_hold w
        LEFT JOIN (
            SELECT hold_id, sum(amount) AS total, sum(captured) AS captured FROM credits_holdlot GROUP BY hold_id
        ) l ON l.hold_id = w.id
        LEFT JOIN (
            SELECT hold_id, -sum(amount) AS total FROM credits_transaction WHERE hold_id IS NOT NULL GROUP BY hold_id
        ) t ON t.hold_id = w.id
        WHERE (w.amount IS DISTINCT FROM l.total
               OR w.captured IS DISTINCT FROM t.total
               OR l.captured <> least(coalesce(w.captured, 0), w.amount)) AND {account}
    """,
    "entry is of the account of its transaction and its grant": """
        SELECT w.account_id, w.transaction_id AS subject, 0 AS expected, w.amount AS found
        FROM credits_entry w
        LEFT JOIN credits_transaction t ON t.id = w.transaction_id
        LEFT JOIN credits_grant g ON g.id = w.grant_id
        WHERE (t.account_id IS DISTINCT FROM w.account_id OR g.account_id IS DISTINCT FROM w.account_id) AND {account}
    """,
    "an idempotency key was used once on its side": """
        SELECT w.account_id, min(w.id::text)::uuid AS subject, 1 AS expected, count(*) AS found
        FROM (
            SELECT account_id, side, idempotency_key, id, 'transaction' AS what FROM credits_transaction
            WHERE idempotency_key IS NOT NULL
            UNION ALL
            SELECT account_id, side, idempotency_key, id, 'hold' FROM credits_hold
        ) w
        WHERE {account}
        GROUP BY w.account_id, w.side, w.idempotency_key, w.what HAVING count(*) > 1
    """,
    "every account with a ledger has a wallet": """
        SELECT DISTINCT w.account_id, w.account_id AS subject, 1 AS expected, 0 AS found
        FROM credits_transaction w LEFT JOIN credits_wallet x USING (account_id)
        WHERE x.account_id IS NULL AND {account}
    """,
    # An earlier moment than needed is no mistake: the grant it was noted for has been spent since.
    "wallet knows when it is next due": """
        SELECT w.account_id, w.account_id AS subject,
               extract(epoch FROM d.at)::bigint AS expected, extract(epoch FROM w.next_due_at)::bigint AS found
        FROM credits_wallet w
        JOIN (
            SELECT account_id, min(at) AS at FROM (
                SELECT account_id, expires_at AS at FROM credits_grant WHERE is_open
                UNION ALL
                SELECT account_id, next_at FROM credits_allowance WHERE ended_at IS NULL AND paused_at IS NULL
                UNION ALL
                SELECT account_id, expires_at FROM credits_hold WHERE status = 'open'
            ) moments GROUP BY account_id
        ) d USING (account_id)
        WHERE d.at IS NOT NULL AND coalesce(w.next_due_at > d.at, true) AND {account}
    """,
}


@dataclass(frozen=True, kw_only=True)
class Disagreement:
    """One row that is not as the rest of the ledger says."""

    check: str
    account_id: uuid.UUID
    subject: uuid.UUID
    expected: int | None
    found: int | None


def disagreements(*, check: str, account_id: uuid.UUID | None = None) -> Iterator[Disagreement]:
    """The rows that fail one of CHECKS, over all accounts or one. They are not mended: a person decides."""
    condition, parameters = ("w.account_id = %s", [account_id]) if account_id else ("true", [])
    with connection.cursor() as cursor:
        # Sums over a large ledger take longer than a request may.
        cursor.execute("SET statement_timeout = 0")
        try:
            cursor.execute(CHECKS[check].format(account=condition), parameters)
            rows: list[Any] = cursor.fetchall()
        finally:
            cursor.execute("RESET statement_timeout")
    for account, subject, expected, result in rows:
        yield Disagreement(
            check=check, account_id=account, subject=subject, expected=_whole(expected), found=_whole(result)
        )


def all_disagreements(*, account_id: uuid.UUID | None = None) -> Iterator[Disagreement]:
    """The rows that fail any of CHECKS."""
    for check in CHECKS:
        yield from disagreements(check=check, account_id=account_id)


def _whole(number: Any) -> int | None:
    """PostgreSQL's sums of bigint are numeric."""
    return None if number is None else int(number)
