"""Bringing credits in line with what Stripe says was paid. By state, not by event.

Every function takes an object as Stripe has it now and may be called any number of times, in any order: a pack is
granted from a paid checkout session only, a plan from a paid invoice only, each once by its source key.
"""

from datetime import datetime

from django.db import transaction

from accounts.models import Account
from accounts.public_ids import MalformedIdError, parse_id
from billing import catalogue, mirror, stripe_objects
from billing.errors import FulfilmentError
from billing.models import RUNNING, Order, Price, Subscription
from billing.stripe_objects import Stripe
from credits import allowances, ledger, limits
from credits.models import Allowance, Source
from credits.money import FREE, Money

MONTHS_PAID = {Price.Interval.MONTH: 1, Price.Interval.YEAR: 12}

# Reasons for an invoice that pays for a whole period of a plan, and for one that pays for a change within it.
WHOLE_PERIOD = ("subscription_create", "subscription_cycle")
PART_OF_A_PERIOD = "subscription_update"


def fulfil_session(session: Stripe, *, now: datetime) -> None:
    """Bring the order of a checkout session in line with the session. Raises FulfilmentError when they do not match."""
    if session["mode"] not in ("payment", "subscription"):
        return
    order = _order_of(session)
    if session["status"] == "expired":
        _leave_open(order, Order.Status.EXPIRED)
    elif session["status"] == "complete" and session["mode"] == "subscription":
        # The credits of a plan come with its paid invoice; here the order learns which subscription it made.
        subscription_id = stripe_objects.reference(session.get("subscription"))
        Order.objects.filter(pk=order.pk).update(stripe_subscription_id=subscription_id)
        _complete_if_subscribed(order, subscription_id, now=now)
    elif session["payment_status"] in ("paid", "no_payment_required"):
        _fulfil_pack(order, session, now=now)
    elif session["status"] == "complete":
        failed = stripe_objects.session_failed(session)
        _leave_open(order, Order.Status.FAILED if failed else Order.Status.PROCESSING)


def fulfil_subscription(subscription: Stripe, *, now: datetime) -> None:
    """Remember a subscription as Stripe has it, and what its plan allows. Raises FulfilmentError.

    Grants nothing: a paid invoice does. When it has ended, what was paid for is still given.
    """
    account = _account_of(subscription)
    price = _known_price(stripe_objects.subscription_price_id(subscription))
    ended_at = subscription.get("ended_at")
    Subscription.objects.update_or_create(
        stripe_subscription_id=subscription["id"],
        defaults={
            "account": account,
            "price": price,
            "status": subscription["status"],
            "current_period_end": stripe_objects.subscription_period_end(subscription),
            "cancel_at_period_end": bool(subscription.get("cancel_at_period_end")),
            "started_at": stripe_objects.moment(subscription["start_date"]),
            "ended_at": stripe_objects.moment(ended_at) if ended_at else None,
        },
    )
    if ended_at:
        allowances.end(account_id=account.pk, series=_series(subscription["id"]), keep_paid=True, now=now)
    _set_daily_cap(account)


def fulfil_invoice(invoice: Stripe, *, now: datetime) -> None:
    """Promise the credits that a paid invoice of a plan pays for. Raises FulfilmentError when it cannot be placed."""
    subscription_id = stripe_objects.invoice_subscription_id(invoice)
    if not subscription_id or not stripe_objects.is_paid_invoice(invoice):
        return
    if invoice["billing_reason"] == PART_OF_A_PERIOD:
        _fulfil_change(invoice, subscription_id, now=now)
        return
    if invoice["billing_reason"] not in WHOLE_PERIOD:
        raise FulfilmentError(f"Invoice {invoice['id']} ({invoice['billing_reason']}) is not for a whole period.")
    account = _account_of(invoice)
    lines = [line for line in stripe_objects.invoice_lines(invoice) if not line.is_proration]
    if len(lines) != 1:
        raise FulfilmentError(f"Invoice {invoice['id']} has {len(lines)} lines for plans; one is expected.")
    line = lines[0]
    price = _known_price(line.price_id)
    if price.plan is None:
        raise FulfilmentError(f"Price {line.price_id} is not of a plan.")
    months = MONTHS_PAID[Price.Interval(price.interval)]
    with transaction.atomic():
        if price.plan.monthly_credits:
            allowances.start(
                account=account,
                source=Source.PLAN,
                source_key=f"stripe:invoice:{invoice['id']}",
                series=_series(subscription_id),
                amount=price.plan.monthly_credits * line.quantity,
                period=Allowance.Period.MONTH,
                anchor=line.starts_at,
                zone="UTC",
                paid=Money(line.amount_minor, invoice["currency"]),
                periods=months,
                paid_until=line.ends_at,
                rollover=Allowance.Rollover(price.plan.rollover),
                rollover_limit=price.plan.rollover_limit,
                now=now,
            )
        for order in Order.objects.filter(account=account, stripe_subscription_id=subscription_id):
            _complete(order, now=now)


