"""Sums of usage, an hour at a time, so that a page of a month reads hundreds of rows and not a million.

The ledger stays the truth: a slot is a sum of its rows up to the account's mark, and `usage.usage_summary` adds what
came after the mark from the ledger itself. So a sum is right at every moment, rolled up or not.
"""

import time
import uuid
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper

from accounts.models import Account
from common import clock
from common.json_types import JsonObject
from credits import selectors
from usage.models import UsageMark, UsageSlot
from usage.usage_summary import NOTHING, minute_of

# Ids are made just before their rows are written; by then every row with an older id is there, or never will be.
SETTLED_AFTER = timedelta(minutes=10)
# How many of an account's rows are summed in one transaction.
BATCH = 50_000
# Accounts that were used in so many days are looked at; one that comes back is looked at again.
LOOK_BACK = timedelta(days=2)

SLOT = "date_bin('1 hour', spent.created_at, TIMESTAMPTZ '2000-01-01 00:00Z' + make_interval(mins => %(minute)s))"

ADD_SPENDS = f"""
INSERT INTO usage_usageslot AS slot (account_id, starts_at, feature, actor, model, uses, quantity, credits, returned,
                                     input_tokens, output_tokens, provider_cost_micros)
SELECT spent.account_id, {SLOT}, spent.feature, spent.actor, coalesce(spent.usage ->> 'model', ''),
       count(*), sum(coalesce(spent.quantity, 0)), sum(-spent.amount), 0,
       coalesce(sum((spent.usage ->> 'input_tokens')::bigint), 0),
       coalesce(sum((spent.usage ->> 'output_tokens')::bigint), 0),
       coalesce(sum((spent.usage ->> 'provider_cost_micros')::bigint), 0)
FROM credits_transaction spent
WHERE spent.account_id = %(account_id)s AND spent.kind = 'spend' AND spent.id > %(after)s AND spent.id <= %(upto)s
GROUP BY 1, 2, 3, 4, 5
ON CONFLICT (account_id, starts_at, feature, actor, model) DO UPDATE SET
       uses = slot.uses + excluded.uses, quantity = slot.quantity + excluded.quantity,
       credits = slot.credits + excluded.credits, input_tokens = slot.input_tokens + excluded.input_tokens,
       output_tokens = slot.output_tokens + excluded.output_tokens,
       provider_cost_micros = slot.provider_cost_micros + excluded.provider_cost_micros
"""  # noqa: S608 - constants
# What was given back counts where it was spent.
ADD_RETURNS = f"""
UPDATE usage_usageslot slot SET returned = slot.returned + back.amount
FROM (
    SELECT {SLOT} AS starts_at, spent.feature, spent.actor, coalesce(spent.usage ->> 'model', '') AS model,
           sum(given.amount) AS amount
    FROM credits_transaction given
    JOIN credits_transaction spent ON spent.account_id = given.account_id AND spent.id = given.reverses_id
    WHERE given.account_id = %(account_id)s AND given.reverses_id IS NOT NULL AND spent.kind = 'spend'
          AND given.id > %(after)s AND given.id <= %(upto)s
    GROUP BY 1, 2, 3, 4
) back
WHERE slot.account_id = %(account_id)s AND slot.starts_at = back.starts_at AND slot.feature = back.feature
      AND slot.actor = back.actor AND slot.model = back.model
"""  # noqa: S608 - constants
LAST_OF_BATCH = """
SELECT id FROM credits_transaction WHERE account_id = %(account_id)s AND id > %(after)s AND id <= %(upto)s
ORDER BY id OFFSET %(skip)s LIMIT 1
"""
LATEST = """
SELECT id FROM credits_transaction WHERE account_id = %(account_id)s AND id > %(after)s AND id <= %(upto)s
ORDER BY id DESC LIMIT 1
"""

Watch = Callable[[Iterable[uuid.UUID]], Iterable[uuid.UUID]]


def roll_up_usage(*, now: datetime, watch: Watch = iter) -> int:
    """Roll up every account that was used lately; answers how many had something new."""
    upto = settled_until()
    return sum(roll_up(account_id, upto=upto) for account_id in watch(selectors.active_since(now - LOOK_BACK)))


def roll_up(account_id: uuid.UUID, *, upto: uuid.UUID) -> bool:
    """Add an account's rows up to `upto` to its slots, once each; whether there were any."""
    _begin_anew_if_moved(account_id)
    has_new = False
    while _roll_batch(account_id, upto=upto):
        has_new = True
    return has_new


def _begin_anew_if_moved(account_id: uuid.UUID) -> None:
    """See that there is a mark; an account whose days begin at another minute than its slots is summed again."""
    zone = Account.objects.values_list("time_zone", flat=True).get(pk=account_id)
    minute = minute_of(zone, clock.now())
    with transaction.atomic():
        UsageMark.objects.get_or_create(account_id=account_id, defaults={"rolled_to": NOTHING, "minute": minute})
        moved = UsageMark.objects.select_for_update().filter(account_id=account_id).exclude(minute=minute)
        if moved.exists():
            UsageSlot.objects.filter(account_id=account_id).delete()
            moved.update(rolled_to=NOTHING, minute=minute)


def settled_until() -> uuid.UUID:
    """The first id of ten minutes ago, by the clock that ids are made of (which no sandbox moves)."""
    milliseconds = int((time.time() - SETTLED_AFTER.total_seconds()) * 1000)
    return uuid.UUID(int=milliseconds << 80)


def _roll_batch(account_id: uuid.UUID, *, upto: uuid.UUID) -> bool:
    with transaction.atomic():
        mark = UsageMark.objects.select_for_update().get(account_id=account_id)
        fields: JsonObject = {
            "account_id": account_id, "after": mark.rolled_to, "upto": upto, "minute": mark.minute,
        }  # fmt: skip
        with connection.cursor() as cursor:
            last = _last(cursor, fields)
            if last is None:
                return False
            fields["upto"] = last
            cursor.execute(ADD_SPENDS, fields)
            cursor.execute(ADD_RETURNS, fields)
        mark.rolled_to = last
        mark.save(update_fields=["rolled_to"])
    return True


def _last(cursor: CursorWrapper, asked: JsonObject) -> uuid.UUID | None:
    """The last id of the batch: the one that fills it, else the latest there is."""
    cursor.execute(LAST_OF_BATCH, {**asked, "skip": BATCH - 1})
    if full := cursor.fetchone():
        last: uuid.UUID = full[0]
        return last
    cursor.execute(LATEST, asked)
    row = cursor.fetchone()
    return row[0] if row else None
