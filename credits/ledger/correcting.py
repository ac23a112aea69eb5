"""Undoing: a spend given back, a purchase taken back, an operator's adjustment."""

import uuid
from datetime import datetime

from django.db import connection, transaction
from django.db.models import Sum

from common.sides import Side
from credits import limits, locks, posting, settling, spending_limits, spending_order
from credits.errors import (
    AlreadyReversedError,
    GrantNotFoundError,
    InsufficientCreditsError,
    InvalidAmountError,
    KeyReusedError,
    NotReversibleError,
    ReversalTooLargeError,
    TransactionNotFoundError,
)
from credits.ledger import sql
from credits.ledger.results import CorrectionResult, RevokeResult
from credits.models import Entry, Grant, Transaction, Wallet

Kind = Transaction.Kind


def reverse(
    *,
    account_id: uuid.UUID,
    transaction_id: uuid.UUID,
    idempotency_key: str,
    reason: str,
    now: datetime,
    amount: int | None = None,
    actor: str = "",
    side: Side = Side.SELLER,
) -> CorrectionResult:
    """Give back a spend, whole or (`amount`) in part, to the grants it came from: what was drawn last comes back first.

    Credits whose time is over expire at once. A repeated key of the same `side` answers the first reversal. Raises
    TransactionNotFoundError, NotReversibleError, AlreadyReversedError, ReversalTooLargeError, KeyReusedError or
    InvalidAmountError.
    """
    if amount is not None:
        sql.check_amount(amount)
    fingerprint = sql.fingerprint("reverse", str(transaction_id), amount)
    with transaction.atomic():
        wallet = locks.lock_wallet(account_id)
        settling.settle_locked(wallet, now=now)
        if known := _known(wallet, idempotency_key, fingerprint, side=side):
            return CorrectionResult(transaction=known, is_replayed=True)
        spent = Transaction.objects.filter(account_id=account_id, pk=transaction_id).first()
        if spent is None:
            raise TransactionNotFoundError("There is no such transaction.")
        if spent.kind != Kind.SPEND:
            raise NotReversibleError("Only a spend can be given back.")
        parts = _not_given_back(spent)
        left = sum(part for _, part in parts)
        if left == 0:
            raise AlreadyReversedError("All of this spend was given back before.")
        wanted = left if amount is None else amount
        if wanted > left:
            raise ReversalTooLargeError(f"Of this spend {left} credits can be given back, not {wanted}.", left=left)
        returned = _first(parts, wanted)
        limits.give_back(wallet, spent.created_at, returned, now=now)
        spending_limits.give_back_spend(wallet, spent, wanted, left=left, now=now)
        posted = posting.post(
            wallet,
            Kind.REVERSE,
            returned,
            now=now,
            description=reason,
            actor=actor,
            reverses=spent,
            feature=spent.feature,
            side=side,
            idempotency_key=idempotency_key,
            fingerprint=fingerprint,
        )
        posting.after_return(wallet, returned, at=now, now=now)
        settling.store_next_due(wallet)
        return CorrectionResult(transaction=posted, is_replayed=False)


def can_be_given_back(spent: Transaction) -> int:
    """How many credits of a transaction `reverse` could still give back; none of what is no spend."""
    return sum(part for _, part in _not_given_back(spent)) if spent.kind == Kind.SPEND else 0


