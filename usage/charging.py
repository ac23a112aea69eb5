"""Charging for work in this very process: for apps that live in this Django project, without HTTP.

The same words as the Python client has: `costs` decorates a function, a view or a Celery task; `hold` is a `with`.
"""

import functools
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ParamSpec, TypeVar

from accounts import opening
from accounts.models import Account, User
from common import clock
from credits import ledger
from credits.errors import CreditsError
from usage import spending
from usage.spending import Work

P = ParamSpec("P")
R = TypeVar("R")

ACTOR = "app"
DEFAULT_EXPIRY = timedelta(minutes=15)


def account_of_request(request: Any, *_args: object, **_kwargs: object) -> Account:
    """The personal account of who sent a request: what `costs` charges, by default."""
    user = request.user
    if not isinstance(user, User):
        raise TypeError("Nobody has signed in: put login_required before costs, or name the account.")
    return opening.personal_account(user=user, now=clock.now())


def costs(
    feature: str, *, quantity: int = 1, account: Callable[..., Account] = account_of_request
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Have each call spend on a feature first; what fails is given back.

    `account` is called with the call's own arguments; a view's is its user's. Raises whatever `spending.spend` does.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def charged(*args: P.args, **kwargs: P.kwargs) -> R:
            whose = account(*args, **kwargs)
            spent = spending.spend(
                account=whose,
                work=Work(feature=feature, quantity=quantity),
                idempotency_key=f"{ACTOR}:{uuid.uuid4()}",
                actor=ACTOR,
                now=clock.now(),
            )
            try:
                return function(*args, **kwargs)
            except BaseException as error:
                ledger.reverse(
                    account_id=whose.pk,
                    transaction_id=spent.transaction_id,
                    idempotency_key=f"{ACTOR}:back:{spent.transaction_id}",
                    reason=type(error).__name__[:255],
                    actor=ACTOR,
                    now=clock.now(),
                )
                raise

        return charged

    return decorate


@dataclass
class Holding:
    """Credits set aside for what is inside the `with`."""

    account: Account
    held: ledger.HoldResult
    is_captured: bool = False

    def capture(
        self, *, amount: int | None = None, quantity: int | None = None, usage: Mapping[str, Any] | None = None
    ) -> ledger.CaptureResult:
        """Spend what the work cost; the rest goes back. Raises what `spending.capture` does."""
        created = spending.capture(
            account=self.account,
            hold_id=self.held.hold_id,
            amount=amount,
            quantity=quantity,
            usage=usage,
            actor=ACTOR,
            now=clock.now(),
        )
        self.is_captured = True
        return created


@contextmanager
def hold(
    account: Account,
    *,
    amount: int | None = None,
    feature: str = "",
    max_quantity: int | None = None,
    lasts: timedelta = DEFAULT_EXPIRY,
) -> Iterator[Holding]:
    """Set aside the most that the work may cost; what is not captured goes back. Raises what `spending.hold` does."""
    now = clock.now()
    on_hold = spending.hold(
        account=account,
        work=Work(amount=amount, feature=feature, quantity=max_quantity),
        idempotency_key=f"{ACTOR}:{uuid.uuid4()}",
        expires_at=now + lasts,
        actor=ACTOR,
        now=now,
    )
    holding = Holding(account=account, held=on_hold)
    try:
        yield holding
    except BaseException:
        if not holding.is_captured:
            _release(holding, is_failing=True)
        raise
    if not holding.is_captured:
        _release(holding, is_failing=False)


def _release(holding: Holding, *, is_failing: bool) -> None:
    try:
        ledger.release(account_id=holding.account.pk, hold_id=holding.held.hold_id, now=clock.now())
    except CreditsError:
        # It lapsed by itself. What went wrong inside the `with` matters more.
        if not is_failing:
            raise
