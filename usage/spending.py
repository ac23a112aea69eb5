"""Spending on a feature, or a plain number of credits: the rate card decides what a feature costs."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from accounts.models import Account
from credits import ledger
from credits.errors import InvalidAmountError
from usage import rates


def spend(
    *,
    account: Account,
    idempotency_key: str,
    actor: str,
    now: datetime,
    amount: int | None = None,
    feature: str = "",
    quantity: int = 1,
    description: str = "",
    metadata: Mapping[str, Any] | None = None,
) -> ledger.Spent:
    """Take `amount` credits, or what `quantity` of `feature` costs.

    Raises UnknownFeatureError and whatever `ledger.spend` raises.
    """
    return ledger.spend(
        account_id=account.pk,
        amount=cost(amount=amount, feature=feature, quantity=quantity),
        idempotency_key=idempotency_key,
        feature=feature,
        quantity=quantity if feature else None,
        description=description,
        metadata=metadata,
        actor=actor,
        now=now,
    )


def hold(
    *,
    account: Account,
    idempotency_key: str,
    expires_at: datetime,
    actor: str,
    now: datetime,
    amount: int | None = None,
    feature: str = "",
    quantity: int = 1,
    description: str = "",
    metadata: Mapping[str, Any] | None = None,
) -> ledger.Held:
    """Set aside `amount` credits, or what `quantity` of `feature` costs at most. Raises what `spend` does."""
    return ledger.hold(
        account_id=account.pk,
        amount=cost(amount=amount, feature=feature, quantity=quantity),
        idempotency_key=idempotency_key,
        expires_at=expires_at,
        feature=feature,
        quantity=quantity if feature else None,
        description=description,
        metadata=metadata,
        actor=actor,
        now=now,
    )


def cost(*, amount: int | None, feature: str, quantity: int) -> int:
    """What is asked for, in credits. Raises UnknownFeatureError, TooManyUnitsError or InvalidAmountError."""
    found = rates.cost(feature=feature, quantity=quantity) if feature else amount
    if found is None:
        raise InvalidAmountError(amount)
    return found
