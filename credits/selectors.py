"""Reading the ledger. Every balance answered here is settled first, so it is what could be spent right now."""

import uuid
from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime

from django.db.models import F, OuterRef, Q, QuerySet, Subquery, Sum

from common.json_types import JsonObject
from common.public_ids import public_id
from credits import locks, settling, spending_order
from credits.errors import AccountClosedError, AccountInDebtError, DailyCapReachedError, SpendingFrozenError
from credits.models import PAID, Allowance, Entry, Grant, Hold, Source, Transaction, Wallet

BUCKETS = {
    (Source.FREE, Allowance.Period.DAY): "free_daily",
    (Source.FREE, Allowance.Period.MONTH): "free_monthly",
    (Source.PLAN, Allowance.Period.MONTH): "plan",
    (Source.PURCHASE, None): "purchased",
    (Source.BONUS, None): "promo",
}
OTHER_BUCKET = "grant"
PAID_BUCKETS = ("plan", "purchased")


@dataclass(frozen=True, kw_only=True)
class Bucket:
    """What is left of one kind of credits, and when the first of it expires."""

    kind: str
    remaining: int
    expires_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class FreeToday:
    """Today's free credits: how many there were, how many are gone, and when there are new ones."""

    limit: int
    remaining: int
    resets_at: datetime

    @property
    def used(self) -> int:
        return self.limit - self.remaining


@dataclass(frozen=True, kw_only=True)
class Refill:
    """The next credits that come by themselves."""

    amount: int
    at: datetime


@dataclass(frozen=True, kw_only=True)
class DailyCap:
    """How many paid credits may be spent in a day, how many were, and when the next day begins (once it is known)."""

    limit: int
    used: int
    resets_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class Block:
    """Why nothing can be spent now, by the code of the refusal, and until when; None until somebody does something."""

    code: str
    until: datetime | None


@dataclass(frozen=True, kw_only=True)
class Balance:
    """How much an account can spend now, of what, and when there is more.

    `available` is what is there and not set aside; `spendable` how much of it one spend takes now: nothing while
    `blocked`, and with a daily cap the free credits and what is left of the cap.
    """

    available: int
    spendable: int
    blocked: Block | None
    held: int
    debt: int
    is_low: bool
    daily_cap: DailyCap | None
    buckets: tuple[Bucket, ...]
    free_today: FreeToday | None
    next_refill: Refill | None
    is_frozen: bool

    @property
    def has_paid(self) -> bool:
        """Whether there are credits that a daily cap counts, or some of today's were spent."""
        return any(bucket.kind in PAID_BUCKETS for bucket in self.buckets) or bool(
            self.daily_cap and self.daily_cap.used
        )


def balance(*, account_id: uuid.UUID, now: datetime) -> Balance:
    """The account's balance at `now`, with what time has brought; an account without a wallet gets one."""
    wallet = settled_wallet(account_id=account_id, now=now)
    grants = list(open_grants(account_id).select_related("allowance"))
    cap = _daily_cap(wallet, now)
    spendable = _spendable(grants, cap)
    blocked = _block(wallet, spendable, cap)
    allowances = Allowance.objects.filter(account_id=account_id, ended_at=None, next_at__isnull=False)
    return Balance(
        available=wallet.balance,
        spendable=0 if blocked else spendable,
        blocked=blocked,
        held=wallet.held,
        debt=wallet.debt,
        is_low=wallet.posted <= wallet.low_at,
        daily_cap=cap,
        buckets=tuple(_buckets(grants)),
        free_today=_free_today(account_id, now),
        next_refill=_next_refill(list(allowances)),
        is_frozen=wallet.frozen_at is not None,
    )


# What `wallet_states` says of an account that has no wallet yet.
EMPTY_WALLET: JsonObject = {
    "available": 0, "held": 0, "debt": 0, "low": True, "frozen": False, "changed": None,
}  # fmt: skip


def wallet_states(account_ids: Collection[uuid.UUID]) -> dict[uuid.UUID, JsonObject]:
    """Of each of these accounts what is cached of its balance, in one query: to see whether it has changed.

    What time brings is in it once somebody, or a job, has settled the wallet.
    """
    latest = Transaction.objects.filter(account_id=OuterRef("account_id")).order_by("-id").values("id")[:1]
    rows = Wallet.objects.filter(account_id__in=account_ids).annotate(latest=Subquery(latest))
    return {
        wallet.account_id: {
            "available": wallet.balance,
            "held": wallet.held,
            "debt": wallet.debt,
            "low": wallet.posted <= wallet.low_at,
            "frozen": wallet.frozen_at is not None,
            "changed": public_id("txn", wallet.latest) if wallet.latest else None,
        }
        for wallet in rows
    }


