"""Changing a plan: dearer or for longer at once, cheaper or for shorter when the running period ends.

Each calls Stripe, and then syncs everything with what Stripe made of it, as its webhooks will once more.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import wraps
from typing import Any, ParamSpec

import structlog
from django.conf import settings

from accounts.models import Account
from billing.errors import (
    AlreadySubscribedError,
    FulfilmentError,
    NotSubscribedError,
    PaymentActionRequiredError,
    PaymentDeclinedError,
    PaymentOnItsWayError,
    PlanNotPaidError,
    PriceNotSellableError,
)
from billing.models import RUNNING, Order, Price, Subscription, series_of
from billing.notifications import domain_events
from billing.stripe import stripe_client
from billing.stripe.stripe_client import NotAtStripeError
from billing.webhooks import sync
from common.advisory_locks import BusyError, exclusive
from credits import allowances
from credits.models import Allowance, Source

P = ParamSpec("P")
logger = structlog.get_logger(__name__)

SHORTEST_MONTH_DAYS = 28


def _exclusive(act: Callable[P, Subscription]) -> Callable[P, Subscription]:
    """One change of an account's plan at a time: a second one meanwhile is refused (WorkUnderWayError)."""

    @wraps(act)
    def alone(*args: P.args, **named: P.kwargs) -> Subscription:
        account: Any = named["account"]
        try:
            with exclusive(f"plan:{account.pk}"):
                return act(*args, **named)
        except BusyError:
            raise PaymentOnItsWayError("Another change of this plan is under way. Look again in a minute.") from None

    return alone


def find_running(account: Account) -> Subscription | None:
    """The account's plan, if it has one that is paid for."""
    result = Subscription.objects.filter(account=account, status__in=RUNNING)
    return (
        result.select_related("price__plan", "account", "next_price__plan", "pending_price__plan")
        .order_by("started_at")
        .first()
    )


def trial_of(order: Order) -> Subscription | None:
    """The trial that an order began, while it lasts."""
    if not order.stripe_subscription_id:
        return None
    begun = Subscription.objects.filter(stripe_subscription_id=order.stripe_subscription_id)
    return begun.exclude(first_trial_ends_at=None).select_related("price__plan").first()


def running(account: Account) -> Subscription:
    """The account's plan. Raises NotSubscribedError."""
    subscription = find_running(account)
    if subscription is None:
        raise NotSubscribedError("There is no plan to change. Choose one first.")
    return subscription


def is_immediate(before: Price, after: Price) -> bool:
    """Whether a change counts from now (the customer gets more) or from the next period (they pay for less)."""
    return (after.months, after.amount_minor) > (before.months, before.amount_minor)


def check(current: Subscription, price: Price) -> None:
    """Whether this plan may become that one.

    Raises PriceNotSellableError, AlreadySubscribedError or PlanNotPaidError.
    """
    is_own = price == current.price
    if price.plan is None or not (price.is_active or is_own) or price.currency != current.price.currency:
        raise PriceNotSellableError("This plan is not for sale in the currency of yours.")
    if price == (current.next_price or current.price) or (current.is_price_change and is_own):
        raise AlreadySubscribedError("That is the plan you have.")
    if current.status == Subscription.Status.PAST_DUE:
        # A change would credit what is left of a month that nobody has paid.
        raise PlanNotPaidError("The last payment of your plan failed. Pay it first, then change the plan.")
    if current.is_paused:
        raise PlanNotPaidError("Your plan is paused. Let it go on first, then change it.")


def own_price(current: Subscription, price: Price) -> Price:
    """What a plan costs who has it already, where the shop sells it to others at another price by now."""
    is_same = price.plan_id == current.price.plan_id and price.interval == current.price.interval
    return current.price if is_same and price.currency == current.price.currency else price


def begins_on_trial(current: Subscription) -> bool:
    """Whether a plan is on the trial that it began with. (Free days make a trial of a paid plan as well.)"""
    return current.status == Subscription.Status.TRIALING and stripe_client.is_first_trial(
        current.stripe_subscription_id
    )


def takes_effect_now(current: Subscription, price: Price, *, on_trial: bool) -> bool:
    """Whether a change counts from now: in a trial always, in free days never, else when the customer gets more."""
    if current.status == Subscription.Status.TRIALING:
        return on_trial
    return is_immediate(current.price, price)