def revoke(
    *,
    account_id: uuid.UUID,
    grant_source_key: str,
    amount: int,
    source_key: str,
    create_debt: bool,
    now: datetime,
    description: str = "",
    actor: str = "",
) -> RevokeResult:
    """Take back up to `amount` credits of one grant because the money behind it went back.

    What is left of the grant is taken; what was spent (or is held) already becomes debt, if `create_debt`,
    which other credits that were paid for pay at once, and later ones when they come. What expired was not used, and is
    not owed.
    A repeated `source_key` answers the first revocation. Raises GrantNotFoundError, KeyReusedError or
    InvalidAmountError.
    """
    sql.check_amount(amount)
    fingerprint = sql.fingerprint("revoke", grant_source_key, amount, create_debt)
    with transaction.atomic():
        wallet = locks.lock_wallet(account_id)
        settling.settle_locked(wallet, now=now)
        if known := _known(wallet, source_key, fingerprint):
            return RevokeResult(taken=-known.amount, debt=known.debt_change, transaction=known, is_replayed=True)
        grant = _grant(account_id, grant_source_key)
        if amount > grant.whole:
            raise InvalidAmountError(amount)
        taken = min(amount, grant.remaining)
        debt = max(0, amount - taken - _expired(grant)) if create_debt else 0
        if not taken and not debt:
            return RevokeResult(taken=0, debt=0, transaction=None, is_replayed=False)
        before = wallet.posted
        posted = posting.post(
            wallet,
            Kind.REVOKE,
            [(grant, -taken)] if taken else [],
            debt_change=debt,
            now=now,
            description=description,
            actor=actor,
            idempotency_key=source_key,
            fingerprint=fingerprint,
        )
        posting.pay_debt(wallet, now=now)
        settling.store_next_due(wallet)
        limits.send_change_signals(wallet, before=before, now=now)
        return RevokeResult(taken=taken, debt=debt, transaction=posted, is_replayed=False)


def await_return(*, account_id: uuid.UUID, grant_source_key: str, amount: int, now: datetime) -> None:
    """Take `amount` credits of a grant as soon as they come back: their money went back while they were not there.

    A reversal, a release, a lapse or a capture of less takes them at once. The number counts, not the call: a repeated
    one changes nothing. Raises GrantNotFoundError.
    """
    with transaction.atomic():
        wallet = locks.lock_wallet(account_id)
        settling.settle_locked(wallet, now=now)
        grant = _grant(account_id, grant_source_key)
        grant.awaited = amount
        grant.save(update_fields=["awaited"])
        posting.revoke_awaited(wallet, [grant], now=now)
        settling.store_next_due(wallet)


def stop_awaiting(*, account_id: uuid.UUID, grant_source_key: str) -> int:
    """Await nothing more of a grant; how many credits were awaited until now.

    Inside a transaction of the caller's, nobody else changes the account until that ends.
    """
    with transaction.atomic():
        locks.lock_wallet(account_id)
        grant = _grant(account_id, grant_source_key)
        awaited = grant.awaited
        if awaited:
            grant.awaited = 0
            grant.save(update_fields=["awaited"])
        return awaited


def restore(
    *,
    account_id: uuid.UUID,
    grant_source_key: str,
    credits: int,
    debt: int,
    source_key: str,
    now: datetime,
    description: str = "",
    actor: str = "",
) -> CorrectionResult:
    """Undo a revocation: `credits` that it took come back to their grant, and `debt` that it made is owed no more.

    What of the debt was paid meanwhile comes back as credits. A repeated `source_key` answers the first call. Raises
    GrantNotFoundError, KeyReusedError, or InvalidAmountError for more than the grant can hold.
    """
    for amount in filter(None, (credits, debt)):
        sql.check_amount(amount)
    fingerprint = sql.fingerprint("restore", grant_source_key, credits, debt)
    with transaction.atomic():
        wallet = locks.lock_wallet(account_id)
        settling.settle_locked(wallet, now=now)
        if known := _known(wallet, source_key, fingerprint):
            return CorrectionResult(transaction=known, is_replayed=True)
        grant = _grant(account_id, grant_source_key)
        forgiven = min(debt, wallet.debt)
        returned = credits + debt - forgiven
        if not credits + debt > 0 or returned > grant.amount - grant.remaining:
            raise InvalidAmountError(credits + debt)
        posted = posting.post(
            wallet,
            Kind.RESTORE,
            [(grant, returned)] if returned else [],
            debt_change=-forgiven,
            now=now,
            description=description,
            actor=actor,
            idempotency_key=source_key,
            fingerprint=fingerprint,
        )
        posting.after_return(wallet, [(grant, returned)], at=now, now=now)
        settling.store_next_due(wallet)
        return CorrectionResult(transaction=posted, is_replayed=False)


