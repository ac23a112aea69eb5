"""What every page shows: the brand, who is here for which account, and in the header what it has left."""

from django.conf import settings
from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from accounts import customer_sessions
from accounts.models import User
from branding import brand
from common.json_types import JsonObject
from credits import selectors
from portal.current_account import AccountContext, account_context, current_balance


def site(request: HttpRequest) -> JsonObject:
    """Template variables of every page; what costs a query is only looked up where a page shows it."""
    return {
        "brand": SimpleLazyObject(brand.current),
        "is_sandbox": settings.SANDBOX,
        "is_guest": customer_sessions.is_guest(request),
        "return_url": SimpleLazyObject(lambda: request.session.get(customer_sessions.RETURN_URL, "")),
        "acting": SimpleLazyObject(lambda: _acting(request)),
        "header_balance": SimpleLazyObject(lambda: _balance(request)),
    }


def _acting(request: HttpRequest) -> AccountContext | None:
    return account_context(request) if isinstance(request.user, User) else None


def _balance(request: HttpRequest) -> selectors.Balance | None:
    return current_balance(request) if isinstance(request.user, User) else None