@_exclusive
def change(*, account: Account, price: Price, now: datetime) -> Subscription:
    """Go on with another plan, or the same by the year or month. Back to the running one undoes a planned change.

    Raises NotSubscribedError, PriceNotSellableError, AlreadySubscribedError when nothing would change,
    PaymentDeclinedError (then nothing has changed), PaymentActionRequiredError (then it waits for the customer's
    approval) and PaymentProviderUnavailableError.
    """
    current = running(account)
    price = own_price(current, price)
    check(current, price)
    planned = current.next_price
    _cancel_planned_changes(current)
    on_trial = begins_on_trial(current)
    at_once = takes_effect_now(current, price, on_trial=on_trial)
    try:
        if price != current.price and at_once:
            stripe_client.change_subscription(
                current.stripe_subscription_id,
                old_price_id=current.price.stripe_price_id,
                price_id=price.stripe_price_id,
                is_billed=not on_trial,
                begins_anew=price.months != current.price.months,
            )
    except PaymentDeclinedError:
        if planned is not None:
            _plan(current, planned)  # all is as it was
        _synced(current, now=now)
        raise
    except PaymentActionRequiredError:
        _synced(current, now=now)
        raise
    # Only now: a stop that was asked for before stands until a change is paid for.
    if current.cancel_at_period_end:
        stripe_client.undo_cancellation(current.stripe_subscription_id)
    if price != current.price and not at_once:
        _plan(current, price)
    return _synced(current, now=now)


@_exclusive
def move_price(*, account: Account, from_price: Price, price: Price | None, now: datetime) -> Subscription:
    """Let the plan go on at the price that replaced its own, from the end of the running period on.

    Without one it keeps its own: an earlier move is taken back. Changes nothing where it is at another price by now, or
    ends. Raises PaymentProviderUnavailableError.
    """
    current = running(account)
    if current.price_id != from_price.pk or current.cancel_at_period_end:
        return _synced(current, now=now)
    was_planned = current.next_price
    _cancel_planned_changes(current)
    if price is not None:
        _plan(current, price)
    elif was_planned is not None:
        domain_events.price_stays(current, planned=was_planned, now=now)
    return _synced(current, now=now)


@dataclass(frozen=True, kw_only=True)
class Approval:
    """Where the customer approves a payment: by the provider's script (a secret for it), or on the invoice's page."""

    client_secret: str
    invoice_url: str
    due_minor: int
    currency: str
    is_on_its_way: bool  # approved, or a bank's debit: there is nothing to do but to wait


def approval(subscription: Subscription) -> Approval:
    """How the change that waits is approved. Raises PaymentProviderUnavailableError."""
    invoice = stripe_client.invoice_to_approve(subscription.pending_invoice_id)
    secret = (invoice.get("confirmation_secret") or {}).get("client_secret")
    return Approval(
        client_secret=str(secret or "") if settings.STRIPE_PUBLISHABLE_KEY else "",
        invoice_url=str(invoice.get("hosted_invoice_url") or ""),
        due_minor=invoice["amount_due"],
        currency=invoice["currency"],
        is_on_its_way=not stripe_client.attempt_of_invoice(subscription.pending_invoice_id).needs_owner,
    )


def refresh_pending(*, account: Account, now: datetime) -> Subscription:
    """See what became of a change that waited for the customer's approval.

    Raises PaymentDeclinedError when the bank has said no: then nothing waits any more.
    """
    current = _synced(running(account), now=now)
    if current.pending_invoice_id and stripe_client.attempt_of_invoice(current.pending_invoice_id).is_refused:
        drop_pending(account=account, now=now)
        raise PaymentDeclinedError("Your bank has not approved the payment. Your plan stays as it is.")
    return current


@_exclusive
def drop_pending(*, account: Account, now: datetime) -> Subscription:
    """Go on as it is: a change that waits for the customer's approval does not take place."""
    current = running(account)
    _drop_pending(current)
    return _synced(current, now=now)


@_exclusive
def cancel(*, account: Account, now: datetime) -> Subscription:
    """Let the plan end with the period that is paid for."""
    current = running(account)
    _cancel_planned_changes(current)
    stripe_client.update_subscription(current.stripe_subscription_id, cancel_at_period_end=True)
    return _synced(current, now=now)


@_exclusive
def resume(*, account: Account, now: datetime) -> Subscription:
    """Go on after all: take back a cancellation, or a pause."""
    current = running(account)
    if current.cancel_at_period_end:
        stripe_client.undo_cancellation(current.stripe_subscription_id)
    if current.is_paused:
        stripe_client.update_subscription(current.stripe_subscription_id, pause_collection="")
    return _synced(current, now=now)


