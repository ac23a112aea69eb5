"""What was used: every spend is a use, read from the ledger's own rows, so that usage and balance cannot differ."""

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from django.db import connection

from common.json_types import JsonObject
from usage.models import UsageMark

NOTHING = uuid.UUID(int=0)

# What a summary can be grouped by. (`day` is worked out by the zone.)
GROUPS = {"day": "(at AT TIME ZONE %(zone)s)::date", "feature": "feature", "key": "key", "model": "model"}
# A spend that was given back counts as used, and what came back of it as `returned`, on the spend's own day.
# Slots hold what came up to the account's mark (usage.rollup), the ledger's own rows what came after it.
SUMMARY = """
WITH used AS (
    SELECT starts_at AS at, feature, actor AS key, model, uses, quantity, credits, returned,
           input_tokens, output_tokens, provider_cost_micros
    FROM usage_usageslot
    WHERE {whose} AND starts_at >= %(since)s AND starts_at < %(until)s AND {slots}
    UNION ALL
    SELECT created_at, feature, actor, coalesce(usage ->> 'model', ''), 1, coalesce(quantity, 0), -amount, 0,
           coalesce((usage ->> 'input_tokens')::bigint, 0), coalesce((usage ->> 'output_tokens')::bigint, 0),
           coalesce((usage ->> 'provider_cost_micros')::bigint, 0)
    FROM credits_transaction
    WHERE {whose} AND kind = 'spend' AND id > {mark}
          AND created_at >= %(since)s AND created_at < %(until)s
    UNION ALL
    SELECT spent.created_at, spent.feature, spent.actor, coalesce(spent.usage ->> 'model', ''), 0, 0, 0, given.amount,
           0, 0, 0
    FROM credits_transaction given
    JOIN credits_transaction spent ON spent.account_id = given.account_id AND spent.id = given.reverses_id
    WHERE {given} AND given.reverses_id IS NOT NULL AND given.id > {given_mark}
          AND spent.kind = 'spend' AND spent.created_at >= %(since)s AND spent.created_at < %(until)s
)
SELECT {columns}
       {sums}
FROM used
{grouping}
"""
# Of one account, whose mark is known; or of all of them, each with its own.
OF_ONE = {
    "whose": "account_id = %(account_id)s", "given": "given.account_id = %(account_id)s", "slots": "%(has_slots)s",
    "mark": "%(mark)s", "given_mark": "%(mark)s",
}  # fmt: skip
_MARK = """coalesce((SELECT m.rolled_to FROM usage_usagemark m
              WHERE m.account_id = {}.account_id AND m.minute = %(minute)s AND %(has_slots)s), %(mark)s)"""
OF_ALL = {
    "whose": "true", "given": "true", "mark": _MARK.format("credits_transaction"), "given_mark": _MARK.format("given"),
    "slots": "%(has_slots)s AND account_id IN (SELECT account_id FROM usage_usagemark WHERE minute = %(minute)s)",
}  # fmt: skip
COUNTED = (
    "uses", "quantity", "credits", "returned", "input_tokens", "output_tokens", "provider_cost_micros",
)  # fmt: skip
SUMS = ", ".join(f"coalesce(sum({name}), 0)::bigint AS {name}" for name in COUNTED)
HOUR_S = 3_600
LOOK_EVERY = timedelta(days=7)  # no zone keeps another time for less than that


@dataclass(frozen=True, kw_only=True)
class UsageTotals:
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


def summarize(
    *, account_id: uuid.UUID | None, since: datetime, until: datetime, zone: str, group_by: tuple[str, ...] = ()
) -> list[UsageTotals]:
    """What an account used from `since` until `until`: a row a group (of GROUPS), in their order; else one row.

    Without an account, what all of them used together.
    """
    columns = "".join(f"{GROUPS[name]} AS {name}, " for name in group_by)
    places = ", ".join(str(number + 1) for number in range(len(group_by)))
    grouping = f"GROUP BY {places} ORDER BY {places}" if group_by else ""
    whose = OF_ALL if account_id is None else OF_ONE
    statement = SUMMARY.format(columns=columns, sums=SUMS, grouping=grouping, **whose)
    mark = UsageMark.objects.filter(account_id=account_id).first() if account_id is not None else None
    minute = mark.minute if mark else minute_of(zone, since)
    has_slots = (mark is not None or account_id is None) and _fits(minute, since, until, zone)
    fields: JsonObject = {
        "minute": minute,
        "account_id": account_id,
        "since": since,
        "until": until,
        "zone": zone,
        "has_slots": has_slots,
        "mark": mark.rolled_to if mark and has_slots else NOTHING,
    }
    with connection.cursor() as cursor:
        cursor.execute(statement, fields)
        names = [column.name for column in cursor.description or ()]
        rows: list[JsonObject] = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    return [UsageTotals(**{name: value for name, value in row.items() if value is not None}) for row in rows]


def total_of(rows: Iterable[UsageTotals]) -> UsageTotals:
    """What was used in all of these."""
    each = list(rows)
    return UsageTotals(**{name: sum(getattr(row, name) for row in each) for name in COUNTED})


def minute_of(zone: str, at: datetime) -> int:
    """At which minute of an hour in UTC a zone's days begin."""
    offset = at.astimezone(ZoneInfo(zone)).utcoffset() or timedelta()
    return -int(offset.total_seconds() // 60) % 60


def _fits(minute: int, since: datetime, until: datetime, zone: str) -> bool:
    """Whether slots that begin at that minute are whole parts of the period, and of each of the zone's days in it."""
    if any(int(moment.timestamp()) % HOUR_S != minute * 60 or moment.microsecond for moment in (since, until)):
        return False
    moment = since
    while moment < until:
        if minute_of(zone, moment) != minute:
            return False
        moment += LOOK_EVERY
    return True
