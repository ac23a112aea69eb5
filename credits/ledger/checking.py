"""May this be spent? The answer that a spend would get at this moment; nothing is set aside."""

import uuid
from dataclasses import dataclass
from datetime import datetime

from django.db import connection

from credits import limits, settling, spending_limits
from credits.errors import (
    AccountClosedError,
    AccountInDebtError,
    DailyCapReachedError,
    InsufficientCreditsError,
    SpendingFrozenError,
)
from credits.ledger import sql

# What the database's own answer means to a client.
CODES = {
    "insufficient": InsufficientCreditsError.code,
    "in_debt": AccountInDebtError.code,
    "capped": DailyCapReachedError.code,
    "frozen": SpendingFrozenError.code,
    "closed": AccountClosedError.code,
}


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """Whether a spend would go through; if not, the code of its refusal."""

    available: int
    refusal: str | None


def check(*, account_id: uuid.UUID, amount: int, now: datetime, actor: str = "") -> CheckResult:
    """What a spend of `amount` by this actor would be answered. Raises InvalidAmountError."""
    sql.check_amount(amount)
    settling.settle(account_id=account_id, now=now)
    limits.begin_day(account_id=account_id, now=now)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT credits_refusal(wallet, %s, %s), wallet.balance FROM credits_wallet wallet WHERE account_id = %s",
            [amount, now, account_id],
        )
        outcome, available = cursor.fetchone()
    code = CODES.get(outcome) if outcome else None
    if code is None:
        spending_limits.begin_periods(account_id=account_id, now=now)
        over = spending_limits.refusal(account_id, actor, amount, now=now)
        code = over.code if over else None
    return CheckResult(available=available, refusal=code)
