"""What one operator may give alone: so much a day, however it is given, and never to themselves.

Everything that an operation gives is counted, by who gives and by who gets (credits.manual_grant_counts). Beyond
APPROVAL_ABOVE_CREDITS, or APPROVAL_ABOVE_MINOR in money, it takes a second person; what somebody without
`grant_without_limit` gives ends at SUPPORT_GRANT_LIMIT_PER_DAY.
"""

from collections.abc import Iterable

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


def refuse_own_accounts(person: User, accounts: Iterable[Account]) -> None:
    """Raises OperationRefusedError if this person is of one of these accounts (teams.is_of)."""
    if teams.is_of(person, accounts):
        raise OperationRefusedError(_("Nobody does this for an account that they are a member of. Ask a colleague."))


def is_allowed_alone(operation: Operation, request: OperationRequest) -> bool:
    """Whether no second person is needed, as far as is known before it is done. Raises OperationRefusedError."""
    if operation.needs_second_person(request):
        return False
    gift = operation.gives(request)
    if gift is None:
        return True
    by_giver = _most_by(request.operator, gift) - manual_grant_counts.given_by(
        request.actor, unit=gift.unit, now=request.now
    )
    to_account = _most_to(gift) - manual_grant_counts.given_to(gift.to.pk, unit=gift.unit, now=request.now)
    if gift.amount > by_giver and _ends_at_the_limit(request.operator, gift):
        raise _refusal(by_giver)
    return gift.amount <= min(by_giver, to_account)


def count(operation: Operation, request: OperationRequest) -> bool:
    """Count what is given now; False when that takes a second person after all. Raises OperationRefusedError."""
    gift = operation.gives(request)
    if gift is None or gift.amount <= 0:
        return True
    most = _most_by(request.operator, gift)
    try:
        manual_grant_counts.count(
            giver=request.actor,
            account_id=gift.to.pk,
            amount=gift.amount,
            unit=gift.unit,
            most_by_giver=most,
            most_to_account=_most_to(gift),
            now=request.now,
        )
    except GrantLimitExceededError as error:
        if _ends_at_the_limit(request.operator, gift) and error.limit == most:
            raise _refusal(error.left) from error
        return False
    return True


def _ends_at_the_limit(operator: User, gift: Gift) -> bool:
    """Whether this operator's day ends at its limit, instead of going on with a second person."""
    return gift.unit == manual_grant_counts.CREDITS and not operator.has_perm("console.grant_without_limit")


def _most_by(operator: User, gift: Gift) -> int:
    if _ends_at_the_limit(operator, gift):
        return min(int(settings.SUPPORT_GRANT_LIMIT_PER_DAY), _most_to(gift))
    return _most_to(gift)


def _most_to(gift: Gift) -> int:
    return int(
        settings.APPROVAL_ABOVE_CREDITS if gift.unit == manual_grant_counts.CREDITS else settings.APPROVAL_ABOVE_MINOR
    )


def _refusal(left: int) -> OperationRefusedError:
    return OperationRefusedError(
        _("You may give %(most)d credits in a day; %(left)d are left of today's. Ask somebody of Billing.")
        % {"most": settings.SUPPORT_GRANT_LIMIT_PER_DAY, "left": max(0, left)}
    )
