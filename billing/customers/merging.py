"""Two accounts of one customer made one: its credits, allowances, people and names go over, and so does its money.

What is paid, refunded or disputed from then on of what the account that ends had bought, finds the account that stays:
its customers at Stripe, orders, invoices and what was taken back are that one's. Its ledger stays where it happened.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime

import structlog
from django.db import transaction
from django.db.models import QuerySet

from accounts.models import Account, ApiKey, ExternalIdentity, Membership, User
from billing.checkout import top_ups
from billing.errors import AlreadySubscribedError, BillingError, WorkUnderWayError
from billing.models import Clawback, Order, PaidInvoice, PaymentRecord, StripeCustomer, Subscription
from billing.stripe import djstripe_store, stripe_client
from billing.subscriptions import plan_changes
from credits import ledger, limits, selectors, transfers

logger = structlog.get_logger(__name__)

LONGEST_KEY = 255


@dataclass(frozen=True, kw_only=True)
class MergePlan:
    """What goes over: credits that do not come by themselves, people, names in other systems, working keys."""

    credits: int
    lost: int  # free credits of the account that ends
    debt: int
    members: int
    names: int
    keys: int


def plan_merge(source: Account, target: Account, *, now: datetime) -> MergePlan:
    """What `merge` would move now.

    Raises AlreadySubscribedError while the account that ends has a plan, and WorkUnderWayError while credits of it are
    set aside.
    """
    if plan_changes.find_running(source) is not None:
        raise AlreadySubscribedError("This account has a plan. Stop it first, or merge the other one into it.")
    balance = selectors.balance(account_id=source.pk, now=now)
    if holds := list(selectors.open_holds(source.pk)):
        latest = max(hold.expires_at for hold in holds)
        raise WorkUnderWayError(
            f"{balance.held} credits are set aside for work under way, until {latest:%H:%M} UTC at the latest. "
            "Try again then."
        )
    going = transfers.movable_credits(source.pk)
    return MergePlan(
        credits=going,
        lost=balance.available - going,
        debt=balance.debt,
        members=new_members(source, target).count(),
        names=ExternalIdentity.objects.filter(account=source).count(),
        keys=ApiKey.objects.filter(account=source, revoked_at=None).count(),
    )


def merge(*, source: Account, target: Account, key: str, actor: str, now: datetime) -> MergePlan:
    """Make `source` a part of `target` and close it. Repeated, it moves what came since.

    Each lot goes over with its kind, its end and what was paid for the part that is left, so that no credit and no cent
    is counted twice. Keys of the account that ends stop: their secrets were given for it. Raises what `plan` raises.
    """
    with transaction.atomic():
        moved = plan_merge(source, target, now=now)
        # Before the wallets, as whoever settles a refund takes them: neither waits for the other.
        list(PaymentRecord.objects.select_for_update().filter(account__in=(source, target)).order_by("pk"))
        top_ups.switch_off(account=source)
        taken_back: dict[str, int] = {}
        for row in Clawback.objects.filter(account=source):
            taken_back[row.grant_source_key] = taken_back.get(row.grant_source_key, 0) + row.taken
        transfers.move_account(source_id=source.pk, target_id=target.pk, taken_back=taken_back, actor=actor, now=now)
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
        _move_money(source, target, now=now)
        ExternalIdentity.objects.filter(account=source).update(account=target)
        for membership in new_members(source, target):
            # As a member: what somebody may do to the account that stays, its owner says.
            Membership.objects.get_or_create(account=target, user=membership.user)
        Membership.objects.filter(account=source, is_personal=False).delete()
        # A guest of the account that ends is let in no more: the app's next link opens the one that stays.
        User.objects.filter(is_guest=True, memberships__account=source).update(is_active=False)
        ApiKey.objects.filter(account=source, revoked_at=None).update(revoked_at=now)
        # What was merged into it before is a part of the account that stays as well.
        Account.objects.filter(merged_into=source).update(merged_into=target)
        Account.objects.filter(pk=source.pk).update(merged_into=target)
        Account.objects.filter(pk=source.pk, closed_at=None).update(closed_at=now)
        transaction.on_commit(lambda: _update_stripe_customers(target))
    return moved


def _move_money(source: Account, target: Account, *, now: datetime) -> None:
    """Whatever money arrives later is looked up by these."""
    for customer_id in djstripe_store.all_customers_of_account(source.pk):
        djstripe_store.record_customer(customer_id, source, now=now)
    StripeCustomer.objects.filter(account=source).update(account=target, merged_at=now)
    for order in Order.objects.filter(account=source):
        taken = Order.objects.filter(account=target, side=order.side, idempotency_key=order.idempotency_key)
        if taken.exists():
            # Two accounts may have used one key: nobody asks for the closed one's again.
            digest = hashlib.sha256(order.idempotency_key.encode()).hexdigest()
            order.idempotency_key = f"merged:{order.pk}:{digest}"[:LONGEST_KEY]
        order.account = target
        order.save(update_fields=["account", "idempotency_key"])
    for model in (Subscription, PaidInvoice, PaymentRecord, Clawback):
        model._default_manager.filter(account=source).update(account=target)


def _update_stripe_customers(target: Account) -> None:
    """Let Stripe's customers name the account that stays: a ledger that is recreated from there finds it."""
    for customer in StripeCustomer.objects.filter(account=target, deleted_at=None).exclude(merged_at=None):
        try:
            stripe_client.update_customer(customer.pk, metadata={"djstripe_subscriber": str(target.pk)})
        except BillingError as error:
            logger.warning("customer_not_renamed", customer_id=customer.pk, error=str(error))


def new_members(source: Account, target: Account) -> QuerySet[Membership]:
    """The memberships of people who are no members of the account that stays."""
    known = target.memberships.values("user")
    return source.memberships.filter(user__is_guest=False).exclude(user__in=known).select_related("user")
