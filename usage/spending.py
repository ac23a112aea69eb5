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
    cost = rates.cost(feature=feature, quantity=quantity) if feature else amount
    if cost is None:
        raise InvalidAmountError(amount)
    return ledger.spend(
        account_id=account.pk,
        amount=cost,
        idempotency_key=idempotency_key,
        feature=feature,
        quantity=quantity if feature else None,
        description=description,
        metadata=metadata,
        actor=actor,
        now=now,
    )
