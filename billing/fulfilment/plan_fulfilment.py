"""Fulfilling plans: syncing credits with the subscription and its paid invoices. By state, not by event.

Every function takes an object as Stripe has it now and may be called any number of times, in any order: credits are
given for a paid invoice only, once by its source key.
"""

from datetime import datetime, timedelta
from fractions import Fraction

from django.conf import settings
from django.db import transaction

from accounts.models import Account
from billing.catalogue import one_time_benefits, price_list
from billing.errors import FulfilmentError
from billing.fulfilment import duplicate_detection
from billing.models import RUNNING, Order, PaidInvoice, Price, Subscription, series_of
from billing.notifications import domain_events
from billing.payments import orders, payment_records
from billing.stripe import lookup, payloads
from billing.stripe.payloads import InvoiceLine, Stripe
from common.json_types import JsonObject
from credits import allowances, ledger, limits
from credits.calendar import month_boundary
from credits.models import Allowance, Source
from credits.money import FREE, Money
from outbox import alerts
from outbox.models import Alert

# Reasons for an invoice that pays for a whole period of a plan, and for one that pays for a change within it.
FIRST, RENEWAL = "subscription_create", "subscription_cycle"
WHOLE_PERIOD = (FIRST, RENEWAL)
CHANGE = "subscription_update"
SHORTEST_MONTH, SHORTEST_YEAR_DAYS = timedelta(days=27), 360
# A payment that comes later than this gives its period from then on.
PAID_IN_TIME = timedelta(days=3)


def fulfil_subscription(subscription: Stripe, *, now: datetime) -> None:
    """Remember a subscription as Stripe has it, and what its plan allows. Raises FulfilmentError.

    Grants nothing: a paid invoice does. When it has ended, what was paid for is still given.
    """
    account = lookup.resolve_account(subscription)
    price = lookup.known_price(payloads.subscription_price_id(subscription))
    next_price_id = payloads.subscription_next_price_id(subscription)
    ended_at, trial_ends = subscription.get("ended_at"), subscription.get("trial_end")
    is_paused, resumes_at = payloads.subscription_pause(subscription)
    with transaction.atomic():
        before = Subscription.objects.select_for_update().filter(stripe_subscription_id=subscription["id"]).first()
        current, _ = Subscription.objects.update_or_create(
            stripe_subscription_id=subscription["id"],
            defaults={
                "account": account,
                "price": price,
                "status": subscription["status"],
                "current_period_end": payloads.subscription_period_end(subscription),
                "cancel_at_period_end": payloads.cancels_at(subscription) is not None,
                "next_price": lookup.known_price(next_price_id) if next_price_id else None,
                "stripe_schedule_id": payloads.reference(subscription.get("schedule")),
                **_pending(subscription),
                "is_paused": is_paused,
                "resumes_at": resumes_at,
                "trial_ends_at": payloads.moment(trial_ends) if trial_ends else None,
                "first_trial_ends_at": payloads.first_trial_ends_at(subscription),
                "started_at": payloads.moment(subscription["start_date"]),
                "ended_at": payloads.moment(ended_at) if ended_at else None,
            },
        )
        if payloads.cancels_at(subscription) is not None or ended_at:
            allowances.end_grace(account_id=account.pk, series=series_of(subscription["id"]), now=now)
        if ended_at:
            allowances.end(account_id=account.pk, series=series_of(subscription["id"]), keep_paid=True, now=now)
        _set_daily_cap(account)
        _publish_changes(before, current, now=now)


def _pending(subscription: Stripe) -> JsonObject:
    """What of a subscription waits for the customer's bank."""
    result = payloads.pending_update(subscription)
    if result is None:
        return {"pending_price": None, "pending_until": None, "pending_invoice_id": ""}
    prices, until, invoice_id = result
    price = Price.objects.filter(stripe_price_id__in=prices, plan__isnull=False).first()
    return {"pending_price": price, "pending_until": until, "pending_invoice_id": invoice_id}


