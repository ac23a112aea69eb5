"""Looking ahead and around: cards that end soon, payments that nobody told of, webhooks that do not come."""

import calendar
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from django.db.models import F

from billing import announcing, checkout, mirror, orders, stripe_api
from billing.errors import BillingError, FulfilmentError
from billing.models import RUNNING, InboxEvent, Order, StripeCustomer, Subscription, TopUp
from billing.stripe_api import NotAtStripeError
from outbox import alerts
from outbox.models import Alert

logger = structlog.get_logger(__name__)

CARD_NOTICE = timedelta(days=30)
# Stripe's webhook of a paid checkout is there within seconds; an abandoned page is told of after a day.
PAID_UNHEARD = timedelta(minutes=10)
EXPIRED_UNHEARD = timedelta(hours=26)
LOOK_BACK = timedelta(days=3)
# A callback is there within seconds; after this long we ask.
ASKED_AFTER = timedelta(seconds=30)
ROUND = 200
# As long as a payment page is open.
OPEN_FOR = timedelta(hours=24)


def warn_of_expiring_cards(*, now: datetime) -> int:
    """Tell the customers whose saved card ends within CARD_NOTICE and is still needed; how many were told now."""
    payers = set(Subscription.objects.filter(status__in=RUNNING).values_list("account_id", flat=True))
    payers |= set(TopUp.objects.filter(is_on=True).values_list("account_id", flat=True))
    told = 0
    for account_id, card_id, card in mirror.cards_of(payers):
        if now <= _end_of(card["exp_month"], card["exp_year"]) <= now + CARD_NOTICE:
            told += announcing.card_expiring(account_id, card, card_id=card_id, now=now)
    return told


def update_customers(*, now: datetime) -> int:
    """Tell Stripe the billing addresses that have changed here; how many it was told of."""
    known = StripeCustomer.objects.filter(account__closed_at=None, deleted_at=None).exclude(account__email="")
    told = 0
    for row in known.exclude(account__email=F("email")).select_related("account")[:ROUND]:
        account: Any = row.account
        try:
            mirror.sync("customer", stripe_api.update_customer(row.pk, email=account.email))
        except NotAtStripeError:
            mirror.note_deleted_customer(row.pk, now=now)
            continue
        except BillingError as error:
            logger.warning("customer_not_updated", customer_id=row.pk, error=str(error))  # the next round asks again
            continue
        StripeCustomer.objects.filter(pk=row.pk).update(email=account.email)
        told += 1
    return told


def watch_webhooks(*, now: datetime) -> bool:
    """Alert when checkouts go on and no webhooks come in; resolved by the next one. Whether all is well."""
    unheard = _unheard_order(now)
    if unheard is None:
        alerts.resolve(Alert.Kind.NO_WEBHOOKS, "stripe", now=now, note="they come in again")
        return True
    detail = (
        f"Order {unheard.public_id} is {unheard.get_status_display().lower()} at Stripe, and no webhook told of it. "
        "Is the endpoint registered, and its secret the one in STRIPE_WEBHOOK_SECRETS? "
        "`manage.py replay_events --since` fetches what was missed."
    )
    alerts.raise_alert(Alert.Kind.NO_WEBHOOKS, "stripe", detail=detail, now=now)
    return False


def refresh_waiting_orders(*, now: datetime) -> int:
    """Ask the providers that send no events we keep (Stripe's have their inbox) how payments stand; how many ended."""
    waiting = Order.objects.filter(
        status__in=(Order.Status.OPEN, Order.Status.PROCESSING),
        created_at__gt=now - LOOK_BACK,
        created_at__lt=now - ASKED_AFTER,
    )
    ended = 0
    for order in waiting.exclude(provider="stripe").exclude(payment_id=None).order_by("pk")[:ROUND]:
        try:
            ended += not checkout.refresh(order, now=now).is_waiting
        except (BillingError, FulfilmentError) as error:
            logger.warning("order_not_refreshed", order=order.public_id, error=str(error))
    return ended


def close_abandoned_orders(*, now: datetime) -> int:
    """End the orders that nobody will pay any more: card forms that were left, and those whose page never opened.

    (A payment page ends by itself, and Stripe tells.) How many were ended.
    """
    left = Order.objects.filter(status=Order.Status.OPEN, stripe_session_id=None, created_at__lt=now - OPEN_FOR)
    closed = 0
    for order in left.exclude(ui=Order.Ui.OFF_SESSION).order_by("pk")[:ROUND]:
        try:
            if order.provider == "stripe" and order.payment_id:
                stripe_api.cancel_payment(order.payment_id)
                closed += not checkout.refresh(order, now=now).is_waiting
            elif not order.payment_id:
                orders.leave_open(order, Order.Status.EXPIRED)
                closed += 1
        except (BillingError, FulfilmentError) as error:
            logger.warning("order_not_closed", order=order.public_id, error=str(error))
    return closed


def _unheard_order(now: datetime) -> Order | None:
    """An order that Stripe must have sent something about, while nothing at all has come in since."""
    last = InboxEvent.objects.order_by("-received_at").values_list("received_at", flat=True).first()
    since = max(last, now - LOOK_BACK) if last else now - LOOK_BACK
    ours = Order.objects.filter(provider="stripe").exclude(stripe_session_id=None)
    paid = ours.filter(completed_at__gt=since, completed_at__lt=now - PAID_UNHEARD)
    left = ours.filter(created_at__gt=since, created_at__lt=now - EXPIRED_UNHEARD)
    return paid.order_by("pk").first() or left.order_by("pk").first()


def _end_of(month: int, year: int) -> datetime:
    last_day = calendar.monthrange(year, month)[1]
    return datetime(year, month, last_day, 23, 59, tzinfo=UTC)
