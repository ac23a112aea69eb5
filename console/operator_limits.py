"""What one operator may give alone: so much a day, however it is given, and never to themselves.

Everything that an operation gives is counted, by who gives and by who gets (credits.manual_grant_counts). Beyond
APPROVAL_ABOVE_CREDITS, or APPROVAL_ABOVE_MINOR in money, it takes a second person, and for somebody without
`grant_without_limit` beyond SUPPORT_GRANT_LIMIT_PER_DAY: they ask for it from the same form.
"""

from collections.abc import Iterable
from datetime import datetime

from django.conf import settings
from django.utils.translation import gettext as _

from accounts import teams
from accounts.models import Account, User
from console.operations.base import Gift, Operation, OperationRefusedError, OperationRequest
from credits import manual_grant_counts
from credits.errors import GrantLimitExceededError


def check(operation: Operation, request: OperationRequest, *, by: User | None = None) -> None:
    """What nobody does alone or with a friend: act for an account of one's own, or for one that was closed.

    `by` is who decides, if that is somebody else than who asked. Raises OperationRefusedError.
    """
    person = by or request.operator
    if not operation.is_for_own_account:
        refuse_own_accounts(person, operation.accounts(request))
    if request.account.closed_at is not None and not operation.is_for_closed_account:
        raise OperationRefusedError(_("This account was closed."))
    operation.check(request)


def check_approver(operation: Operation, request: OperationRequest, approver: User) -> None:
    """Raises OperationRefusedError for a gift that the second person could not give by themselves either."""
    gift = operation.gives(request)
    if gift is not None and _has_small_limit(approver, gift) and gift.amount > _most_by(approver, gift):
        raise OperationRefusedError(_("Somebody who may give beyond a day's limit approves this."))


def refuse_own_accounts(person: User, accounts: Iterable[Account]) -> None:
    """Raises OperationRefusedError if this person is of one of these accounts (teams.is_of)."""
    if teams.is_of(person, accounts):
        raise OperationRefusedError(_("Nobody does this for an account that they are a member of. Ask a colleague."))


def is_allowed_alone(operation: Operation, request: OperationRequest) -> bool:
    """Whether no second person is needed, as far as is known before it is done."""
    if operation.needs_second_person(request):
        return False
    gift = operation.gives(request)
    if gift is None:
        return True
    by_giver = _most_by(request.operator, gift) - manual_grant_counts.given_by(
        request.actor, unit=gift.unit, now=request.now
    )
    to_account = _most_to(gift) - manual_grant_counts.given_to(gift.to.pk, unit=gift.unit, now=request.now)
    return gift.amount <= min(by_giver, to_account)


def count(operation: Operation, request: OperationRequest) -> bool:
    """Count what is given now; False when that takes a second person after all."""
    gift = operation.gives(request)
    if gift is None or gift.amount <= 0:
        return True
    try:
        manual_grant_counts.count(
            giver=request.actor,
            account_id=gift.to.pk,
            amount=gift.amount,
            unit=gift.unit,
            most_by_giver=_most_by(request.operator, gift),
            most_to_account=_most_to(gift),
            now=request.now,
        )
    except GrantLimitExceededError:
        return False
    return True


def credits_left(operator: User, *, now: datetime) -> int | None:
    """How many credits this operator may still give today by themselves; None for who has no small limit."""
    if operator.has_perm("console.grant_without_limit"):
        return None
    given = manual_grant_counts.given_by(f"user:{operator.pk}", unit=manual_grant_counts.CREDITS, now=now)
    return max(0, int(settings.SUPPORT_GRANT_LIMIT_PER_DAY) - given)


def _has_small_limit(operator: User, gift: Gift) -> bool:
    """Whether this operator gives little in a day by themselves."""
    return gift.unit == manual_grant_counts.CREDITS and not operator.has_perm("console.grant_without_limit")


def _most_by(operator: User, gift: Gift) -> int:
    if _has_small_limit(operator, gift):
        return min(int(settings.SUPPORT_GRANT_LIMIT_PER_DAY), _most_to(gift))
    return _most_to(gift)


def _most_to(gift: Gift) -> int:
    return int(
        settings.APPROVAL_ABOVE_CREDITS if gift.unit == manual_grant_counts.CREDITS else settings.APPROVAL_ABOVE_MINOR
    )
