"""Bringing a plan's credits in line with its subscription and its paid invoices. By state, not by event.

Every function takes an object as Stripe has it now and may be called any number of times, in any order: credits are
promised by a paid invoice only, once by its source key.
"""

from datetime import datetime

from django.db import transaction

from accounts.models import Account
from billing import announcing, benefits, catalogue, orders, placing, stripe_objects
from billing.errors import FulfilmentError
from billing.models import RUNNING, Order, PaidInvoice, Price, Subscription, series_of
from billing.stripe_objects import InvoiceLine, Stripe
from credits import allowances, limits
from credits.models import Allowance, Source
from credits.money import FREE, Money
from outbox import alerts
from outbox.models import Alert

# Reasons for an invoice that pays for a whole period of a plan, and for one that pays for a change within it.
FIRST, RENEWAL = "subscription_create", "subscription_cycle"
WHOLE_PERIOD = (FIRST, RENEWAL)
CHANGE = "subscription_update"


def fulfil_subscription(subscription: Stripe, *, now: datetime) -> None:
    """Remember a subscription as Stripe has it, and what its plan allows. Raises FulfilmentError.

    Grants nothing: a paid invoice does. When it has ended, what was paid for is still given.
    """
    account = placing.account_of(subscription)
    price = placing.known_price(stripe_objects.subscription_price_id(subscription))
    next_price_id = stripe_objects.subscription_next_price_id(subscription)
    ended_at, trial_ends = subscription.get("ended_at"), subscription.get("trial_end")
    is_paused, resumes_at = stripe_objects.subscription_pause(subscription)
    with transaction.atomic():
        before = Subscription.objects.select_for_update().filter(stripe_subscription_id=subscription["id"]).first()
        current, _ = Subscription.objects.update_or_create(
            stripe_subscription_id=subscription["id"],
            defaults={
                "account": account,
                "price": price,
                "status": subscription["status"],
                "current_period_end": stripe_objects.subscription_period_end(subscription),
                "cancel_at_period_end": bool(subscription.get("cancel_at_period_end")),
                "next_price": placing.known_price(next_price_id) if next_price_id else None,
                "stripe_schedule_id": stripe_objects.reference(subscription.get("schedule")),
                "is_paused": is_paused,
                "resumes_at": resumes_at,
                "trial_ends_at": stripe_objects.moment(trial_ends) if trial_ends else None,
                "started_at": stripe_objects.moment(subscription["start_date"]),
                "ended_at": stripe_objects.moment(ended_at) if ended_at else None,
            },
        )
        if ended_at:
            allowances.end(account_id=account.pk, series=series_of(subscription["id"]), keep_paid=True, now=now)
        _set_daily_cap(account)
        _tell_changes(before, current, now=now)


def fulfil_invoice(invoice: Stripe, *, now: datetime) -> None:
    """Promise the credits that a paid invoice of a plan pays for. Raises FulfilmentError when it cannot be placed."""
    subscription_id = stripe_objects.invoice_subscription_id(invoice)
    if not subscription_id or not stripe_objects.is_paid_invoice(invoice):
        return
    lines = [line for line in stripe_objects.invoice_lines(invoice) if not line.is_proration]
    if invoice["billing_reason"] == CHANGE and not lines:
        _fulfil_change(invoice, subscription_id, now=now)
        return
    if invoice["billing_reason"] not in (*WHOLE_PERIOD, CHANGE):
        raise FulfilmentError(f"Invoice {invoice['id']} ({invoice['billing_reason']}) is not for a whole period.")
    account = placing.account_of(invoice)
    if len(lines) != 1:
        raise FulfilmentError(f"Invoice {invoice['id']} has {len(lines)} lines for plans; one is expected.")
    (line,) = lines
    price, plan = placing.plan_price(line.price_id)
    is_trial = invoice["billing_reason"] == FIRST and _is_trial(subscription_id, line, price)
    # What was paid for before and is credited by a change of interval lowers what this period cost.
    paid = stripe_objects.invoice_net_minor(invoice) if invoice["billing_reason"] == CHANGE else line.amount_minor
    amount = plan.trial_credits if is_trial and plan.trial_credits is not None else plan.monthly_credits
    if is_trial and not benefits.is_had_by(benefits.Kind.TRIAL, account, cause=subscription_id):
        _refuse_trial(account, subscription_id)
        return
    with transaction.atomic():
        if amount:
            allowances.start(
                account=account,
                source=Source.PLAN,
                source_key=f"stripe:invoice:{invoice['id']}",
                series=series_of(subscription_id),
                amount=amount * line.quantity,
                period=Allowance.Period.MONTH,
                anchor=line.starts_at,
                zone="UTC",
                paid=Money(paid, invoice["currency"]) if paid else FREE,
                periods=1 if is_trial else price.months,
                paid_until=line.ends_at,
                rollover=Allowance.Rollover(plan.rollover),
                rollover_limit=plan.rollover_limit,
                now=now,
            )
        _note_fulfilled(invoice, account, now=now)
        for order in Order.objects.filter(account=account, stripe_subscription_id=subscription_id):
            orders.complete(order, now=now)
        alerts.resolve(Alert.Kind.PAYMENT_FAILED, invoice["id"], now=now, note="paid")
        if invoice["billing_reason"] == RENEWAL:
            announcing.renewed(
                account,
                price,
                invoice_id=invoice["id"],
                amount_minor=invoice["amount_paid"],
                currency=invoice["currency"],
                at=stripe_objects.paid_at(invoice) or now,
            )


