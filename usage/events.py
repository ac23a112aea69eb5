"""What was used: every spend is a use, told by the ledger's own rows, so that usage and balance cannot differ."""

import uuid
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from django.db import connection

# What a summary can be grouped by, and how a spend says it. (`day` is worked out by the zone.)
GROUPS = {
    "day": "(spent.created_at AT TIME ZONE %(zone)s)::date",
    "feature": "spent.feature",
    "key": "spent.actor",
    "model": "coalesce(spent.usage ->> 'model', '')",
}
# A spend that was given back counts as used, and what came back of it as `returned`, on the spend's own day.
SUMMARY = """
SELECT {columns}
       count(*) AS uses,
       sum(coalesce(spent.quantity, 0))::bigint AS quantity,
       sum(-spent.amount)::bigint AS credits,
       coalesce(sum(back.amount), 0)::bigint AS returned,
       coalesce(sum((spent.usage ->> 'input_tokens')::bigint), 0)::bigint AS input_tokens,
       coalesce(sum((spent.usage ->> 'output_tokens')::bigint), 0)::bigint AS output_tokens,
       coalesce(sum((spent.usage ->> 'provider_cost_micros')::bigint), 0)::bigint AS provider_cost_micros
FROM credits_transaction spent
LEFT JOIN LATERAL (
    SELECT sum(given.amount)::bigint AS amount FROM credits_transaction given
    WHERE given.account_id = spent.account_id AND given.reverses_id = spent.id
) back ON true
WHERE spent.account_id = %(account_id)s AND spent.kind = 'spend'
      AND spent.created_at >= %(since)s AND spent.created_at < %(until)s
{grouping}
"""


@dataclass(frozen=True, kw_only=True)
class Used:
    """What was used, of one group or in all. `credits - returned` is what it cost."""

    day: date | None = None
    feature: str | None = None
    key: str | None = None
    model: str | None = None
    uses: int = 0
    quantity: int = 0
    credits: int = 0
    returned: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    provider_cost_micros: int = 0


def summary(
    *, account_id: uuid.UUID, since: datetime, until: datetime, zone: str, group_by: tuple[str, ...] = ()
) -> list[Used]:
    """What an account used from `since` until `until`: a row a group (of GROUPS), in their order; else one row."""
    columns = "".join(f"{GROUPS[name]} AS {name}, " for name in group_by)
    places = ", ".join(str(number + 1) for number in range(len(group_by)))
    grouping = f"GROUP BY {places} ORDER BY {places}" if group_by else ""
    statement = SUMMARY.format(columns=columns, grouping=grouping)
    with connection.cursor() as cursor:
        cursor.execute(statement, {"account_id": account_id, "since": since, "until": until, "zone": zone})
        names = [column.name for column in cursor.description or ()]
        rows: list[dict[str, Any]] = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    return [Used(**{name: value for name, value in row.items() if value is not None}) for row in rows]
