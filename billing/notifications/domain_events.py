"""Telling of what happened to somebody's money and credits: to the outbox, once each.

An event's data is complete: the amounts and names of that moment, as JSON. E-mails and outgoing webhooks read it later.
"""

import uuid
from datetime import datetime, timedelta

from accounts.models import Account, ApiKey, Invitation, User
from billing.models import Order, Price, Subscription
from billing.stripe.discounts import may_differ_from_list
from common.json_types import JsonObject
from common.public_ids import parse_id
from credits.models import Grant
from credits.spending_limits import LimitUse
from outbox import alerts, publishing
from outbox.models import Alert, OutboxEvent

# A balance that falls below its limit again within this time, without new credits, is no news.
QUIET = timedelta(days=1)


def account_opened(account: Account, *, now: datetime) -> None:
    data = {"name": account.name, "is_team": account.kind == Account.Kind.TEAM}
    _publish("account.opened", str(account.pk), account.pk, data, now=now)


def member_invited(invitation: Invitation, *, now: datetime) -> None:
    """Mailed to the address that was invited, each time that it is."""
    data = {
        "mail_to": invitation.email,
        "team": str(invitation.account),
        "by": invitation.invited_by.get_full_name() if invitation.invited_by else "",
        "invitation": invitation.public_id,
        "at": invitation.expires_at.isoformat(),
    }
    key = f"{invitation.pk}:{int(invitation.created_at.timestamp())}"
    _publish("team.invited", key, invitation.account_id, data, now=now)


def key_created(key: ApiKey, *, now: datetime) -> None:
    """Whoever made it, its account's owner is to know."""
    assert key.account_id is not None  # noqa: S101 - a service key is nobody's
    data = {"key_name": key.name, "key_shown": str(key), "key": key.public_id}
    _publish("key.created", str(key.pk), key.account_id, data, now=now)


def order_paid(order: Order, *, now: datetime) -> None:
    data = {
        "order": order.public_id,
        "description": order.description,
        "credits": order.all_credits,
        "amount_minor": order.charged_minor,
        "currency": order.currency,
        "receipt_url": order.receipt_url,
        "is_plan": order.is_for_a_plan,
        "interval": order.price.interval,
        "renews_at": _renewal_of(order),
        **_trial_of(order),
    }
    _publish("order.paid", str(order.pk), order.account_id, data, now=now)


def _renewal_of(order: Order) -> str:
    """When the plan that an order began is paid next; empty for a pack."""
    begun = Subscription.objects.filter(stripe_subscription_id=order.stripe_subscription_id or None).first()
    return begun.current_period_end.isoformat() if begun else ""


def _trial_of(order: Order) -> JsonObject:
    """When the trial that an order began ends, and what is charged then; nothing for an order that began none."""
    begun = Subscription.objects.filter(stripe_subscription_id=order.stripe_subscription_id or None)
    plan = begun.exclude(first_trial_ends_at=None).select_related("price__plan").first()
    if plan is None or plan.price.plan is None:
        return {"is_trial": False}
    of_trial = plan.price.plan.trial_credits
    return {"is_trial": True, "credits": order.credits if of_trial is None else of_trial, **_first_charge(plan)}


def _first_charge(plan: Subscription) -> JsonObject:
    assert plan.first_trial_ends_at is not None  # noqa: S101 - only asked of trials
    price = plan.next_price or plan.price
    return {
        "plan": price.plan.name if price.plan else "",
        "plan_code": price.plan.code if price.plan else "",
        "trial_ends_at": plan.first_trial_ends_at.isoformat(),
        "first_charge_minor": price.amount_minor,
        "may_differ": may_differ_from_list(),
        "currency": price.currency,
    }


def trial_ending(plan: Subscription, *, now: datetime) -> bool:
    """Once for each trial and its end; whether that was now."""
    data = _first_charge(plan)
    return _publish(
        "subscription.trial_ending",
        f"{plan.stripe_subscription_id}:{data['trial_ends_at']}",
        plan.account_id,
        data,
        now=now,
    )


