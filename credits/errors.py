"""What the ledger refuses.

CreditsError
    InsufficientCreditsError   402  the balance is short; nothing was written
    AccountInDebtError         402  what was clawed back after it was spent is owed first
    DailyCapReachedError       429  enough paid credits for today; tomorrow there is more
    AccountClosedError         403  the account was closed; its ledger stays as it is
    SpendingFrozenError        403  an operator stopped this account's spending
    GrantLimitExceededError    403  more was given by hand in a day than one person or key may give
    KeyReusedError             422  the idempotency key belongs to another request
    GrantConflictError         422  the source key belongs to another grant
    InvalidAmountError         400  not a whole number of credits between 1 and 2^53
    InvalidHoldTimeError       400  a hold lasts more than no time and at most a day
    TooManyHoldsError          429  capture or release some
    LedgerRowNotFoundError     404
        HoldNotFoundError, TransactionNotFoundError, GrantNotFoundError
    HoldExpiredError           410  it lapsed, and its credits went back
    HoldNotOpenError           409  it was captured or released before
        CaptureConflictError        for another cost
    NotReversibleError         422  only a spend can be given back
    AlreadyReversedError       409
    ReversalTooLargeError      422  more than was spent
"""

from datetime import datetime
from typing import Any, ClassVar

# The largest whole number that every JSON reader keeps exactly; far below what bigint holds.
LARGEST_AMOUNT = 2**53


class CreditsError(Exception):
    """A refusal by the ledger; nothing was changed."""

    code: ClassVar[str]
    title: ClassVar[str]
    status_code: ClassVar[int]

    def __init__(self, detail: str, **extra: Any) -> None:
        super().__init__(detail)
        self.extra = extra


class InsufficientCreditsError(CreditsError):
    code = "insufficient_credits"
    title = "Not enough credits"
    status_code = 402

    def __init__(self, *, required: int, available: int) -> None:
        super().__init__(
            f"This costs {required} {'credit' if required == 1 else 'credits'}; "
            f"{available} {'is' if available == 1 else 'are'} available.",
            required=required,
            available=available,
            shortfall=required - available,
        )
        self.required = required
        self.available = available


class SpendingFrozenError(CreditsError):
    code = "account_frozen"
    title = "Spending is stopped for this account"
    status_code = 403


class AccountClosedError(CreditsError):
    code = "account_closed"
    title = "This account was closed"
    status_code = 403


class AccountInDebtError(CreditsError):
    code = "account_in_debt"
    title = "Credits are owed"
    status_code = 402

    def __init__(self, *, debt: int) -> None:
        super().__init__(
            f"{debt} credits are owed since a payment was taken back. Buying credits pays them first.",
            debt=debt,
            retryable=False,
        )
        self.debt = debt


class DailyCapReachedError(CreditsError):
    code = "daily_cap_reached"
    title = "Enough paid credits for today"
    status_code = 429

    def __init__(self, *, cap: int | None, used: int, resets_at: datetime | None, now: datetime) -> None:
        super().__init__(
            f"At most {cap} paid credits are spent in a day, and {used} are. This is no lack of credits: "
            f"there are more to spend from {resets_at:%H:%M} UTC on.",
            limit=cap,
            used=used,
            resets_at=resets_at.isoformat().replace("+00:00", "Z") if resets_at else None,
            retryable=True,
        )
        self.retry_after_s = max(1, round((resets_at - now).total_seconds())) if resets_at else None


class GrantLimitExceededError(CreditsError):
    code = "grant_limit_exceeded"
    title = "More than may be given in a day"
    status_code = 403

    def __init__(self, *, limit: int, left: int, unit: str) -> None:
        super().__init__(
            f"At most {limit} {unit} are given in a day by one giver, and to one account; {left} of today's are left. "
            "More takes a second person.",
            limit=limit,
            left=left,
        )
        self.limit = limit
        self.left = left


class KeyReusedError(CreditsError):
    code = "idempotency_key_reused"
    title = "This Idempotency-Key belongs to another request"
    status_code = 422

    def __init__(self) -> None:
        super().__init__("This Idempotency-Key was used for another request. Send a new key with a new request.")


class GrantConflictError(CreditsError):
    code = "grant_conflict"
    title = "This grant was made before, with other terms"
    status_code = 422


class InvalidAmountError(CreditsError):
    code = "invalid_amount"
    title = "Not a number of credits"
    status_code = 400

    def __init__(self, amount: object) -> None:
        super().__init__(f"{amount!r} is not a whole number of credits from 1 to {LARGEST_AMOUNT}.")


class InvalidHoldTimeError(CreditsError):
    code = "invalid_request"
    title = "The request cannot be taken as it is"
    status_code = 400

    def __init__(self) -> None:
        super().__init__("A hold ends in the future, and within 24 hours.")


class TooManyHoldsError(CreditsError):
    code = "too_many_holds"
    title = "Too many open holds"
    status_code = 429


class LedgerRowNotFoundError(CreditsError):
    code = "not_found"
    title = "Not found"
    status_code = 404


class HoldNotFoundError(LedgerRowNotFoundError):
    pass


class TransactionNotFoundError(LedgerRowNotFoundError):
    pass


class GrantNotFoundError(LedgerRowNotFoundError):
    pass


class HoldExpiredError(CreditsError):
    code = "hold_expired"
    title = "This hold has lapsed"
    status_code = 410


class HoldNotOpenError(CreditsError):
    code = "hold_not_open"
    title = "This hold is not open any more"
    status_code = 409


class CaptureConflictError(HoldNotOpenError):
    pass


class NotReversibleError(CreditsError):
    code = "not_reversible"
    title = "This cannot be given back"
    status_code = 422


class AlreadyReversedError(CreditsError):
    code = "already_reversed"
    title = "This was given back before"
    status_code = 409


class ReversalTooLargeError(CreditsError):
    code = "reversal_too_large"
    title = "More than was spent"
    status_code = 422
