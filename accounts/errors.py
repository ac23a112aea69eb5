"""What can be wrong with who is calling.

AccountsError
    TeamError                   something that a team does not do; its text is for the person who asked
ApiError (common.errors)        answered to API clients as a problem with its `code`
    UnauthenticatedError        401
        KeyRevokedError, TokenExpiredError
    InsufficientScopeError      403
    SellerOnlyError             403, a buyer's credentials lower or delay no charge
    AccountClosedError          403, nothing is read, bought or spent for an account that was closed
"""

from common.errors import ApiError


class AccountsError(Exception):
    """Anything this app refuses."""


class TeamError(AccountsError):
    """A change of a team that is refused. The text says why, in the reader's language."""


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


class AccountExistsError(ApiError):
    code = "account_exists"
    title = "There is such an account"
    status_code = 409

    def __init__(self, account: str) -> None:
        super().__init__(f"{account} has this external_id. Change it with PATCH.", account=account)


class AccountHasLoginError(ApiError):
    """Somebody signs in to this account by themselves: they say who they are, and whether it goes."""

    code = "account_has_login"
    title = "This account is somebody's who signs in"
    status_code = 409


class AccountClosedError(ApiError):
    code = "account_closed"
    title = "This account was closed"
    status_code = 403

    def __init__(self) -> None:
        super().__init__("This account was closed. Its ledger is kept; nothing more is read, bought or spent for it.")