def fulfil_invoice(invoice: Stripe, *, now: datetime) -> None:
    """Start the allowance that a paid invoice of a plan pays for. Raises FulfilmentError when it cannot be placed.

    A plan's lines are those of a price that we sell it for; whatever else the invoice bills (an add-on, usage, another
    product) is none of ours. Invoices that a person made, or that bill usage, give nothing.
    """
    subscription_id = payloads.invoice_subscription_id(invoice)
    if not subscription_id or not payloads.is_paid_invoice(invoice):
        return
    reason = invoice["billing_reason"]
    if reason not in (*WHOLE_PERIOD, CHANGE):
        return
    account = lookup.resolve_account(invoice)
    if account.closed_at is not None:
        return  # `late_payments` gives the money back
    if reason == FIRST and duplicate_detection.is_duplicate(subscription_id):
        record_refused_plan(subscription_id)
        return
    lines = _plan_lines(invoice)
    whole = [line for line in lines if not line.is_proration or (reason == FIRST and line.listed_minor >= 0)]
    if not lines and reason == CHANGE:
        # An add-on or another product beside the plan was changed: paid, and nothing of ours.
        _record_fulfilled(invoice, account, lines, now=now)
        return
    if not lines and not _is_others(subscription_id):
        raise FulfilmentError(
            f"Invoice {invoice['id']} has no line of a plan that is sold here. Sync prices, then replay."
        )
    if reason == CHANGE and not whole and (ahead := _beyond_what_is_paid(account, subscription_id, lines, now=now)):
        whole = [ahead]
    if reason == CHANGE and not whole:
        _fulfil_change(invoice, subscription_id, lines, now=now)
    else:
        _fulfil_periods(invoice, account, subscription_id, lines, whole, now=now)


def _beyond_what_is_paid(
    account: Account, subscription_id: str, lines: list[InvoiceLine], *, now: datetime
) -> InvoiceLine | None:
    """The line that pays for time beyond the running period, if one does: it begins a period of its own.

    In flexible billing mode a price of another interval keeps to the old anchor, and all of it is prorated
    (docs.stripe.com/billing/subscriptions/billing-mode/compare). Ours start over; the dashboard's and portal's do not.
    """
    until = allowances.paid_until(account_id=account.pk, series=series_of(subscription_id), now=now)
    bought = [line for line in lines if line.buys_part]
    latest = max(bought, key=lambda line: line.ends_at, default=None)
    return latest if latest is not None and until is not None and latest.ends_at > until + PAID_IN_TIME else None


def _fulfil_periods(
    invoice: Stripe,
    account: Account,
    subscription_id: str,
    lines: list[InvoiceLine],
    whole: list[InvoiceLine],
    *,
    now: datetime,
) -> None:
    """Start the allowances that the whole periods of an invoice pay for, and publish it."""
    reason = invoice["billing_reason"]
    for number, line in enumerate(line for line in whole if line.quantity):
        is_told = _fulfil_period(invoice, line, lines, account, subscription_id, number=number, now=now)
        if not is_told:
            return
    if reason == RENEWAL:
        _fulfil_changes_before(invoice, account, lines, whole, now=now)
    monthly = sum(lookup.plan_price(line.price_id)[1].monthly_credits * line.quantity for line in whole[:1])
    _record_fulfilled(invoice, account, lines, monthly=monthly, promise=_source_key(invoice), now=now)
    for order in Order.objects.filter(account=account, stripe_subscription_id=subscription_id):
        orders.mark_paid(order, {"paid_minor": invoice["amount_paid"]} if reason == FIRST else None, now=now)
    alerts.resolve(Alert.Kind.PAYMENT_FAILED, subject=invoice["id"], now=now, note="paid")
    if reason == RENEWAL and whole:
        domain_events.renewed(
            account,
            lookup.known_price(whole[0].price_id),
            invoice_id=invoice["id"],
            amount_minor=invoice["amount_paid"],
            currency=invoice["currency"],
            at=payloads.paid_at(invoice) or now,
        )


