"""The one door to the ledger: whatever changes a balance is a function here.

Each locks the account's wallet, settles what time has brought, looks, and writes; a repeated call with the same key
answers what the first one did. Refusals are errors of `credits.errors`, and change nothing.
"""

from credits.ledger.checking import CheckResult, check
from credits.ledger.correcting import (
    adjust,
    await_return,
    can_be_given_back,
    restore,
    reverse,
    revoke,
    stop_awaiting,
)
from credits.ledger.granting import grant
from credits.ledger.holding import LONGEST_HOLD, capture, extend, hold, release
from credits.ledger.results import (
    CaptureResult,
    CorrectionResult,
    GrantResult,
    HoldResult,
    Lot,
    ReleaseResult,
    RevokeResult,
    SpendResult,
)
from credits.ledger.spending import spend
from credits.settling import settle

__all__ = [
    "LONGEST_HOLD",
    "CaptureResult",
    "CheckResult",
    "CorrectionResult",
    "GrantResult",
    "HoldResult",
    "Lot",
    "ReleaseResult",
    "RevokeResult",
    "SpendResult",
    "adjust",
    "await_return",
    "can_be_given_back",
    "capture",
    "check",
    "extend",
    "grant",
    "hold",
    "release",
    "restore",
    "reverse",
    "revoke",
    "settle",
    "spend",
    "stop_awaiting",
]