def settled_wallet(*, account_id: uuid.UUID, now: datetime) -> Wallet:
    """The account's wallet as it is at `now`."""
    wallet = Wallet.objects.filter(account_id=account_id).first()
    if wallet is None:
        locks.open_wallet(account_id)
    elif wallet.next_due_at is None or wallet.next_due_at > now:
        return wallet
    settling.settle(account_id=account_id, now=now)
    return Wallet.objects.get(account_id=account_id)


def account_of(prefix: str, identifier: uuid.UUID) -> uuid.UUID | None:
    """Whose a transaction (txn), hold (hold) or grant (grt) is."""
    model = {"txn": Transaction, "hold": Hold, "grt": Grant}[prefix]
    result: uuid.UUID | None = model.objects.filter(pk=identifier).values_list("account_id", flat=True).first()  # type: ignore[attr-defined]  # each of these models has one
    return result


def active_since(since: datetime) -> Iterator[uuid.UUID]:
    """The accounts whose wallets were used on that day or later."""
    used = Wallet.objects.filter(touched_on__gte=since.date())
    yield from used.order_by("account_id").values_list("account_id", flat=True).iterator()


def open_grants(account_id: uuid.UUID) -> QuerySet[Grant]:
    """What can be drawn on, in the order in which it is drawn on. Settle the wallet first."""
    return Grant.objects.filter(account_id=account_id, is_open=True).order_by(*spending_order.COLUMNS)


def grants(account_id: uuid.UUID) -> QuerySet[Grant]:
    """Every grant that the account ever had."""
    return Grant.objects.filter(account_id=account_id)


def grants_of_cause(account_id: uuid.UUID, source_key: str) -> list[Grant]:
    """The lots that one payment brought so far: its own, its bonus, and those of the allowances it paid for."""
    result = Grant.objects.filter(account_id=account_id).filter(
        _caused_by("source_key", source_key) | _caused_by("allowance__source_key", source_key)
    )
    return list(result.select_related("allowance").order_by("id"))


def grants_of_allowance(account_id: uuid.UUID, source_key: str) -> list[Grant]:
    """The lots that an allowance gave so far, with what upgrades added to them."""
    result = Grant.objects.filter(account_id=account_id, allowance__source_key=source_key)
    return list(result.select_related("allowance").order_by("id"))


def remaining_periods(account_id: uuid.UUID, source_key: str) -> int:
    """How many periods an allowance has still to give; 0 for one that is over, or that knows no end."""
    row = Allowance.objects.filter(account_id=account_id, source_key=source_key, ended_at=None).first()
    return max(0, (row.periods or 0) - row.next_index) if row and row.next_at else 0


def price_of_cause(account_id: uuid.UUID, source_key: str) -> int:
    """What the lots and allowances that one payment brought cost together, in minor units of its currency."""
    of_payment = Grant.objects.filter(_caused_by("source_key", source_key), account_id=account_id, moved_from=None)
    lots = of_payment.filter(Q(allowance=None) | Q(is_top_up=True)).aggregate(
        total=Sum(F("paid_minor") + F("deferred_minor"))
    )
    promises = Allowance.objects.filter(_caused_by("source_key", source_key), account_id=account_id)
    return (lots["total"] or 0) + (promises.aggregate(total=Sum("paid_minor"))["total"] or 0)


def _caused_by(field: str, source_key: str) -> Q:
    """What bears a payment's source key, or that key with something behind it."""
    return Q(**{field: source_key}) | Q(**{f"{field}__startswith": f"{source_key}:"})


def is_granted(account_id: uuid.UUID, source_key: str) -> bool:
    """Whether a payment has brought its lot, or its allowance."""
    return (
        Grant.objects.filter(account_id=account_id, source_key=source_key).exists()
        or Allowance.objects.filter(account_id=account_id, source_key=source_key).exists()
    )


def granted_since(prefix: str, since: datetime) -> Iterator[str]:
    """The source keys of the grants that payments named `prefix...` brought since then."""
    rows = Grant.objects.filter(source_key__startswith=prefix, effective_at__gte=since)
    yield from rows.values_list("source_key", flat=True).iterator()


def has_paid_grants() -> bool:
    """Whether anything that was paid for was ever granted."""
    return Grant.objects.filter(source__in=PAID).exists()


def active_series(account_id: uuid.UUID) -> list[str]:
    """The series of the allowances that are not over."""
    rows = Allowance.objects.filter(account_id=account_id, ended_at=None)
    return list(rows.values_list("series", flat=True).distinct().order_by("series"))


def find_hold(account_id: uuid.UUID, hold_id: uuid.UUID) -> Hold | None:
    """One of the account's holds. Settle the wallet first: it may have lapsed."""
    return Hold.objects.filter(account_id=account_id, pk=hold_id).first()


def open_holds(account_id: uuid.UUID) -> QuerySet[Hold]:
    """What is set aside, the first to lapse first. Settle the wallet first."""
    return Hold.objects.filter(account_id=account_id, status=Hold.Status.OPEN).order_by("expires_at", "id")


