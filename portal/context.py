"""What every page shows: the site's name, who is here for which account, and in the header what it has left."""

from django.conf import settings
from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from accounts.models import User
from common.json_types import JsonObject
from credits import selectors
from portal.current_account import AccountContext, account_context, current_balance


def site(request: HttpRequest) -> JsonObject:
    """Template variables of every page; what costs a query is only looked up where a page shows it."""
    return {
        "site_name": settings.SITE_NAME,
        "site_description": settings.SITE_DESCRIPTION,
        "support_email": settings.SUPPORT_EMAIL,
        "terms_url": settings.TERMS_URL,
        "privacy_url": settings.PRIVACY_URL,
        "imprint_url": settings.IMPRINT_URL,
        "is_sandbox": settings.SANDBOX,
        "acting": SimpleLazyObject(lambda: _acting(request)),
        "header_balance": SimpleLazyObject(lambda: _balance(request)),
    }


def _acting(request: HttpRequest) -> AccountContext | None:
    return account_context(request) if isinstance(request.user, User) else None


def _balance(request: HttpRequest) -> selectors.Balance | None:
    return current_balance(request) if isinstance(request.user, User) else None
