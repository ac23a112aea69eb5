"""What can be wrong with who is calling.

AccountsError
    TeamError                   something that a team does not do; its text is for the person who asked
    ApiError                    answered to API clients as a problem with its `code`
        InvalidRequestError     400, names the fields
        UnauthenticatedError    401
        KeyRevokedError         401
        TokenExpiredError       401
        InsufficientScopeError  403
        SellerOnlyError         403, a buyer's credentials lower or delay no charge
        AccountClosedError      403, nothing is read, bought or spent for an account that was closed
        NotFoundError           404, also for what belongs to somebody else
"""

from dataclasses import asdict, dataclass
from typing import Any, ClassVar


class AccountsError(Exception):
    """Anything this app refuses."""


class TeamError(AccountsError):
    """A change of a team that is refused. The text says why, in the reader's language."""


class ApiError(AccountsError):
    """A refusal that an API client can act on; `extra` joins the problem's members."""

    code: ClassVar[str]
    title: ClassVar[str]
    status_code: ClassVar[int]

    def __init__(self, detail: str, **extra: Any) -> None:
        super().__init__(detail)
        self.extra = extra


@dataclass(frozen=True, kw_only=True)
class FieldProblem:
    """One field of a request that cannot be taken; `pointer` is a JSON pointer into the body."""

    pointer: str
    code: str
    detail: str


class InvalidRequestError(ApiError):
    code = "invalid_request"
    title = "The request cannot be taken as it is"
    status_code = 400

    def __init__(self, *problems: FieldProblem) -> None:
        detail = " ".join(f"{problem.pointer.lstrip('/')}: {problem.detail}" for problem in problems)
        super().__init__(detail, errors=[asdict(problem) for problem in problems])


class UnauthenticatedError(ApiError):
    code = "unauthenticated"
    title = "No valid key"
    status_code = 401


class KeyRevokedError(UnauthenticatedError):
    code = "key_revoked"
    title = "This key no longer works"


class TokenExpiredError(UnauthenticatedError):
    code = "token_expired"
    title = "This token has expired"


class InsufficientScopeError(ApiError):
    code = "insufficient_scope"
    title = "This key may not do that"
    status_code = 403


class SellerOnlyError(ApiError):
    code = "seller_only"
    title = "Only the seller may do this"
    status_code = 403

    def __init__(self) -> None:
        super().__init__(
            "Giving a spend back, and making, extending, capturing or releasing a hold, takes a service key: the app's "
            "own, kept on its server. An account's keys, sessions and tokens read, buy and spend."
        )


class AccountClosedError(ApiError):
    code = "account_closed"
    title = "This account was closed"
    status_code = 403

    def __init__(self) -> None:
        super().__init__("This account was closed. Its ledger is kept; nothing more is read, bought or spent for it.")


class NotFoundError(ApiError):
    code = "not_found"
    title = "Not found"
    status_code = 404