def is_plan_draft(invoice: Stripe) -> bool:
    """Whether this is a renewal that waits to be finalised, and bills plans of ours and nothing that is counted."""
    is_waiting = invoice.get("status") == "draft" and invoice.get("auto_advance") is not False
    is_waiting = is_waiting and invoice.get("collection_method") != "send_invoice"
    lines = payloads.invoice_lines(invoice)
    return bool(
        is_waiting and invoice.get("billing_reason") == RENEWAL and lines and len(_plan_lines(invoice)) == len(lines)
    )


def _plan_lines(invoice: Stripe) -> list[InvoiceLine]:
    """The lines of prices that we sell plans for."""
    lines = payloads.invoice_lines(invoice)
    known = Price.objects.filter(stripe_price_id__in={line.price_id for line in lines}, plan__isnull=False)
    ours = set(known.values_list("stripe_price_id", flat=True))
    return [line for line in lines if line.price_id in ours]


def _is_others(subscription_id: str) -> bool:
    """Whether a known customer's subscription is to something that is not sold here."""
    return not Subscription.objects.filter(stripe_subscription_id=subscription_id).exists()


def _fulfil_period(
    invoice: Stripe,
    line: InvoiceLine,
    lines: list[InvoiceLine],
    account: Account,
    subscription_id: str,
    *,
    number: int,
    now: datetime,
) -> bool:
    """Start the allowance that one line pays for: a whole period of a plan, or the part of one up to a billing anchor.

    False when it was a trial that this person had before: then nothing is given.
    """
    price, plan = lookup.plan_price(line.price_id)
    reason, is_free = invoice["billing_reason"], not line.listed_minor and bool(price.amount_minor)
    is_trial = reason == FIRST and is_free and _is_on_trial(subscription_id)
    if reason == CHANGE and is_free:
        return True  # the next payment was moved: Stripe bills nothing for the days until then, and nothing is given
    if is_trial and not one_time_benefits.is_claimed_by(one_time_benefits.Kind.TRIAL, account, cause=subscription_id):
        record_refused_plan(subscription_id)
        return False
    # What was paid for before and is credited by a change of interval lowers what this period cost.
    of_change = 0 if number else sum(each.amount_minor for each in lines)
    paid = max(0, of_change if reason == CHANGE else line.amount_minor)
    amount = plan.trial_credits if is_trial and plan.trial_credits is not None else plan.monthly_credits
    months = 1 if is_trial else price.months
    starts_at, ends_at = line.starts_at, line.ends_at
    series = series_of(subscription_id) + (f":{line.price_id}" if number else "")
    if not is_trial and not is_free:
        amount, months = _part_of(line, amount, months)
    if (late_at := _paid_late(invoice, starts_at, now=now)) is not None and not is_trial:
        if allowances.is_replaced(account_id=account.pk, series=series, since=starts_at):
            series += f":late:{invoice['id']}"  # a month of its own, beside what was bought meanwhile
        starts_at, ends_at = late_at, max(ends_at, month_boundary(late_at, months, "UTC"))
    if amount:
        allowances.start(
            account=account,
            source=Source.PLAN,
            source_key=_source_key(invoice) + (f":{line.price_id}" if number else ""),
            series=series,
            amount=amount * line.quantity,
            period=Allowance.Period.MONTH,
            anchor=starts_at,
            zone="UTC",
            paid=Money(paid, invoice["currency"]) if paid else FREE,
            periods=months,
            paid_until=ends_at,
            rollover=Allowance.Rollover(plan.rollover),
            rollover_limit=plan.rollover_limit,
            grace=timedelta(hours=settings.RENEWAL_GRACE_HOURS) if _renews(subscription_id) else timedelta(0),
            now=now,
        )
    return True


def _part_of(line: InvoiceLine, amount: int, months: int) -> tuple[int, int]:
    """How much a first, short period up to a billing anchor gives: its part of a month, or its months of a year."""
    length = line.ends_at - line.starts_at
    if months == 1 and length < SHORTEST_MONTH:
        whole = (month_boundary(line.ends_at, -1, "UTC") - line.ends_at).total_seconds()
        return max(1, int(amount * length.total_seconds() / abs(whole))) if amount else 0, 1
    if months > 1 and length < timedelta(days=SHORTEST_YEAR_DAYS):
        return amount, max(1, round(length / timedelta(days=365 / 12)))
    return amount, months


