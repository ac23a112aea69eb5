"""Holds: credits set aside before an AI call, and settled when its cost is known."""

import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from psycopg.types.json import Jsonb

from common.public_ids import new_id
from common.sides import Side
from credits import limits, locks, settling
from credits.errors import (
    CaptureConflictError,
    HoldExpiredError,
    HoldNotFoundError,
    HoldNotOpenError,
    InvalidHoldTimeError,
)
from credits.ledger import sql
from credits.ledger.results import CaptureResult, HoldResult, ReleaseResult
from credits.models import Hold

# An AI call that takes longer is no call any more; what it held must not be lost for days.
LONGEST_HOLD = timedelta(hours=24)


def hold(
    *,
    account_id: uuid.UUID,
    amount: int,
    idempotency_key: str,
    expires_at: datetime,
    now: datetime,
    feature: str = "",
    quantity: int | None = None,
    description: str = "",
    metadata: Mapping[str, Any] | None = None,
    actor: str = "",
    side: Side = Side.SELLER,
) -> HoldResult:
    """Set `amount` credits aside until they are captured or released, or until `expires_at` (at most LONGEST_HOLD).

    A repeated key of the same `side` answers the first hold, and says what became of it. Refuses as `spend` does, and
    raises InvalidHoldTimeError and TooManyHoldsError.
    """
    sql.check_amount(amount)
    if not now < expires_at <= now + LONGEST_HOLD:
        raise InvalidHoldTimeError
    metadata = metadata or {}
    what = {"feature": feature, "quantity": quantity} if feature else {"amount": amount}
    row = sql.call(
        "credits_hold",
        [
            account_id,
            new_id(),
            amount,
            idempotency_key,
            sql.fingerprint("hold", what, description, metadata),
            feature,
            quantity,
            description,
            Jsonb(metadata),
            actor,
            now,
            expires_at,
            settings.MAX_OPEN_HOLDS_PER_ACCOUNT,
            side,
        ],
        account_id=account_id,
        amount=amount,
        actor=actor,
        now=now,
    )
    limits.send_limit_signals(account_id, row["crossed"], left=row["balance_after"], now=now)
    lots = sql.lots(row["lots"])
    return HoldResult(
        hold_id=row["hold_id"],
        amount=sum(lot.amount for lot in lots),
        balance_after=row["balance_after"],
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        lots=lots,
        status=row["status"],
        captured=row["captured"],
        is_replayed=row["outcome"] == "replayed",
    )


def capture(
    *,
    account_id: uuid.UUID,
    hold_id: uuid.UUID,
    cost: int,
    now: datetime,
    quantity: int | None = None,
    metadata: Mapping[str, Any] | None = None,
    usage: Mapping[str, Any] | None = None,
    actor: str = "",
    side: Side = Side.SELLER,
) -> CaptureResult:
    """Spend what the work cost. Less than was held: the rest goes back. More: it is drawn, if all of it is there.

    `quantity` is how many units it were, where the hold said the most there could be; `usage` is kept as it is.
    A repeated call answers the first one. Raises HoldNotFoundError, CaptureConflictError (captured before, for
    another cost), HoldExpiredError, HoldNotOpenError or InvalidAmountError. (A cost of nothing is a release.)
    """
    sql.check_amount(cost)
    reported = Jsonb(usage) if usage else None
    arguments = [account_id, hold_id, new_id(), cost, Jsonb(metadata or {}), actor, now, quantity, reported, side]
    row = sql.call("credits_capture", arguments, account_id=account_id, amount=cost, actor=actor, now=now)
    match row["outcome"]:
        case "no_hold":
            raise HoldNotFoundError("There is no such hold.")
        case "not_open":
            _raise_not_open(row["status"])
        case "another_cost":
            raise CaptureConflictError("This hold was captured before, for another cost.")
    if row["needs_settling"]:
        settling.settle_debt(account_id=account_id, now=now)
    limits.send_limit_signals(account_id, row["crossed"], left=row["balance_after"], now=now)
    return CaptureResult(
        hold_id=hold_id,
        transaction_id=row["transaction_id"],
        captured=row["captured"],
        missing=cost - row["captured"],
        balance_after=row["balance_after"],
        created_at=row["created_at"],
        lots=sql.lots(row["lots"]),
        feature=row["feature"],
        quantity=row["quantity"],
        description=row["description"],
        is_replayed=row["outcome"] == "replayed",
        returned=row["given_back"],
    )


def release(*, account_id: uuid.UUID, hold_id: uuid.UUID, now: datetime) -> ReleaseResult:
    """Give back all that was set aside. A repeated call changes nothing.

    Raises HoldNotFoundError, HoldExpiredError or HoldNotOpenError.
    """
    with transaction.atomic():
        wallet = locks.lock_wallet(account_id)
        settling.settle_locked(wallet, now=now)
        result = _find(account_id, hold_id)
        if result.status == Hold.Status.RELEASED:
            return ReleaseResult(hold=result, balance_after=wallet.balance, is_replayed=True)
        if result.status != Hold.Status.OPEN:
            _raise_not_open(result.status)
        settling.end_hold(wallet, result, Hold.Status.RELEASED, at=now, now=now)
        settling.store_next_due(wallet)
        return ReleaseResult(hold=result, balance_after=wallet.balance, is_replayed=False)


def extend(*, account_id: uuid.UUID, hold_id: uuid.UUID, expires_at: datetime, now: datetime) -> Hold:
    """Let a hold lapse later (never earlier): at `expires_at`, at most LONGEST_HOLD after it was made.

    Raises HoldNotFoundError, HoldExpiredError, HoldNotOpenError or InvalidHoldTimeError.
    """
    with transaction.atomic():
        wallet = locks.lock_wallet(account_id)
        settling.settle_locked(wallet, now=now)
        result = _find(account_id, hold_id)
        if result.status != Hold.Status.OPEN:
            _raise_not_open(result.status)
        if expires_at > result.created_at + LONGEST_HOLD:
            raise InvalidHoldTimeError
        if expires_at > result.expires_at:
            result.expires_at = expires_at
            result.save(update_fields=["expires_at"])
            settling.store_next_due(wallet)
        return result


def _find(account_id: uuid.UUID, hold_id: uuid.UUID) -> Hold:
    result = Hold.objects.filter(account_id=account_id, pk=hold_id).first()
    if result is None:
        raise HoldNotFoundError("There is no such hold.")
    return result


def _raise_not_open(status: str) -> None:
    if status == Hold.Status.LAPSED:
        raise HoldExpiredError("This hold has lapsed, and its credits went back. Spend instead.")
    raise HoldNotOpenError(f"This hold was {status} before.", hold_status=status)
