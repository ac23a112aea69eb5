"""What the ledger's operations answer."""

import uuid
from dataclasses import dataclass
from datetime import datetime

from credits.models import Grant, Hold, Transaction


@dataclass(frozen=True, kw_only=True)
class Lot:
    """What an operation took from, or gave back to, one grant."""

    grant_id: uuid.UUID
    source: str
    amount: int


@dataclass(frozen=True, kw_only=True)
class SpendResult:
    """A spend as the ledger has it; `is_replayed` when an earlier call made it, `returned` of it given back since."""

    transaction_id: uuid.UUID
    amount: int
    quantity: int | None
    balance_after: int
    created_at: datetime
    lots: tuple[Lot, ...]
    is_replayed: bool
    returned: int


@dataclass(frozen=True, kw_only=True)
class GrantResult:
    """A grant and the transaction that made it; `is_replayed` when that was an earlier call's."""

    grant: Grant
    transaction: Transaction
    is_replayed: bool


@dataclass(frozen=True, kw_only=True)
class HoldResult:
    """Credits set aside; they come back by themselves at `expires_at`. A replayed hold says what became of it."""

    hold_id: uuid.UUID
    amount: int
    balance_after: int
    created_at: datetime
    expires_at: datetime
    lots: tuple[Lot, ...]
    status: str
    captured: int | None
    is_replayed: bool


@dataclass(frozen=True, kw_only=True)
class CaptureResult:
    """What a hold cost in the end. `missing` credits of the cost were neither held nor there any more."""

    hold_id: uuid.UUID
    transaction_id: uuid.UUID
    captured: int
    missing: int
    balance_after: int
    created_at: datetime
    lots: tuple[Lot, ...]
    feature: str
    quantity: int | None
    description: str
    is_replayed: bool
    returned: int


@dataclass(frozen=True, kw_only=True)
class ReleaseResult:
    """A hold whose credits all went back."""

    hold: Hold
    balance_after: int
    is_replayed: bool


@dataclass(frozen=True, kw_only=True)
class CorrectionResult:
    """A reversal or an adjustment, as its transaction."""

    transaction: Transaction
    is_replayed: bool


@dataclass(frozen=True, kw_only=True)
class RevokeResult:
    """What a clawback took from its grant, and what became debt. Without a transaction there was nothing to take."""

    taken: int
    debt: int
    transaction: Transaction | None
    is_replayed: bool
