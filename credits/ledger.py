"""The one door to the ledger: whatever changes a balance is a function here.

Each locks the account's wallet, settles what time has brought, looks, and writes; a repeated
call with the same key answers what the first one did.
"""

import hashlib
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection, transaction
from psycopg.types.json import Jsonb

from accounts.public_ids import new_id
from credits import locks, posting, settling
from credits.errors import (
    LARGEST_AMOUNT,
    GrantConflictError,
    InsufficientCreditsError,
    InvalidAmountError,
    KeyReusedError,
    SpendingFrozenError,
)
from credits.models import PRIORITY, Grant, Source, Transaction
from credits.money import FREE, Money

# Settling makes a wallet not due at `now`, so one round is enough; two more are for a race with a move of the clock.
MAX_SETTLE_ROUNDS = 3


@dataclass(frozen=True, kw_only=True)
class Lot:
    """What a spend took from one grant."""

    grant_id: uuid.UUID
    source: str
    amount: int


@dataclass(frozen=True, kw_only=True)
class Spent:
    """A spend as the ledger has it; `is_replayed` when an earlier call made it."""

    transaction_id: uuid.UUID
    amount: int
    balance_after: int
    created_at: datetime
    lots: tuple[Lot, ...]
    is_replayed: bool


@dataclass(frozen=True, kw_only=True)
class Granted:
    """A grant and the transaction that made it; `is_replayed` when that was an earlier call's."""

    grant: Grant
    transaction: Transaction
    is_replayed: bool


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
    actor: str = "",
) -> Spent:
    """Take `amount` credits from the account's grants, in their order, in one round trip.

    A repeated key answers the first spend. With a `feature`, the request is the feature and the quantity, whatever
    they cost by then. Raises InsufficientCreditsError, SpendingFrozenError, KeyReusedError or
    InvalidAmountError, and changes nothing then.
    """
    _check_amount(amount)
    metadata = metadata or {}
    what = {"feature": feature, "quantity": quantity} if feature else {"amount": amount}
    arguments = [
        account_id,
        new_id(),
        amount,
        idempotency_key,
        fingerprint("spend", what, description, metadata),
        feature,
        quantity,
        description,
        Jsonb(metadata),
        actor,
        now,
    ]
    for _ in range(MAX_SETTLE_ROUNDS):
        row = _call_spend(arguments)
        match row["outcome"]:
            case "spent" | "replayed":
                return _spent(row)
            case "due":
                settling.settle(account_id=account_id, now=now)
            case "no_wallet":
                locks.open_wallet(account_id)
            case "conflict":
                raise KeyReusedError(idempotency_key)
            case "frozen":
                raise SpendingFrozenError("Spending is stopped for this account. Please write to support.")
            case "insufficient":
                raise InsufficientCreditsError(required=amount, available=row["balance_after"])
    raise RuntimeError(f"the wallet of account {account_id} stays due at {now}")


def grant(
    *,
    account_id: uuid.UUID,
    amount: int,
    source: Source,
    source_key: str,
    now: datetime,
    paid: Money = FREE,
    expires_at: datetime | None = None,
    priority: int | None = None,
    description: str = "",
    actor: str = "",
) -> Granted:
    """Add `amount` credits as one grant, spendable from `now` until `expires_at`.

    A repeated `source_key` answers the first grant. Raises GrantConflictError when that one was of another
    amount or source, and InvalidAmountError; nothing is changed then.
    """
    _check_amount(amount)
    with transaction.atomic():
        wallet = locks.wallet(account_id)
        settling.settle_locked(wallet, now=now)
        if known := Grant.objects.filter(account_id=account_id, source_key=source_key).first():
            if (known.amount, known.source) != (amount, source):
                raise GrantConflictError(f"{source_key} gave {known.amount} credits ({known.source}) before.")
            first = Transaction.objects.get(entries__grant=known, kind=Transaction.Kind.GRANT)
            return Granted(grant=known, transaction=first, is_replayed=True)
        new = Grant(
            account_id=account_id,
            source=source,
            source_key=source_key,
            amount=amount,
            priority=PRIORITY[source] if priority is None else priority,
            effective_at=now,
            expires_at=expires_at,
            paid_minor=paid.minor,
            currency=paid.currency,
        )
        posted = posting.add_grant(wallet, new, now=now, description=description, actor=actor)
        settling.note_next_due(wallet)
        return Granted(grant=new, transaction=posted, is_replayed=False)


def fingerprint(operation: str, *parts: Any) -> bytes:
    """What a request means, as 32 bytes: two requests with one key must agree in it."""
    meaning = json.dumps([operation, *parts], sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(meaning.encode()).digest()


def _check_amount(amount: int) -> None:
    if isinstance(amount, bool) or not isinstance(amount, int) or not 0 < amount <= LARGEST_AMOUNT:
        raise InvalidAmountError(amount)


def _call_spend(arguments: list[Any]) -> dict[str, Any]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM credits_spend(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)", arguments)
        names = [column.name for column in cursor.description or ()]
        return dict(zip(names, cursor.fetchone(), strict=True))


def _spent(row: dict[str, Any]) -> Spent:
    lots = json.loads(row["lots"]) if isinstance(row["lots"], str) else row["lots"]
    return Spent(
        transaction_id=row["transaction_id"],
        amount=row["amount"],
        balance_after=row["balance_after"],
        created_at=row["created_at"],
        lots=tuple(Lot(grant_id=uuid.UUID(lot["grant"]), source=lot["source"], amount=lot["amount"]) for lot in lots),
        is_replayed=row["outcome"] == "replayed",
    )
