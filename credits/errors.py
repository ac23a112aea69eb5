"""What the ledger refuses.

CreditsError
    InsufficientCreditsError    the balance is short; nothing was written
    AccountInDebtError          what was clawed back after it was spent is owed first
    DailyCapReachedError        enough paid credits for today; tomorrow there is more
    SpendingLimitReachedError   enough for this key or member, for today or this month
    AccountClosedError          the account was closed; its ledger stays as it is
    SpendingFrozenError         an operator stopped this account's spending
    GrantLimitExceededError     more was given by hand in a day than one person or key may give
    KeyReusedError              the idempotency key belongs to another request
    GrantConflictError          the source key belongs to another grant
    InvalidAmountError          not a whole number of credits between 1 and 2^53
    InvalidHoldTimeError        a hold lasts more than no time and at most a day
    TooManyHoldsError           capture or release some
    LedgerRowNotFoundError     404
        HoldNotFoundError, TransactionNotFoundError, GrantNotFoundError
    HoldExpiredError            it lapsed, and its credits went back
    HoldNotOpenError            it was captured or released before
        CaptureConflictError        for another cost
    NotReversibleError          only a spend can be given back
    AlreadyReversedError       409
    ReversalTooLargeError       more than was spent
"""

from datetime import datetime

from common.errors import Refusal

# The largest whole number that every JSON reader keeps exactly; far below what bigint holds.
LARGEST_AMOUNT = 2**53


class CreditsError(Refusal):
    """A refusal by the ledger; nothing was changed. What it is over HTTP, credits/api/refusals.py says."""


class InsufficientCreditsError(CreditsError):
    code = "insufficient_credits"
    title = "Not enough credits"

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


class AccountClosedError(CreditsError):
    code = "account_closed"
    title = "This account was closed"


class AccountInDebtError(CreditsError):
    code = "account_in_debt"
    title = "Credits are owed"

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


class SpendingLimitReachedError(CreditsError):
    code = "spending_limit_reached"
    title = "This key or member has spent enough"

    def __init__(self, *, period: str, limit: int, used: int, resets_at: datetime, now: datetime) -> None:
        super().__init__(
            f"At most {limit} credits are spent in a {period} by this key or member, and {used} are. This is no lack "
            f"of credits: an admin of the account sets the limit, and a new {period} begins at "
            f"{resets_at:%Y-%m-%d %H:%M} UTC.",
            period=period,
            limit=limit,
            used=used,
            resets_at=resets_at.isoformat().replace("+00:00", "Z"),
            retryable=True,
        )
        self.retry_after_s = max(1, round((resets_at - now).total_seconds()))


class GrantLimitExceededError(CreditsError):
    code = "grant_limit_exceeded"
    title = "More than may be given in a day"

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

    def __init__(self) -> None:
        super().__init__("This Idempotency-Key was used for another request. Send a new key with a new request.")


class GrantConflictError(CreditsError):
    code = "grant_conflict"
    title = "This grant was made before, with other terms"


class InvalidAmountError(CreditsError):
    code = "invalid_amount"
    title = "Not a number of credits"

    def __init__(self, amount: object, detail: str = "") -> None:
        super().__init__(detail or f"{amount!r} is not a whole number of credits from 1 to {LARGEST_AMOUNT}.")


class InvalidHoldTimeError(CreditsError):
    code = "invalid_request"
    title = "The request cannot be taken as it is"

    def __init__(self) -> None:
        super().__init__("A hold ends in the future, and within 24 hours.")


class TooManyHoldsError(CreditsError):
    code = "too_many_holds"
    title = "Too many open holds"


class LedgerRowNotFoundError(CreditsError):
    code = "not_found"
    title = "Not found"


class HoldNotFoundError(LedgerRowNotFoundError):
    pass


class TransactionNotFoundError(LedgerRowNotFoundError):
    pass


class GrantNotFoundError(LedgerRowNotFoundError):
    pass


class HoldExpiredError(CreditsError):
    code = "hold_expired"
    title = "This hold has lapsed"


class HoldNotOpenError(CreditsError):
    code = "hold_not_open"
    title = "This hold is not open any more"


class CaptureConflictError(HoldNotOpenError):
    pass


class NotReversibleError(CreditsError):
    code = "not_reversible"
    title = "This cannot be given back"


class AlreadyReversedError(CreditsError):
    code = "already_reversed"
    title = "This was given back before"


class ReversalTooLargeError(CreditsError):
    code = "reversal_too_large"
    title = "More than was spent"