def _paid_late(invoice: Stripe, starts_at: datetime, *, now: datetime) -> datetime | None:
    """When an invoice was paid, if that was long after its period began: then its month begins with the payment."""
    paid_at = payloads.paid_at(invoice) or now
    return paid_at if paid_at > starts_at + PAID_IN_TIME else None


def _renews(subscription_id: str) -> bool:
    """Whether another period may follow the one that is paid for now."""
    rows = Subscription.objects.filter(stripe_subscription_id=subscription_id, ended_at=None)
    return rows.filter(cancel_at_period_end=False).exists()


def _is_on_trial(subscription_id: str) -> bool:
    known = Subscription.objects.filter(stripe_subscription_id=subscription_id)
    return known.exclude(trial_ends_at=None).exists()


def record_refused_plan(subscription_id: str) -> None:
    """Say on the order of a plan that was ended as it began what became of it: a second trial, or a second plan."""
    plan = Subscription.objects.filter(stripe_subscription_id=subscription_id).first()
    if duplicate_detection.is_duplicate(subscription_id):
        problem = "Another plan was running: the money was given back."
        # Also where it was completed, before the other one arrived.
        Order.objects.filter(stripe_subscription_id=subscription_id).update(
            status=Order.Status.FAILED, problem=problem, completed_at=None, paid_minor=None
        )
        return
    if plan is not None and plan.ended_at and plan.trial_ends_at:
        for order in Order.objects.filter(stripe_subscription_id=subscription_id):
            orders.set_payment_status(
                order, Order.Status.FAILED, problem="The free trial was used before. Nothing was charged."
            )


def record_refused_invoice(invoice: Stripe, *, needs_owner: bool, now: datetime) -> None:
    """The bank said no to a plan's invoice, or asks its customer first: they are mailed what to do. Gives nothing.

    What a renewing plan's credits lived on for, while its payment was on its way, is over.
    """
    account = lookup.resolve_account(invoice)
    lines = _plan_lines(invoice)
    is_pending_change = Subscription.objects.filter(pending_invoice_id=invoice["id"]).exists()
    if not lines or is_pending_change:
        return  # (whoever asked for a change sees it where they asked)
    if invoice.get("billing_reason") == RENEWAL:
        subscription_id = payloads.invoice_subscription_id(invoice)
        allowances.end_grace(account_id=account.pk, series=series_of(subscription_id), now=now)
    next_try = invoice.get("next_payment_attempt")
    domain_events.payment_failed(
        account,
        lookup.known_price(lines[0].price_id),
        invoice,
        needs_owner=needs_owner,
        next_try_at=payloads.moment(next_try) if next_try else None,
        now=now,
    )


def _fulfil_change(invoice: Stripe, subscription_id: str, lines: list[InvoiceLine], *, now: datetime) -> None:
    """Give what an upgrade adds to the running period, once it is paid. (A downgrade counts from the next one.)

    Several changes may share an invoice, and a coupon may pay for all of it: what counts is the plan at its end.
    """
    account = lookup.resolve_account(invoice)
    if PaidInvoice.objects.filter(stripe_invoice_id=invoice["id"]).exists():
        return
    bought = [line for line in lines if line.buys_part]
    promise, monthly = "", 0
    current = Subscription.objects.filter(stripe_subscription_id=subscription_id).select_related("price").first()
    of_current = [line for line in bought if current is not None and line.price_id == current.price.stripe_price_id]
    if bought:
        line = max(of_current or bought, key=lambda each: each.starts_at)
        _, plan = lookup.plan_price(line.price_id)
        paid = max(0, sum(line.amount_minor for line in lines))
        series = series_of(subscription_id)
        promise = allowances.source_key_of(account_id=account.pk, series=series, paid_until=line.ends_at)
        monthly = max(0, plan.monthly_credits * line.quantity - allowances.amount_of(account.pk, promise))
        is_running = allowances.change(
            account_id=account.pk,
            series=series,
            amount=plan.monthly_credits * line.quantity,
            source_key=_source_key(invoice),
            paid=Money(paid, invoice["currency"]) if paid else FREE,
            period_ends_at=line.ends_at,
            since=line.starts_at,
            now=now,
        )
        if not is_running and line.ends_at > now:
            raise FulfilmentError(f"Invoice {invoice['id']} changes a period whose own invoice was not fulfilled yet.")
    period = f"{subscription_id}:{max(line.ends_at for line in lines):%Y-%m-%dT%H:%M:%S}" if lines else ""
    minor = sum(line.amount_minor for line in lines)
    _record_fulfilled(invoice, account, lines, period=period, minor=minor, monthly=monthly, promise=promise, now=now)