def extended_until(subscription: Subscription, *, days: int) -> datetime:
    """When the next payment is, if so many days are given on top."""
    return subscription.current_period_end + timedelta(days=days)


@_exclusive
def extend_period(*, account: Account, days: int, key: str, now: datetime) -> Subscription:
    """Give days on top of what is paid for, with credits for each month that begins in them. Nothing is charged.

    Stripe answers a repeated `key` without moving anything again.
    """
    current = running(account)
    planned = current.next_price
    _cancel_planned_changes(current)
    starts, until = current.current_period_end, extended_until(current, days=days)
    stripe_client.move_next_payment(current.stripe_subscription_id, to=int(until.timestamp()), idempotency_key=key)
    if planned is not None:
        _plan(current, planned)
    plan = current.price.plan
    quantity = stripe_client.quantity_of(current.stripe_subscription_id, price_id=current.price.stripe_price_id)
    if plan is not None and plan.monthly_credits and quantity:
        allowances.start(
            account=account,
            source=Source.PLAN,
            source_key=key,
            series=series_of(current.stripe_subscription_id),
            amount=plan.monthly_credits * quantity,
            period=Allowance.Period.MONTH,
            anchor=starts,
            zone="UTC",
            periods=-(-days // SHORTEST_MONTH_DAYS),
            paid_until=until,
            rollover=Allowance.Rollover(plan.rollover),
            rollover_limit=plan.rollover_limit,
            now=now,
        )
    return _synced(current, now=now)


@_exclusive
def cancel_now(*, account: Account, now: datetime) -> Subscription:
    """End the plan at once. What was paid for is still given, as after any end; nothing more is charged."""
    current = running(account)
    _cancel_planned_changes(current)
    stripe_client.cancel_subscription(current.stripe_subscription_id)
    return _synced(current, now=now)


def end_all(*, account: Account, now: datetime) -> None:
    """End every plan that the account has at Stripe, with what is planned for it; also one that is not paid yet.

    A second call does what the first did not. Raises PaymentProviderUnavailableError.
    """
    over = (Subscription.Status.CANCELED, Subscription.Status.INCOMPLETE_EXPIRED)
    for current in Subscription.objects.filter(account=account).exclude(status__in=over):
        with suppress(NotAtStripeError):
            if current.stripe_schedule_id:
                stripe_client.release_schedule(current.stripe_schedule_id)
        stripe_client.cancel_subscription(current.stripe_subscription_id)
        _synced(current, now=now)


@_exclusive
def pause(*, account: Account, until: datetime | None, now: datetime) -> Subscription:
    """Neither bill nor give credits for the periods that begin until then; what is paid for goes on."""
    current = running(account)
    _drop_pending(current)
    pausing: dict[str, object] = {"behavior": "void"}
    if until is not None:
        pausing["resumes_at"] = int(until.timestamp())
    stripe_client.update_subscription(current.stripe_subscription_id, pause_collection=pausing)
    return _synced(current, now=now)


def _plan(current: Subscription, price: Price) -> None:
    """Put another price in place when the running period ends."""
    stripe_client.plan_change(
        current.stripe_subscription_id,
        old_price_id=current.price.stripe_price_id,
        price_id=price.stripe_price_id,
        begins_anew=price.months != current.price.months,
    )


def _cancel_planned_changes(current: Subscription) -> None:
    """What was planned, or waits for an approval, makes way for what is asked for now."""
    _drop_pending(current)
    if current.stripe_schedule_id:
        stripe_client.release_schedule(current.stripe_schedule_id)


def _drop_pending(current: Subscription) -> None:
    """See that nobody can pay any more for a change that is not wanted any more.

    Raises PaymentOnItsWayError when it is paid for already: then the change takes place.
    """
    if not current.pending_invoice_id:
        return
    if stripe_client.attempt_of_invoice(current.pending_invoice_id).status in ("processing", "succeeded"):
        raise PaymentOnItsWayError("The payment of your change is on its way. Look again in a minute.")
    stripe_client.void_invoice(current.pending_invoice_id)


def _synced(subscription: Subscription, *, now: datetime) -> Subscription:
    try:
        sync.sync_changed_subscription(subscription.stripe_subscription_id, now=now)
    except FulfilmentError as error:
        # Its webhook will meet the same, try again, and alert the operators.
        logger.warning("change_not_in_line", subscription_id=subscription.stripe_subscription_id, error=str(error))
    subscription.refresh_from_db()
    return subscription
