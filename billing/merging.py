"""Two accounts of one customer made one: its credits, people and names go over; its history stays where it happened."""

from dataclasses import dataclass
from datetime import datetime

from django.db import transaction

from accounts.models import Account, ApiKey, ExternalIdentity, Membership
from billing import plan_changes, top_ups
from billing.errors import AlreadySubscribedError
from credits import allowances, ledger, limits, selectors
from credits.models import Grant, Source
from credits.money import FREE, Money


@dataclass(frozen=True, kw_only=True)
class Moved:
    """What goes over: credits that do not come by themselves, people, names in other systems, working keys."""

    credits: int
    lost: int  # free credits of the account that ends
    members: int
    names: int
    keys: int


def plan(source: Account, target: Account, *, now: datetime) -> Moved:
    """What `merge` would move now. Raises AlreadySubscribedError while the account that ends has a plan."""
    if plan_changes.find_running(source) is not None:
        raise AlreadySubscribedError("This account has a plan. Stop it first, or merge the other one into it.")
    balance = selectors.balance(account_id=source.pk, now=now)
    moving = sum(grant.remaining for grant in _moving(source))
    return Moved(
        credits=moving,
        lost=balance.available - moving,
        members=new_members(source, target).count(),
        names=ExternalIdentity.objects.filter(account=source).count(),
        keys=ApiKey.objects.filter(account=source, revoked_at=None).count(),
    )


def merge(*, source: Account, target: Account, key: str, actor: str, now: datetime) -> Moved:
    """Move what is left of `source` to `target` and close it. Repeated with the same key, it goes on where it stopped.

    Each grant goes over with its kind, its end and what was paid for the part that is left, so that no credit and no
    cent is counted twice. Keys of the account that ends stop: their secrets were given for it.
    """
    moved = plan(source, target, now=now)
    top_ups.switch_off(account=source)
    for series in selectors.promised_series(source.pk):
        allowances.end(account_id=source.pk, series=series, keep_paid=False, now=now)
    selectors.settled_wallet(account_id=source.pk, now=now)
    for grant in _moving(source):
        _move(grant, source, target, key=key, actor=actor, now=now)
    left = selectors.balance(account_id=source.pk, now=now).available
    if left:
        ledger.adjust(
            account_id=source.pk,
            idempotency_key=f"{key}:rest",
            reason=f"Merged into {target.public_id}.",
            actor=actor,
            take=left,
            now=now,
        )
    limits.close(account_id=source.pk, now=now)
    with transaction.atomic():
        ExternalIdentity.objects.filter(account=source).update(account=target)
        for row in new_members(source, target):
            # As a member: what somebody may do to the account that stays, its owner says.
            Membership.objects.get_or_create(account=target, user=row.user)
        Membership.objects.filter(account=source, is_personal=False).delete()
        ApiKey.objects.filter(account=source, revoked_at=None).update(revoked_at=now)
        Account.objects.filter(pk=source.pk, closed_at=None).update(closed_at=now)
    return moved


def _moving(source: Account) -> list[Grant]:
    """The grants that are the customer's own: not those of a promise, which end with the account."""
    return list(selectors.open_grants(source.pk).filter(allowance=None, remaining__gt=0))


def _move(grant: Grant, source: Account, target: Account, *, key: str, actor: str, now: datetime) -> None:
    """Out of the one ledger and into the other, in one transaction."""
    amount = grant.remaining
    used = grant.amount - amount
    # What was paid for the part that goes: the rest of the money, to the cent.
    paid = grant.paid_minor - grant.paid_minor * used // grant.amount
    with transaction.atomic():
        ledger.revoke(
            account_id=source.pk,
            grant_source_key=grant.source_key,
            amount=amount,
            source_key=f"{key}:{grant.pk}",
            rest_becomes_debt=False,
            description=f"Moved to {target.public_id}.",
            actor=actor,
            now=now,
        )
        ledger.grant(
            account_id=target.pk,
            amount=amount,
            source=Source(grant.source),
            source_key=f"{key}:{grant.pk}",
            paid=Money(paid, grant.currency) if paid else FREE,
            expires_at=grant.expires_at,
            priority=grant.priority,
            description=f"Moved from {source.public_id}.",
            actor=actor,
            now=now,
        )


def new_members(source: Account, target: Account):  # type: ignore[no-untyped-def]
    """The memberships of people who are no members of the account that stays."""
    known = target.memberships.values("user")
    return source.memberships.exclude(user__in=known).select_related("user")
