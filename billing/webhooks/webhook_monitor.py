"""Webhooks that do not come: found by the orders that they should have been about."""

from datetime import datetime, timedelta

from billing.models import InboxEvent, Order
from outbox import alerts
from outbox.models import Alert

# Stripe's webhook of a paid checkout is there within seconds; the event of an abandoned page comes after a day.
PAID_UNHEARD = timedelta(minutes=10)
EXPIRED_UNHEARD = timedelta(hours=26)
LOOK_BACK = timedelta(days=3)


def check(*, now: datetime) -> bool:
    """Alert when checkouts go on and no webhooks come in; resolved by the next one. Whether all is well."""
    unheard = _unheard_order(now)
    if unheard is None:
        alerts.resolve(Alert.Kind.NO_WEBHOOKS, subject="stripe", now=now, note="they come in again")
        return True
    detail = (
        f"Order {unheard.public_id} is {unheard.get_status_display().lower()} at Stripe, and no webhook told of it. "
        "Is the endpoint registered, and its secret the one in STRIPE_WEBHOOK_SECRETS? "
        "`manage.py replay_events --since` fetches what was missed."
    )
    alerts.raise_alert(Alert.Kind.NO_WEBHOOKS, "stripe", detail=detail, now=now)
    return False


def _unheard_order(now: datetime) -> Order | None:
    """An order that Stripe must have sent something about, while nothing at all has come in since."""
    last = InboxEvent.objects.order_by("-received_at").values_list("received_at", flat=True).first()
    since = max(last, now - LOOK_BACK) if last else now - LOOK_BACK
    ours = Order.objects.filter(provider="stripe").exclude(stripe_session_id=None)
    paid = ours.filter(completed_at__gt=since, completed_at__lt=now - PAID_UNHEARD)
    left = ours.filter(created_at__gt=since, created_at__lt=now - EXPIRED_UNHEARD)
    return paid.order_by("pk").first() or left.order_by("pk").first()