def refunded(
    account: Account,
    *,
    charge_id: str,
    description: str,
    refunded_minor: int,
    currency: str,
    credits: int,
    now: datetime,
) -> None:
    """`refunded_minor` is all that went back of a charge so far, `credits` all that was taken back for it."""
    data = {"description": description, "refunded_minor": refunded_minor, "currency": currency, "credits": credits}
    _publish("payment.refunded", f"{charge_id}:{refunded_minor}", account.pk, data, now=now)


def renewed(account: Account, price: Price, *, invoice_id: str, amount_minor: int, currency: str, at: datetime) -> None:
    data = {**_plan(price), "amount_minor": amount_minor, "currency": currency}
    _publish("subscription.renewed", invoice_id, account.pk, data, now=at)


def plan_changed(subscription: Subscription, *, before: Price, after: Price, at: datetime, now: datetime) -> None:
    """Another plan or interval: `at` is when it counts from."""
    data = {"from": _plan(before), "to": _plan(after), "at": at.isoformat(), "is_now": at <= now}
    key = f"{subscription.stripe_subscription_id}:{before.pk}:{after.pk}:{int(at.timestamp())}"
    _publish("subscription.changed", key, subscription.account_id, data, now=now)


def cancelled(subscription: Subscription, *, ends_at: datetime, is_over: bool, now: datetime) -> None:
    """It will end at `ends_at`, or has."""
    data = {**_plan(subscription.price), "ends_at": ends_at.isoformat(), "is_over": is_over}
    key = f"{subscription.stripe_subscription_id}:{int(ends_at.timestamp())}:{'over' if is_over else 'planned'}"
    # A plan that ended long ago, and arrives only now, is no news.
    happened_at = min(ends_at, now) if is_over else now
    _publish("subscription.cancelled", key, subscription.account_id, data, now=now, happened_at=happened_at)


def payment_failed(
    account: Account,
    price: Price,
    invoice: JsonObject,
    *,
    needs_owner: bool,
    next_try_at: datetime | None,
    now: datetime,
) -> None:
    """A renewal could not be collected. Notifies the customer and the operators."""
    data = {
        **_plan(price),
        "invoice": invoice["id"],
        "amount_minor": invoice["amount_due"],
        "currency": invoice["currency"],
        "url": invoice.get("hosted_invoice_url") or "",
        "needs_owner": needs_owner,
        "next_try_at": next_try_at.isoformat() if next_try_at else "",
    }
    if _publish("payment.failed", f"{invoice['id']}:{invoice['attempt_count']}", account.pk, data, now=now):
        detail = f"{account}: {price.plan}, try {invoice['attempt_count']} of invoice {invoice['id']}."
        alerts.raise_alert(Alert.Kind.PAYMENT_FAILED, invoice["id"], detail=detail, account_id=account.pk, now=now)


def card_expiring(account_id: uuid.UUID, card: JsonObject, *, card_id: str, now: datetime) -> bool:
    """Once for each card and its last month; whether that was now."""
    data = {name: card[name] for name in ("brand", "last4", "exp_month", "exp_year")}
    return _publish("card.expiring", f"{card_id}:{card['exp_year']}-{card['exp_month']}", account_id, data, now=now)


def credits_low(account_id: uuid.UUID, *, left: int, now: datetime) -> None:
    _publish_crossing("credits.low", account_id, left=left, now=now)


def credits_exhausted(account_id: uuid.UUID, *, now: datetime) -> None:
    _publish_crossing("credits.exhausted", account_id, left=0, now=now)


def _publish_crossing(name: str, account_id: uuid.UUID, *, left: int, now: datetime) -> None:
    """Unless it is no news: crossed with credits that a failed call gave back, and the next one took."""
    recent = OutboxEvent.objects.filter(account=account_id, name=name, happened_at__gt=now - QUIET)
    last = recent.order_by("-happened_at").values_list("happened_at", flat=True).first()
    if last is None or Grant.objects.filter(account=account_id, effective_at__gt=last).exists():
        _publish(name, f"{account_id}:{now.isoformat()}", account_id, {"left": left}, now=now)