def adjust(
    *,
    account_id: uuid.UUID,
    idempotency_key: str,
    reason: str,
    actor: str,
    now: datetime,
    take: int = 0,
    forgive: int = 0,
) -> CorrectionResult:
    """An operator takes `take` credits away, in the order of spending, and/or forgives `forgive` credits of debt.

    (Giving is a grant.) A repeated key answers the first adjustment. Raises InsufficientCreditsError when fewer are
    there, InvalidAmountError when less is owed, and KeyReusedError.
    """
    for amount in filter(None, (take, forgive)):
        sql.check_amount(amount)
    if not take and not forgive:
        raise InvalidAmountError(0)
    fingerprint = sql.fingerprint("adjust", take, forgive)
    with transaction.atomic():
        wallet = locks.lock_wallet(account_id)
        settling.settle_locked(wallet, now=now)
        if known := _known(wallet, idempotency_key, fingerprint):
            return CorrectionResult(transaction=known, is_replayed=True)
        if take > wallet.balance:
            raise InsufficientCreditsError(required=take, available=wallet.balance)
        if forgive > wallet.debt:
            raise InvalidAmountError(forgive)
        before = wallet.posted
        posted = posting.post(
            wallet,
            Kind.ADJUST,
            _drawn(wallet, take),
            already_applied=True,
            debt_change=-forgive,
            now=now,
            description=reason,
            actor=actor,
            idempotency_key=idempotency_key,
            fingerprint=fingerprint,
        )
        settling.store_next_due(wallet)
        limits.send_change_signals(wallet, before=before, now=now)
        return CorrectionResult(transaction=posted, is_replayed=False)


def _grant(account_id: uuid.UUID, source_key: str) -> Grant:
    grant = Grant.objects.filter(account_id=account_id, source_key=source_key).first()
    if grant is None:
        raise GrantNotFoundError(f"The account has no grant {source_key}.")
    return grant


def _expired(grant: Grant) -> int:
    """How many credits of a grant expired, also in accounts that were merged into this one."""
    expired = 0
    each: Grant | None = grant
    while each is not None:
        entries = Entry.objects.filter(grant=each, transaction__kind=Kind.EXPIRE)
        expired -= sum(entries.values_list("amount", flat=True))
        each = each.moved_from
    return expired


def _known(wallet: Wallet, key: str, fingerprint: bytes, *, side: Side = Side.INTERNAL) -> Transaction | None:
    """What the key did before. Raises KeyReusedError when that was something else."""
    known = Transaction.objects.filter(account_id=wallet.account_id, side=side, idempotency_key=key).first()
    if known is not None and bytes(known.fingerprint or b"") != fingerprint:
        raise KeyReusedError
    return known


def _not_given_back(spent: Transaction) -> list[tuple[Grant, int]]:
    """What of a spend is still to be given back, by grant, the one that was drawn on last first."""
    back: dict[uuid.UUID, int] = dict(
        Entry.objects.filter(account_id=spent.account_id, transaction__reverses=spent)
        .values_list("grant_id")
        .annotate(Sum("amount"))
    )
    drawn = Entry.objects.filter(transaction=spent).select_related("grant")
    in_order = sorted(drawn, key=lambda entry: spending_order.key(entry.grant), reverse=True)
    return [(entry.grant, -entry.amount - back.get(entry.grant_id, 0)) for entry in in_order]


def _first(parts: list[tuple[Grant, int]], wanted: int) -> list[tuple[Grant, int]]:
    """The first `wanted` credits of these parts."""
    taken = []
    for grant, part in parts:
        amount = min(part, wanted)
        if amount:
            taken.append((grant, amount))
            wanted -= amount
    return taken


def _drawn(wallet: Wallet, amount: int) -> list[tuple[Grant, int]]:
    """Draw on the grants, in the order of spending."""
    if not amount:
        return []
    with connection.cursor() as cursor:
        cursor.execute("SELECT lots FROM credits_draw(%s, %s, NULL, NULL)", [wallet.account_id, amount])
        (drawn,) = cursor.fetchone()
    taken = sql.lots(drawn)
    grants = Grant.objects.in_bulk([lot.grant_id for lot in taken])
    return [(grants[lot.grant_id], -lot.amount) for lot in taken]
