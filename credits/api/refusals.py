"""What the ledger's refusals are over HTTP, and which of them the operations on credits share."""

from api.idempotency import IdempotencyKeyMissingError
from api.problems import Refusing, register_statuses
from credits import errors

register_statuses(
    {
        errors.InsufficientCreditsError: 402,
        errors.SpendingFrozenError: 403,
        errors.AccountClosedError: 403,
        errors.AccountInDebtError: 402,
        errors.DailyCapReachedError: 429,
        errors.SpendingLimitReachedError: 429,
        errors.GrantLimitExceededError: 403,
        errors.KeyReusedError: 422,
        errors.GrantConflictError: 422,
        errors.InvalidAmountError: 400,
        errors.InvalidHoldTimeError: 400,
        errors.TooManyHoldsError: 429,
        errors.LedgerRowNotFoundError: 404,
        errors.HoldExpiredError: 410,
        errors.HoldNotOpenError: 409,
        errors.NotReversibleError: 422,
        errors.AlreadyReversedError: 409,
        errors.ReversalTooLargeError: 422,
    }
)

WITH_A_KEY: list[Refusing] = [IdempotencyKeyMissingError, errors.KeyReusedError]
SPENDING: list[Refusing] = [
    errors.InsufficientCreditsError,
    errors.AccountInDebtError,
    errors.SpendingFrozenError,
    errors.DailyCapReachedError,
    errors.SpendingLimitReachedError,
]
ENDING_HOLDS: list[Refusing] = [errors.HoldExpiredError, errors.HoldNotOpenError]
