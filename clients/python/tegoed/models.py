"""What the server answers. Fields that a newer server adds are passed over."""

import dataclasses
import types
import typing
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cache
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Usage:
    """What the AI behind a spend used: sent with it, and answered with it. All of it is optional."""

    model: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    provider_cost_micros: int | None = None
    latency_ms: int | None = None

    def as_json(self) -> dict[str, Any]:
        """What the API says of it."""
        return {name: value for name, value in dataclasses.asdict(self).items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class Bucket:
    kind: str
    remaining: int
    expires_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class FreeToday:
    limit: int
    used: int
    remaining: int
    resets_at: datetime


@dataclass(frozen=True, kw_only=True)
class Refill:
    amount: int
    at: datetime


@dataclass(frozen=True, kw_only=True)
class Block:
    """Why nothing can be spent now, by the code of the refusal, and until when."""

    code: str
    until: datetime | None


@dataclass(frozen=True, kw_only=True)
class Balance:
    account: str
    available: int
    spendable: int
    blocked: Block | None
    held: int
    posted: int
    debt: int
    low: bool
    buckets: tuple[Bucket, ...]
    free_today: FreeToday | None
    next_refill: Refill | None
    tz: str


@dataclass(frozen=True, kw_only=True)
class Lot:
    """What a transaction took from, or gave to, one grant."""

    grant: str
    source: str
    amount: int


@dataclass(frozen=True, kw_only=True)
class Transaction:
    id: str
    type: str
    amount: int
    balance_after: int
    lots: tuple[Lot, ...]
    feature: str | None = None
    quantity: int | None = None
    description: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)
    usage: Usage | None = None
    returned: int = 0  # of it given back since: a replayed spend may have been undone
    created: datetime


@dataclass(frozen=True, kw_only=True)
class Captured(Transaction):
    """A spend that a hold became. `missing` credits of the cost were neither held nor there any more."""

    hold: str
    missing: int


@dataclass(frozen=True, kw_only=True)
class Check:
    allowed: bool
    cost: int
    available: int
    reason: str | None


@dataclass(frozen=True, kw_only=True)
class HoldState:
    id: str
    status: str
    amount: int
    captured: int | None
    available: int
    feature: str | None
    expires_at: datetime
    created: datetime


@dataclass(frozen=True, kw_only=True)
class Problem:
    code: str
    title: str
    detail: str


@dataclass(frozen=True, kw_only=True)
class Answered:
    """One spend of a batch: its transaction, or why there is none."""

    status: int
    replayed: bool
    transaction: Transaction | None
    problem: Problem | None


@dataclass(frozen=True, kw_only=True)
class Grant:
    id: str
    source: str
    amount: int
    remaining: int
    priority: int
    effective_at: datetime
    expires_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class Checkout:
    id: str
    session_id: str
    status: str
    url: str | None
    credits: int
    amount: int
    currency: str
    qr_svg_url: str | None = None
    client_secret: str | None = None
    receipt_url: str | None = None
    expires_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Token:
    token: str
    expires_at: datetime
    scopes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class UsageRow:
    day: date | None
    feature: str | None
    key: str | None
    model: str | None
    uses: int
    quantity: int
    credits: int
    returned: int
    input_tokens: int
    output_tokens: int
    provider_cost_micros: int


@dataclass(frozen=True, kw_only=True)
class UsageSummary:
    tz: str
    data: tuple[UsageRow, ...]
    total: UsageRow


def after_capture(state: HoldState, made: Captured) -> HoldState:
    """How a hold stands once it was captured."""
    return dataclasses.replace(state, status="captured", captured=-made.amount, available=made.balance_after)


def parse(kind: type[T], data: Any) -> T:
    """`data` as an instance of a class of this module."""
    result: T = _parsed(kind, data)
    return result


def _parsed(kind: Any, data: Any) -> Any:
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        return None if data is None else _parsed(next(each for each in inner if each is not type(None)), data)
    if origin is tuple:
        return tuple(_parsed(inner[0], each) for each in data)
    if kind is datetime:
        return datetime.fromisoformat(data)
    if kind is date:
        return date.fromisoformat(data)
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        hints = _hints(kind)
        return kind(**{name: _parsed(hint, data[name]) for name, hint in hints.items() if name in data})
    return data


@cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)
