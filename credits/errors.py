"""What the ledger refuses.

CreditsError
    InsufficientCreditsError   402  the balance is short; nothing was written
    SpendingFrozenError        403  an operator stopped this account's spending
    KeyReusedError             422  the idempotency key belongs to another request
    GrantConflictError         422  the source key belongs to another grant
    InvalidAmountError         400  not a whole number of credits between 1 and 2^53
"""

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
            f"This costs {required} credits; {available} are available.",
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


class KeyReusedError(CreditsError):
    code = "idempotency_key_reused"
    title = "This Idempotency-Key belongs to another request"
    status_code = 422

    def __init__(self, key: str) -> None:
        super().__init__("This Idempotency-Key was used for another request. Send a new key with a new request.")
        self.key = key


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
