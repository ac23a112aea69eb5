"""What billing does when the rooms below tell of something."""

from datetime import datetime
from typing import Any

from accounts.models import Account
from accounts.signals import account_opened
from billing import free_plan


def connect() -> None:
    account_opened.connect(start_free_plan, dispatch_uid="billing.start_free_plan")


def start_free_plan(*, account: Account, now: datetime, **_kwargs: Any) -> None:
    """A new account has its free credits at once."""
    free_plan.start(account=account, now=now)
