"""The order in which credits are spent: what is free and soon gone before what was paid and stays. Said here alone.

The index, the database's functions (through `SQL`), queries and Python follow these columns.
"""

import uuid
from datetime import datetime
from typing import Any, Protocol

# The lowest is spent first, by where the credits come from. (Source's values; operators may choose another.)
DAILY_FREE = 10
MONTHLY_FREE = 20
PRIORITY = {"free": DAILY_FREE, "plan": 30, "bonus": 40, "adjustment": 40, "purchase": 50}

# Of equal priority: what expires first, what never does last; then what came first.
COLUMNS = ("priority", "expires_at", "effective_at", "id")

# The same for a query in which `g` is credits_grant. (PostgreSQL puts nulls last by itself; it is said to be sure.)
SQL = ", ".join(f"g.{column} NULLS LAST" if column == "expires_at" else f"g.{column}" for column in COLUMNS)


class _Grant(Protocol):
    id: uuid.UUID
    priority: int
    effective_at: datetime
    expires_at: datetime | None


def key(grant: _Grant) -> tuple[Any, ...]:
    """Where a grant stands in the order, to sort by."""
    return (
        grant.priority,
        grant.expires_at is None,
        grant.expires_at or grant.effective_at,
        grant.effective_at,
        grant.id,
    )
