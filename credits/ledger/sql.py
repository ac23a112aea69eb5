"""Calling the ledger's functions in the database, and doing what they ask for before they go on."""

import hashlib
import json
import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from common import prepared_statements
from common.json_types import JsonObject
from credits import limits, locks, settling, spending_limits
from credits.errors import (
    LARGEST_AMOUNT,
    AccountClosedError,
    AccountInDebtError,
    CreditsError,
    DailyCapReachedError,
    InsufficientCreditsError,
    InvalidAmountError,
    KeyReusedError,
    SpendingFrozenError,
    TooManyHoldsError,
)
from credits.ledger.results import Lot
from credits.models import Wallet

SIGNATURES = {
    "credits_spend": "uuid uuid bigint text bytea text bigint text jsonb text timestamptz jsonb text",
    "credits_hold": "uuid uuid bigint text bytea text bigint text jsonb text timestamptz timestamptz integer text",
    "credits_capture": "uuid uuid uuid bigint jsonb text timestamptz bigint jsonb text",
}
STATEMENTS = {
    name: "SELECT * FROM {}({})".format(name, ", ".join(f"%s::{kind}" for kind in signature.split()))  # noqa: S608
    for name, signature in SIGNATURES.items()
}

# A new account: open its wallet, settle it, begin its day, and go on. One more for a race with a move of the clock.
MAX_ROUNDS = 5


def call(
    function: str, arguments: Sequence[Any], *, account_id: uuid.UUID, amount: int, now: datetime, actor: str
) -> JsonObject:
    """Call a function of the ledger until it has an answer that is neither housekeeping nor a refusal.

    Raises the refusal.
    """
    for _ in range(MAX_ROUNDS):
        row = _call_once(function, arguments)
        outcome = row["outcome"]
        if outcome in ("spent", "replayed", "held", "captured"):
            return row
        if _prepare(outcome, account_id, now=now):
            continue
        if outcome == "over_limit":
            if over := spending_limits.refusal(account_id, actor, amount, now=now):
                raise over
            continue  # the limit was raised meanwhile
        if refusal := _refusal(outcome, account_id, amount, row["balance_after"], now):
            raise refusal
        return row
    raise RuntimeError(f"the wallet of account {account_id} stays due at {now}")


def _prepare(outcome: str, account_id: uuid.UUID, *, now: datetime) -> bool:
    """Do what a function asks for before it goes on; whether it is to be called again."""
    match outcome:
        case "due":
            settling.settle(account_id=account_id, now=now)
        case "new_day":
            limits.begin_day(account_id=account_id, now=now)
        case "new_period":
            spending_limits.begin_periods(account_id=account_id, now=now)
        case "no_wallet":
            locks.open_wallet(account_id)
        case "in_debt":
            return settling.settle_debt(account_id=account_id, now=now)  # a capture had given paid credits back
        case _:
            return False
    return True


def check_amount(amount: int) -> None:
    """Raises InvalidAmountError unless this is a whole number of credits that JSON keeps exactly."""
    if isinstance(amount, bool) or not isinstance(amount, int) or not 0 < amount <= LARGEST_AMOUNT:
        raise InvalidAmountError(amount)


def fingerprint(operation: str, *parts: Any) -> bytes:
    """What a request means, as 32 bytes: two requests with one key must agree in it."""
    meaning = json.dumps([operation, *parts], sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(meaning.encode()).digest()


def _parsed(value: Any) -> list[JsonObject]:
    """Django leaves JSON as text on its connections."""
    result: list[JsonObject] = json.loads(value) if isinstance(value, str) else value
    return result


def lots(value: Any) -> tuple[Lot, ...]:
    """The lots in a function's answer."""
    return tuple(
        Lot(grant_id=uuid.UUID(row["grant"]), source=row["source"], amount=row["amount"]) for row in _parsed(value)
    )


def _refusal(
    outcome: str, account_id: uuid.UUID, amount: int, available: int | None, now: datetime
) -> CreditsError | None:
    """The error for an outcome that is a refusal."""
    simple: dict[str, CreditsError] = {
        "conflict": KeyReusedError(),
        "insufficient": InsufficientCreditsError(required=amount, available=available or 0),
        "closed": AccountClosedError("This account was closed. Nothing is spent from it any more."),
        "frozen": SpendingFrozenError("Spending is stopped for this account. Please write to support."),
        "too_many": TooManyHoldsError("There are too many open holds. Capture or release some."),
    }
    if outcome in ("in_debt", "capped"):
        wallet = Wallet.objects.get(account_id=account_id)
        if outcome == "in_debt":
            return AccountInDebtError(debt=wallet.debt)
        resets_at = wallet.cap_day_ends_at
        return DailyCapReachedError(cap=wallet.cap, used=wallet.cap_used, resets_at=resets_at, now=now)
    return simple.get(outcome)


def _call_once(function: str, arguments: Sequence[Any]) -> JsonObject:
    row = prepared_statements.fetch_one(STATEMENTS[function], arguments)
    if row is None:
        raise RuntimeError(f"{function} answered nothing")
    return row
