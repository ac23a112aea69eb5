"""Spending."""

import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from common.public_ids import new_id
from common.sides import Side
from credits import limits
from credits.ledger import sql
from credits.ledger.results import SpendResult


def spend(
    *,
    account_id: uuid.UUID,
    amount: int,
    idempotency_key: str,
    now: datetime,
    feature: str = "",
    quantity: int | None = None,
    description: str = "",
    metadata: Mapping[str, Any] | None = None,
    usage: Mapping[str, Any] | None = None,
    actor: str = "",
    side: Side = Side.SELLER,
) -> SpendResult:
    """Take `amount` credits from the account's grants, in their order, in one round trip.

    A repeated key of the same `side` answers the first spend, and how much of it was given back since. With a
    `feature`, the request is the feature and the quantity, whatever they cost by then. `usage` is kept with it as it
    is. Raises InsufficientCreditsError, DailyCapReachedError, SpendingLimitReachedError, AccountInDebtError,
    SpendingFrozenError, AccountClosedError, KeyReusedError or InvalidAmountError, and changes nothing then.
    """
    sql.check_amount(amount)
    metadata = metadata or {}
    what = {"feature": feature, "quantity": quantity} if feature else {"amount": amount}
    parts = [what, description, metadata, *([usage] if usage else [])]
    row = sql.call(
        "credits_spend",
        [
            account_id,
            new_id(),
            amount,
            idempotency_key,
            sql.fingerprint("spend", *parts),
            feature,
            quantity,
            description,
            Jsonb(metadata),
            actor,
            now,
            Jsonb(usage) if usage else None,
            side,
        ],
        account_id=account_id,
        amount=amount,
        actor=actor,
        now=now,
    )
    limits.send_limit_signals(account_id, row["crossed"], left=row["balance_after"], now=now)
    return SpendResult(
        transaction_id=row["transaction_id"],
        amount=row["amount"],
        quantity=quantity,
        balance_after=row["balance_after"],
        created_at=row["created_at"],
        lots=sql.lots(row["lots"]),
        is_replayed=row["outcome"] == "replayed",
        returned=row["given_back"],
    )
