"""Spend, hold and sell credits with a Tegoed server.

    from tegoed import Tegoed

    client = Tegoed(api_key="tg_live_…", base_url="https://credits.example.com")
    client.spend(feature="message", account="ext:42")

Every call may be repeated: the client sends one idempotency key for all tries of a call. `AsyncTegoed` is the same with
`await`. Whatever is refused is an exception that says why: see `tegoed.errors`.
"""

from tegoed.asynchronous import AsyncHold, AsyncTegoed
from tegoed.errors import (
    AccountInDebt,
    ApiError,
    ConnectionFailed,
    DailyCapReached,
    ForgedWebhook,
    HoldNotOpen,
    InsufficientCredits,
    InvalidAnswer,
    InvalidRequest,
    KeyReused,
    NotAllowed,
    NotFound,
    RateLimited,
    ServerError,
    SpendingLimitReached,
    TegoedError,
    Unauthenticated,
)
from tegoed.models import (
    Answered,
    Balance,
    Captured,
    Check,
    Checkout,
    Grant,
    HoldState,
    Lot,
    Token,
    Transaction,
    Usage,
    UsageRow,
    UsageSummary,
)
from tegoed.synchronous import Hold, Tegoed
from tegoed.version import __version__
from tegoed.webhooks import verify_webhook

__all__ = [
    "AccountInDebt",
    "Answered",
    "ApiError",
    "AsyncHold",
    "AsyncTegoed",
    "Balance",
    "Captured",
    "Check",
    "Checkout",
    "ConnectionFailed",
    "DailyCapReached",
    "ForgedWebhook",
    "Grant",
    "Hold",
    "HoldNotOpen",
    "HoldState",
    "InsufficientCredits",
    "InvalidAnswer",
    "InvalidRequest",
    "KeyReused",
    "Lot",
    "NotAllowed",
    "NotFound",
    "RateLimited",
    "ServerError",
    "SpendingLimitReached",
    "Tegoed",
    "TegoedError",
    "Token",
    "Transaction",
    "Unauthenticated",
    "Usage",
    "UsageRow",
    "UsageSummary",
    "__version__",
    "verify_webhook",
]