def _fulfil_changes_before(
    invoice: Stripe, account: Account, lines: list[InvoiceLine], whole: list[InvoiceLine], *, now: datetime
) -> None:
    """What an upgrade in the period before added, where the renewal bills it: its part, until the period ends."""
    changes = [line for line in lines if line.is_proration]
    net = sum(line.amount_minor for line in changes)
    credits = Fraction(0)
    for line in changes:
        price, plan = lookup.plan_price(line.price_id)
        listed = price.amount_minor * line.quantity
        of_price = plan.monthly_credits * line.quantity * price.months
        credits += Fraction(of_price * line.listed_minor, listed) if listed else 0
    if net > 0 and int(credits) > 0:
        ledger.grant(
            account_id=account.pk,
            amount=int(credits),
            source=Source.PLAN,
            source_key=f"{_source_key(invoice)}:changes",
            paid=Money(net, invoice["currency"]),
            expires_at=max((line.ends_at for line in whole), default=None),
            description="Changes of the plan before this renewal",
            actor="stripe",
            now=now,
        )


def _record_fulfilled(
    invoice: Stripe,
    account: Account,
    lines: list[InvoiceLine],
    *,
    now: datetime,
    period: str = "",
    minor: int = 0,
    monthly: int = 0,
    promise: str = "",
) -> None:
    reported = {"account": account, "fulfilled_at": now, "changed_period": period, "change_minor": minor}
    reported |= {"monthly_credits": monthly, "promise": promise}
    PaidInvoice.objects.get_or_create(stripe_invoice_id=invoice["id"], defaults=reported)
    net = sum(line.amount_minor for line in lines)
    payment_records.record(
        account=account,
        origin_id=invoice["id"],
        source_key=_source_key(invoice),
        currency=invoice["currency"],
        total_minor=invoice["total"],
        net_minor=net,
        tax_minor=payloads.invoice_tax_minor(invoice, on=net),
        now=now,
    )


def _source_key(invoice: Stripe) -> str:
    """Under which the ledger keeps what an invoice brought."""
    return f"stripe:invoice:{invoice['id']}"


def _set_daily_cap(account: Account) -> None:
    """The account's plan says how many paid credits it may spend in a day."""
    running = Subscription.objects.filter(account=account, status__in=RUNNING).select_related("price__plan")
    latest = running.order_by("-started_at").first()
    plan = latest.price.plan if latest else price_list.default_plan()
    limits.set_daily_cap(account_id=account.pk, cap=plan.daily_cap if plan else None)


def _publish_changes(before: Subscription | None, current: Subscription, *, now: datetime) -> None:
    """Notify the customer of what became of their plan, whoever changed it."""
    ends_at = current.ended_at or current.current_period_end
    if current.ended_at or current.cancel_at_period_end:
        domain_events.cancelled(current, ends_at=ends_at, is_over=bool(current.ended_at), now=now)
    elif before is not None and current.price not in (before.price, before.next_price):
        domain_events.plan_changed(current, before=before.price, after=current.price, at=now, now=now)
    elif current.next_price is not None:
        domain_events.plan_changed(current, before=current.price, after=current.next_price, at=ends_at, now=now)
