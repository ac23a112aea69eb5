"""Moving what an account has to another one, where two accounts of one customer become one.

Every lot that a payment brought has its like in the account that stays, under the same source key, also when all of it
was used: so money that comes, goes back or is allowed later meets it there. History stays where it happened.
"""

import uuid
from collections.abc import Mapping
from datetime import datetime

from django.db import transaction

from common.public_ids import new_id
from credits import locks, posting, settling
from credits.models import Allowance, Entry, Grant, Source, Transaction, Wallet

# What leaves a lot for good, other than because its money went back.
USED = ("spend", "reverse", "expire", "debt", "adjust")


def movable_credits(account_id: uuid.UUID) -> int:
    """How many credits `move_account` would move. Settle the wallet first."""
    return sum(
        grant.remaining for grant in Grant.objects.filter(account_id=account_id, is_open=True) if _is_movable(grant)
    )


def move_account(
    *, source_id: uuid.UUID, target_id: uuid.UUID, taken_back: Mapping[str, int], actor: str, now: datetime
) -> None:
    """Move the lots, allowances and debt of one account to another.

    `taken_back` says, by source key, how many credits of a lot were taken because their money went back: they may come
    again, and then to the account that stays. Free credits stay behind. A repeated call moves what came since. No hold
    may be open (its credits are nobody's to move).
    """
    with transaction.atomic():
        # In one order, so that two merges do not wait for each other.
        wallets = {account_id: locks.lock_wallet(account_id) for account_id in sorted((source_id, target_id))}
        source, target = wallets[source_id], wallets[target_id]
        for wallet in wallets.values():
            settling.settle_locked(wallet, now=now)
        names = {wallet.account_id: wallet.account.public_id for wallet in wallets.values()}
        promises = _move_allowances(source, target, now=now)
        for grant in Grant.objects.filter(account_id=source_id).order_by("id"):
            if (
                _is_movable(grant)
                and not Grant.objects.filter(account_id=target_id, source_key=grant.source_key).exists()
            ):
                _move(
                    grant, source, target, promises, names, taken=taken_back.get(grant.source_key, 0), actor=actor,
                    now=now,
                )  # fmt: skip
        _move_debt(source, target, names, actor=actor, now=now)
        for wallet in wallets.values():
            settling.store_next_due(wallet)


def _is_movable(grant: Grant) -> bool:
    """What was paid for or belongs to a payment, whatever is left of it, and what else is left and comes once."""
    is_of_a_payment = grant.source in (Source.PLAN, Source.PURCHASE, Source.BONUS)
    return is_of_a_payment or (grant.remaining > 0 and grant.allowance_id is None)


def _move_allowances(source: Wallet, target: Wallet, *, now: datetime) -> dict[str, Allowance]:
    """The allowances of paid credits, as the account that stays has them, by source key. Free ones just end."""
    created = {}
    for old in Allowance.objects.filter(account_id=source.account_id).order_by("created_at", "id"):
        if old.source != Source.FREE:
            created[old.source_key] = _copy_allowance(old, target, now=now)
        if old.ended_at is None:
            old.ended_at, old.next_at = now, None
        rest = old.undelivered_minor
        if old.source != Source.FREE and rest > 0:
            old.handed_minor, old.handed_at = old.handed_minor + rest, now
        old.save(update_fields=["ended_at", "next_at", "handed_minor", "handed_at"])
    return created


def _copy_allowance(old: Allowance, target: Wallet, *, now: datetime) -> Allowance:
    fields = {
        field.attname: getattr(old, field.attname)
        for field in Allowance._meta.concrete_fields
        if not field.name.endswith("_minor") and field.name not in ("id", "account", "created_at", "handed_at")
    }
    money = {"carried_minor": max(0, old.undelivered_minor)}
    new, _ = Allowance.objects.get_or_create(
        account_id=target.account_id,
        source_key=old.source_key,
        defaults={**fields, **money, "id": new_id(), "created_at": now},
    )
    return new


def _move(
    grant: Grant,
    source: Wallet,
    target: Wallet,
    promises: dict[str, Allowance],
    names: Mapping[uuid.UUID, str],
    *,
    taken: int,
    actor: str,
    now: datetime,
) -> None:
    """What is left of a lot goes; what was taken back goes along as taken, and what was used is remembered."""
    amount = grant.remaining + taken
    paid_minor = grant.paid_minor - grant.paid_minor * _used(grant) // grant.amount if grant.amount else 0
    like = Grant(
        account_id=target.account_id,
        source=grant.source,
        source_key=grant.source_key,
        amount=amount,
        priority=grant.priority,
        effective_at=grant.effective_at,
        expires_at=grant.expires_at,
        paid_minor=paid_minor if amount else 0,
        currency=grant.currency,
        allowance=promises.get(grant.allowance.source_key) if grant.allowance else None,
        is_top_up=grant.is_top_up,
        awaited=taken,
        moved_from=grant,
        spent_before=grant.whole - amount,
    )
    if grant.remaining:
        about = f"Moved to {names[target.account_id]}."
        posting.post(
            source, Transaction.Kind.REVOKE, [(grant, -grant.remaining)], now=now, description=about, actor=actor
        )
    if amount:
        about = f"Moved from {names[source.account_id]}."
        posting.add_grant(target, like, now=now, description=about, actor=actor)
    else:
        like.remaining = 0
        like.save(force_insert=True)
    if grant.awaited:
        like.awaited = grant.awaited
        like.save(update_fields=["awaited"])


def _used(grant: Grant) -> int:
    """How many credits of a lot were used up, with what expired."""
    entries = Entry.objects.filter(grant=grant, transaction__kind__in=USED)
    return -sum(entries.values_list("amount", flat=True))


def _move_debt(source: Wallet, target: Wallet, names: Mapping[uuid.UUID, str], *, actor: str, now: datetime) -> None:
    if debt := source.debt:
        kind = Transaction.Kind.ADJUST
        about = f"Moved to {names[target.account_id]}."
        posting.post(source, kind, [], debt_change=-debt, now=now, description=about, actor=actor)
        about = f"Moved from {names[source.account_id]}."
        posting.post(target, kind, [], debt_change=debt, now=now, description=about, actor=actor)
        posting.pay_debt(target, now=now)
