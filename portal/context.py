"""What every page shows: the site's name, and in the header what the customer has left."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from accounts import clock, opening
from accounts.models import User
from credits import selectors


def site(request: HttpRequest) -> dict[str, Any]:
    """Template variables of every page; the balance is only looked up where a page shows it."""
    return {
        "site_name": settings.SITE_NAME,
        "is_sandbox": settings.SANDBOX,
        "header_balance": SimpleLazyObject(lambda: _balance(request)),
    }


def _balance(request: HttpRequest) -> selectors.Balance | None:
    if not isinstance(request.user, User):
        return None
    now = clock.now()
    account = opening.personal_account(user=request.user, now=now)
    return selectors.balance(account_id=account.pk, now=now)
