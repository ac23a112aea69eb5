"""Staff looking at the customers' pages as a customer sees them: which account, kept in their session."""

import uuid

from django.http import HttpRequest

from accounts.models import Account

KEY = "viewed_account"
PERMISSION = "console.view_as_customer"


def start(request: HttpRequest, account: Account) -> None:
    request.session[KEY] = str(account.pk)


def stop(request: HttpRequest) -> None:
    request.session.pop(KEY, None)


def impersonated_account(request: HttpRequest) -> Account | None:
    """The account that is looked at, by somebody who may; asked with each request, so that a right taken is gone."""
    known = request.session.get(KEY)
    if not known or not request.user.is_staff or not request.user.has_perm(PERMISSION):
        return None
    return Account.objects.filter(pk=uuid.UUID(known)).first()