def spending_limit_crossed(account_id: uuid.UUID, use: LimitUse, *, now: datetime) -> None:
    """Once for each warning in a day or month of a limit."""
    data = {
        "whose": _name_of(account_id, use.subject),
        "subject": use.subject,
        "period": use.period,
        "percent": use.percent,
        "limit": use.limit,
        "used": use.used,
        "is_hard": use.is_hard,
        "at": use.resets_at.isoformat(),
    }
    key = f"{account_id}:{use.subject}:{use.period}:{use.resets_at.isoformat()}:{use.percent}:{use.limit}"
    _publish("spending_limit.reached", key, account_id, data, now=now)


def _name_of(account_id: uuid.UUID, subject: str) -> str:
    """The name of a key, or of a member."""
    kind, _, number = subject.partition(":")
    if kind == "user":
        user = User.objects.filter(pk=int(number)).first()
        return user.get_full_name() if user else ""
    key = ApiKey.objects.filter(account_id=account_id, pk=parse_id("key", subject)).first()
    return key.name if key else ""


def top_up_failed(order: Order, *, why: str, now: datetime) -> None:
    data = {"order": order.public_id, "description": order.description, "why": why}
    _publish("top_up.failed", str(order.pk), order.account_id, data, now=now)
    alerts.raise_alert(
        Alert.Kind.TOP_UP_FAILED,
        order.public_id,
        detail=f"{order.account}: {why}",
        account_id=order.account_id,
        now=now,
    )


def price_announced(plan: Subscription, price: Price, *, move: int, at: datetime, now: datetime) -> None:
    """A plan's price changes at its renewal `at`. Once for each move."""
    data = {"from": _plan(plan.price), "to": _plan(price), "at": at.isoformat()}
    _publish("subscription.price_announced", f"{plan.pk}:{move}", plan.account_id, data, now=now)


def price_stays(plan: Subscription, *, planned: Price, now: datetime) -> None:
    """A new price that was announced does not come after all."""
    data = {**_plan(plan.price), "at": plan.current_period_end.isoformat(), "planned": _plan(planned)}
    _publish("subscription.price_stays", f"{plan.pk}:{planned.pk}:{now.isoformat()}", plan.account_id, data, now=now)


def top_up_stopped(account: Account, *, charge_id: str, now: datetime) -> None:
    """Money of the customer's goes back: no card is charged by itself any more."""
    _publish("top_up.stopped", f"{account.pk}:{charge_id}", account.pk, {"why": "money_back"}, now=now)


def top_up_dearer(account: Account, *, before: Price, after: Price, now: datetime) -> None:
    """The pack that is bought by itself costs more now: its owner agrees anew, or not."""
    data = {
        "why": "price",
        "pack": after.pack.name if after.pack else "",
        "from_minor": before.amount_minor,
        "amount_minor": after.amount_minor,
        "currency": after.currency,
    }
    _publish("top_up.stopped", f"{account.pk}:price:{after.pk}:{now.isoformat()}", account.pk, data, now=now)


def _plan(price: Price) -> JsonObject:
    return {
        "plan": price.plan.name if price.plan else "",
        "plan_code": price.plan.code if price.plan else "",
        "interval": price.interval,
        "credits": price.plan.monthly_credits if price.plan else 0,
        "amount_minor": price.amount_minor,
        "currency": price.currency,
    }


def _publish(
    name: str,
    key: str,
    account_id: uuid.UUID,
    data: JsonObject,
    *,
    now: datetime,
    happened_at: datetime | None = None,
) -> bool:
    return publishing.publish(
        name=name, key=f"{name}:{key}", account_id=account_id, data=data, now=now, happened_at=happened_at
    )
