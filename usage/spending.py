"""Spending on a feature, or a plain number of credits: the rate card decides what a feature costs."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from accounts.models import Account
from common.sides import Side
from credits import ledger, selectors
from credits.errors import HoldNotFoundError, InvalidAmountError
from usage import metrics, rate_card


@dataclass(frozen=True, kw_only=True)
class Work:
    """What credits are spent on: `amount` of them, or so much of a feature; and what the AI behind it used.

    Without a `quantity` it is the tokens that `usage` holds, for a feature that is priced by them, else one.
    """

    amount: int | None = None
    feature: str = ""
    quantity: int | None = None
    description: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    usage: Mapping[str, Any] = field(default_factory=dict)

    def priced(self, *, at: datetime, allow_retired: bool = False) -> rate_card.PricedWork:
        """Its cost by the prices of that moment.

        Raises UnknownFeatureError, TooManyUnitsError or InvalidAmountError.
        """
        if self.feature:
            return rate_card.price(
                feature=self.feature, quantity=self.quantity, usage=self.usage, at=at, allow_retired=allow_retired
            )
        if self.amount is None:
            raise InvalidAmountError(self.amount)
        return rate_card.PricedWork(credits=self.amount, quantity=None)


def spend(
    *, account: Account, work: Work, idempotency_key: str, actor: str, now: datetime, side: Side = Side.SELLER
) -> ledger.SpendResult:
    """Take what the work costs. Raises what `Work.priced` does, and whatever `ledger.spend` raises."""
    priced = work.priced(at=now)
    with metrics.counted("spend"):
        result = ledger.spend(
            account_id=account.pk,
            amount=priced.credits,
            idempotency_key=idempotency_key,
            feature=work.feature,
            quantity=priced.quantity,
            description=work.description,
            metadata=work.metadata,
            usage=work.usage,
            actor=actor,
            side=side,
            now=now,
        )
    if not result.is_replayed:
        metrics.CREDITS.inc(-result.amount)
    return result


def hold(
    *,
    account: Account,
    work: Work,
    idempotency_key: str,
    expires_at: datetime,
    actor: str,
    now: datetime,
    side: Side = Side.SELLER,
) -> ledger.HoldResult:
    """Set aside what the work costs at most. Raises what `spend` does."""
    priced = work.priced(at=now)
    with metrics.counted("hold"):
        return ledger.hold(
            account_id=account.pk,
            amount=priced.credits,
            idempotency_key=idempotency_key,
            expires_at=expires_at,
            feature=work.feature,
            quantity=priced.quantity,
            description=work.description,
            metadata=work.metadata,
            actor=actor,
            side=side,
            now=now,
        )


def capture(
    *,
    account: Account,
    hold_id: uuid.UUID,
    actor: str,
    now: datetime,
    amount: int | None = None,
    quantity: int | None = None,
    usage: Mapping[str, Any] | None = None,
    side: Side = Side.SELLER,
) -> ledger.CaptureResult:
    """Spend what the held work cost: `amount`, or so much of its feature by the prices of when it was held.

    Raises HoldNotFoundError, what `Work.priced` does, and whatever `ledger.capture` raises.
    """
    if amount is None:
        on_hold = selectors.find_hold(account.pk, hold_id)
        if on_hold is None:
            raise HoldNotFoundError("There is no such hold.")
        if not on_hold.feature:
            raise InvalidAmountError(
                None, "This hold is of a number of credits: capture an `amount` (or hold a feature)."
            )
        work = Work(feature=on_hold.feature, quantity=quantity, usage=usage or {})
        priced = work.priced(at=on_hold.created_at, allow_retired=True)
        amount, quantity = priced.credits, priced.quantity
    with metrics.counted("capture"):
        result = ledger.capture(
            account_id=account.pk,
            hold_id=hold_id,
            cost=amount,
            quantity=quantity,
            usage=usage,
            actor=actor,
            side=side,
            now=now,
        )
    if not result.is_replayed:
        metrics.CREDITS.inc(result.captured)
    return result
