"""What can go wrong.

TegoedError
    ConnectionFailed         nobody answered, after all tries; sending the same key again is safe
    InvalidAnswer            what answered is not the server: a proxy's page, or nothing
    ApiError                 the server refused: `status`, `code`, `detail`, `request_id`, and all else in `problem`
        InsufficientCredits  402  `required`, `available`, `shortfall`, `buy_url`
        AccountInDebt        402
        DailyCapReached      429  `retry_after_s`: tomorrow there is more
        SpendingLimitReached 429  `retry_after_s`: this key or member has spent enough
        RateLimited          429  `retry_after_s`
        InvalidRequest       400  `errors`: which field, and why
        KeyReused            422  the idempotency key belongs to another request
        HoldNotOpen          409, 410  it was captured, released, or has lapsed
        Unauthenticated      401
        NotAllowed           403
        NotFound             404
        ServerError          5xx, after all tries
    ForgedWebhook            a webhook that is not signed as it should be
"""

from typing import Any


class TegoedError(Exception):
    """Anything this client raises."""


class ConnectionFailed(TegoedError):
    """Nobody answered. Whether the call was done is unknown: send it again with the same `idempotency_key`."""

    def __init__(self, reason: str, *, idempotency_key: str | None) -> None:
        super().__init__(reason)
        self.idempotency_key = idempotency_key


class ForgedWebhook(TegoedError):
    """A webhook that is not signed as it should be, or not about now: do not act on it."""


class InvalidAnswer(TegoedError):
    """What answered is not the server: a proxy's page, or nothing. Whether the call was done is unknown."""

    def __init__(self, reason: str, *, status: int, idempotency_key: str | None) -> None:
        super().__init__(reason)
        self.status = status
        self.idempotency_key = idempotency_key


class ApiError(TegoedError):
    """The server refused, and says why."""

    def __init__(self, status: int, problem: dict[str, Any], *, retry_after_s: int | None = None) -> None:
        self.status = status
        self.problem = problem
        self.code = str(problem.get("code", "unknown"))
        self.detail = str(problem.get("detail", ""))
        self.request_id = str(problem.get("request_id", ""))
        self.retry_after_s = retry_after_s
        super().__init__(f"{status} {self.code}: {self.detail}")


class InsufficientCredits(ApiError):
    """Too few credits. `buy_url` is where there are more."""

    @property
    def required(self) -> int:
        return int(self.problem["required"])

    @property
    def available(self) -> int:
        return int(self.problem["available"])

    @property
    def shortfall(self) -> int:
        return int(self.problem["shortfall"])

    @property
    def buy_url(self) -> str:
        return str(self.problem.get("buy_url", ""))


class AccountInDebt(ApiError):
    """Credits are owed since a payment was taken back."""


class DailyCapReached(ApiError):
    """Enough paid credits for today."""


class SpendingLimitReached(ApiError):
    """This key or member has spent what it may in a day or month."""


class RateLimited(ApiError):
    """Too many requests."""


class InvalidRequest(ApiError):
    """The request cannot be taken as it is; `errors` names the fields."""

    @property
    def errors(self) -> list[dict[str, str]]:
        return list(self.problem.get("errors", []))


class KeyReused(ApiError):
    """This idempotency key belongs to another request."""


class HoldNotOpen(ApiError):
    """The hold was captured or released before, or has lapsed."""


class Unauthenticated(ApiError):
    """The key or token is not valid, or no longer."""


class NotAllowed(ApiError):
    """The key may not do that."""


class NotFound(ApiError):
    """It is not there, or not this key's."""


class ServerError(ApiError):
    """The server failed, or is away, after all tries. Sending the same key again is safe."""


BY_CODE: dict[str, type[ApiError]] = {
    "insufficient_credits": InsufficientCredits,
    "account_in_debt": AccountInDebt,
    "daily_cap_reached": DailyCapReached,
    "spending_limit_reached": SpendingLimitReached,
    "rate_limited": RateLimited,
    "idempotency_key_reused": KeyReused,
    "hold_not_open": HoldNotOpen,
    "hold_expired": HoldNotOpen,
}
FAILURES_FROM = 500
BY_STATUS: dict[int, type[ApiError]] = {400: InvalidRequest, 401: Unauthenticated, 403: NotAllowed, 404: NotFound}


def of(status: int, problem: dict[str, Any], *, retry_after_s: int | None) -> ApiError:
    """The exception for a problem."""
    otherwise = ServerError if status >= FAILURES_FROM else ApiError
    kind = BY_CODE.get(str(problem.get("code"))) or BY_STATUS.get(status, otherwise)
    return kind(status, problem, retry_after_s=retry_after_s)