def transactions(account_id: uuid.UUID) -> QuerySet[Transaction]:
    """The account's ledger, latest first."""
    return Transaction.objects.filter(account_id=account_id).order_by("-id")


def with_returned(rows: QuerySet[Transaction]) -> QuerySet[Transaction]:
    """Each transaction with how much of it was given back since, as `returned`."""
    back = Transaction.objects.filter(account_id=OuterRef("account_id"), reverses_id=OuterRef("pk"))
    total = back.order_by().values("reverses_id").annotate(total=Sum("amount")).values("total")
    return rows.annotate(returned=Subquery(total))


def has_spent(account_id: uuid.UUID) -> bool:
    """Whether anything was ever spent."""
    return Transaction.objects.filter(account_id=account_id, kind=Transaction.Kind.SPEND).exists()


def next_to_expire(account_id: uuid.UUID) -> Grant | None:
    """What is gone first if it is not spent. A day's credits are not meant. Settle the wallet first."""
    going = Grant.objects.filter(account_id=account_id, is_open=True, remaining__gt=0, expires_at__isnull=False)
    return going.exclude(allowance__period=Allowance.Period.DAY).order_by("expires_at", "id").first()


def entries(transaction_id: uuid.UUID) -> QuerySet[Entry]:
    """What one transaction did, grant by grant, in the order of drawing."""
    return (
        Entry.objects.filter(transaction_id=transaction_id)
        .select_related("grant")
        .order_by(*(f"grant__{column}" for column in spending_order.COLUMNS))
    )


def _buckets(grants: list[Grant]) -> list[Bucket]:
    by_kind: dict[str, list[Grant]] = defaultdict(list)
    for grant in grants:
        period = Allowance.Period(grant.allowance.period) if grant.allowance else None
        by_kind[BUCKETS.get((Source(grant.source), period), OTHER_BUCKET)].append(grant)
    return [
        Bucket(
            kind=kind,
            remaining=sum(grant.remaining for grant in members),
            expires_at=min((grant.expires_at for grant in members if grant.expires_at), default=None),
        )
        for kind, members in by_kind.items()
    ]


def _daily_cap(wallet: Wallet, now: datetime) -> DailyCap | None:
    if wallet.cap is None:
        return None
    is_running = wallet.cap_day_ends_at is not None and wallet.cap_day_ends_at > now
    return DailyCap(
        limit=wallet.cap,
        used=wallet.cap_used if is_running else 0,
        resets_at=wallet.cap_day_ends_at if is_running else None,
    )


def _spendable(grants: list[Grant], cap: DailyCap | None) -> int:
    """How much one spend can take of these grants, which are in the order of spending.

    A grant is passed only when it is used up: one that the cap cuts short hides those behind it.
    """
    if cap is None:
        return sum(grant.remaining for grant in grants)
    total, left = 0, max(0, cap.limit - cap.used)
    for grant in grants:
        part = min(grant.remaining, left) if grant.source in PAID else grant.remaining
        total += part
        left -= part if grant.source in PAID else 0
        if part < grant.remaining:
            break
    return total


def _block(wallet: Wallet, spendable: int, cap: DailyCap | None) -> Block | None:
    """What stands in the way of every spend, in the order in which a spend looks (credits/sql/refusal.sql)."""
    if wallet.closed_at is not None:
        return Block(code=AccountClosedError.code, until=None)
    if wallet.frozen_at is not None:
        return Block(code=SpendingFrozenError.code, until=None)
    if wallet.debt > 0:
        return Block(code=AccountInDebtError.code, until=None)
    if cap is not None and wallet.balance > 0 and spendable == 0:
        return Block(code=DailyCapReachedError.code, until=cap.resets_at)
    return None


def _free_today(account_id: uuid.UUID, now: datetime) -> FreeToday | None:
    today = Grant.objects.filter(
        account_id=account_id,
        source=Source.FREE,
        allowance__period=Allowance.Period.DAY,
        effective_at__lte=now,
        expires_at__gt=now,
    ).first()
    if today is None or today.expires_at is None:
        return None
    return FreeToday(limit=today.amount, remaining=today.remaining, resets_at=today.expires_at)


def _next_refill(allowances: list[Allowance]) -> Refill | None:
    first = min(allowances, key=lambda allowance: allowance.next_at or allowance.created_at, default=None)
    return Refill(amount=first.amount, at=first.next_at) if first and first.next_at else None


def is_used(*, account_id: uuid.UUID, since: datetime, to: int) -> bool:
    """Whether somebody spent or held credits since then, and fewer than `to` were left by it."""
    spends = Transaction.objects.filter(account_id=account_id, kind=Transaction.Kind.SPEND).order_by("-id")
    latest = spends.values_list("created_at", "balance_after").first()
    if latest is not None and latest[0] > since and latest[1] < to:
        return True
    return Hold.objects.filter(account_id=account_id, created_at__gt=since, status=Hold.Status.OPEN).exists()