def _fulfil_change(invoice: Stripe, subscription_id: str, *, now: datetime) -> None:
    """Give what an upgrade adds to the running period, once it is paid. (A downgrade counts from the next one.)"""
    account = _account_of(invoice)
    bought = [line for line in stripe_objects.invoice_lines(invoice) if line.is_proration and line.amount_minor > 0]
    if len(bought) != 1:
        raise FulfilmentError(f"Invoice {invoice['id']} changes to {len(bought)} plans; one is expected.")
    (line,) = bought
    price = _known_price(line.price_id)
    if price.plan is None:
        raise FulfilmentError(f"Price {line.price_id} is not of a plan.")
    is_running = allowances.change(
        account_id=account.pk,
        series=_series(subscription_id),
        amount=price.plan.monthly_credits * line.quantity,
        source_key=f"stripe:invoice:{invoice['id']}",
        paid=Money(invoice["amount_paid"], invoice["currency"] if invoice["amount_paid"] else ""),
        period_ends_at=line.ends_at,
        now=now,
    )
    if not is_running and line.ends_at > now:
        raise FulfilmentError(f"Invoice {invoice['id']} changes a period whose own invoice was not heard of yet.")


def _series(subscription_id: str) -> str:
    """Under which name the ledger keeps the promises of a subscription together."""
    return f"stripe:subscription:{subscription_id}"


def _set_daily_cap(account: Account) -> None:
    """The account's plan says how many paid credits it may spend in a day."""
    running = Subscription.objects.filter(account=account, status__in=RUNNING).select_related("price__plan")
    latest = running.order_by("-started_at").first()
    plan = latest.price.plan if latest else catalogue.default_plan()
    limits.set_daily_cap(account_id=account.pk, cap=plan.daily_cap if plan else None)


def _fulfil_pack(order: Order, session: Stripe, *, now: datetime) -> None:
    paid = Money(session["amount_total"], session["currency"])
    if (paid.minor, paid.currency) != (order.amount_minor, order.currency):
        problem = f"Paid {paid.minor} {paid.currency} for an order of {order.amount_minor} {order.currency}."
        _leave_open(order, Order.Status.REVIEW, problem=problem)
        raise FulfilmentError(f"{order.public_id}: {problem}")
    with transaction.atomic():
        grants = (
            (Source.PURCHASE, "", order.credits, paid),
            (Source.BONUS, ":bonus", order.bonus_credits, FREE),
        )
        for source, suffix, amount, price in grants:
            if amount:
                ledger.grant(
                    account_id=order.account_id,
                    amount=amount,
                    source=source,
                    source_key=f"stripe:session:{session['id']}{suffix}",
                    paid=price,
                    description=order.description,
                    actor="stripe",
                    now=now,
                )
        _complete(order, now=now)


def _complete(order: Order, *, now: datetime) -> None:
    completed = Order.objects.filter(pk=order.pk).exclude(status=Order.Status.COMPLETED)
    completed.update(status=Order.Status.COMPLETED, completed_at=now, problem="")


def _complete_if_subscribed(order: Order, subscription_id: str, *, now: datetime) -> None:
    """The invoice may have been fulfilled before the session told which order it belongs to."""
    order.stripe_subscription_id = subscription_id
    latest = mirror.latest_invoice_of(subscription_id)
    if latest is not None:
        fulfil_invoice(latest, now=now)


def _leave_open(order: Order, status: Order.Status, *, problem: str = "") -> None:
    """Note how a payment stands; what was completed stays completed."""
    unfinished = Order.objects.filter(pk=order.pk).exclude(status=Order.Status.COMPLETED)
    unfinished.update(status=status, problem=problem)


def _order_of(session: Stripe) -> Order:
    orders = Order.objects.select_related("price__plan", "price__pack", "account")
    order = orders.filter(stripe_session_id=session["id"]).first()
    if order is None:
        # Stripe answered our call after we had stopped waiting: the session still knows its order.
        try:
            order_id = parse_id("co", stripe_objects.session_order_id(session))
        except MalformedIdError:
            order_id = None
        order = orders.filter(pk=order_id, stripe_session_id=None).first() if order_id else None
    if order is None:
        raise FulfilmentError(f"Session {session['id']} belongs to no order of ours.")
    account = mirror.account_of_customer(stripe_objects.customer_id(session))
    if account is None or account.pk != order.account_id:
        raise FulfilmentError(f"Session {session['id']} is of another customer than its order {order.public_id}.")
    if order.stripe_session_id is None:
        Order.objects.filter(pk=order.pk).update(stripe_session_id=session["id"])
    return order


def _account_of(row: Stripe) -> Account:
    customer_id = stripe_objects.customer_id(row)
    account = mirror.account_of_customer(customer_id)
    if account is None:
        raise FulfilmentError(f"{row['object']} {row['id']} is of customer {customer_id}, who is none of ours.")
    return account


def _known_price(price_id: str) -> Price:
    price = Price.objects.select_related("plan", "pack").filter(stripe_price_id=price_id).first()
    if price is None:
        raise FulfilmentError(f"Price {price_id} is not in the catalogue. Sync prices, then replay.")
    return price