def _refuse_trial(account: Account, subscription_id: str) -> None:
    """A trial that is not the first gives nothing (billing.trials has ended it)."""
    for order in Order.objects.filter(account=account, stripe_subscription_id=subscription_id):
        orders.leave_open(order, Order.Status.FAILED, problem="The free trial was used before. Nothing was charged.")


def note_refused(invoice: Stripe, *, why: str, now: datetime) -> None:
    """The bank said no to a plan's invoice, for the reason `why`: tell the customer how to mend it. Gives nothing."""
    account = placing.account_of(invoice)
    (line, *_) = stripe_objects.invoice_lines(invoice)
    next_try = invoice.get("next_payment_attempt")
    announcing.payment_failed(
        account,
        placing.known_price(line.price_id),
        invoice,
        needs_owner=why == "authentication_required",
        next_try_at=stripe_objects.moment(next_try) if next_try else None,
        now=now,
    )


def _fulfil_change(invoice: Stripe, subscription_id: str, *, now: datetime) -> None:
    """Give what an upgrade adds to the running period, once it is paid. (A downgrade counts from the next one.)"""
    account = placing.account_of(invoice)
    bought = [line for line in stripe_objects.invoice_lines(invoice) if line.is_proration and line.amount_minor > 0]
    if len(bought) != 1:
        raise FulfilmentError(f"Invoice {invoice['id']} changes to {len(bought)} plans; one is expected.")
    (line,) = bought
    _, plan = placing.plan_price(line.price_id)
    paid = stripe_objects.invoice_net_minor(invoice)
    is_running = allowances.change(
        account_id=account.pk,
        series=series_of(subscription_id),
        amount=plan.monthly_credits * line.quantity,
        source_key=f"stripe:invoice:{invoice['id']}",
        paid=Money(paid, invoice["currency"]) if paid else FREE,
        period_ends_at=line.ends_at,
        now=now,
    )
    if not is_running and line.ends_at > now:
        raise FulfilmentError(f"Invoice {invoice['id']} changes a period whose own invoice was not heard of yet.")
    _note_fulfilled(invoice, account, now=now)


def _note_fulfilled(invoice: Stripe, account: Account, *, now: datetime) -> None:
    PaidInvoice.objects.get_or_create(
        stripe_invoice_id=invoice["id"], defaults={"account": account, "fulfilled_at": now}
    )


def _set_daily_cap(account: Account) -> None:
    """The account's plan says how many paid credits it may spend in a day."""
    running = Subscription.objects.filter(account=account, status__in=RUNNING).select_related("price__plan")
    latest = running.order_by("-started_at").first()
    plan = latest.price.plan if latest else catalogue.default_plan()
    limits.set_daily_cap(account_id=account.pk, cap=plan.daily_cap if plan else None)


def _tell_changes(before: Subscription | None, current: Subscription, *, now: datetime) -> None:
    """Tell the customer what became of their plan, whoever changed it."""
    ends_at = current.ended_at or current.current_period_end
    if current.ended_at or current.cancel_at_period_end:
        announcing.cancelled(current, ends_at=ends_at, is_over=bool(current.ended_at), now=now)
    elif before is not None and current.price not in (before.price, before.next_price):
        announcing.plan_changed(current, before=before.price, after=current.price, at=now, now=now)
    elif current.next_price is not None:
        announcing.plan_changed(current, before=current.price, after=current.next_price, at=ends_at, now=now)


def _is_trial(subscription_id: str, line: InvoiceLine, price: Price) -> bool:
    """Whether a line is for the days before the first payment."""
    if line.amount_minor or not price.amount_minor:
        return False
    known = Subscription.objects.filter(stripe_subscription_id=subscription_id)
    return known.exclude(trial_ends_at=None).exists()
