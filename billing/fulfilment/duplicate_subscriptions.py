"""Two plans by mistake: prevented where we can, and otherwise the later one is ended and its money given back.

Two payment pages of plans may be open in two tabs. Once one of them is paid, the others are closed; if both were paid
all the same, the one that started first stays. The other gives nothing; what it gave before it was known to be one too
many is taken back, and owed where it was spent.
"""

from datetime import datetime

from django.conf import settings

from billing.fulfilment import plan_fulfilment
from billing.models import RUNNING, Order, Subscription
from billing.stripe import djstripe_store, payloads, stripe_client
from billing.stripe.payloads import Stripe
from outbox import alerts
from outbox.models import Alert


def end_duplicate(subscription: Stripe, *, now: datetime) -> None:
    """See that the account of this subscription has one plan. Safe to repeat."""
    account = djstripe_store.account_of_customer(payloads.customer_id(subscription))
    if account is None or subscription["status"] not in RUNNING:
        return
    waiting = Order.objects.filter(account=account, price__plan__isnull=False, status=Order.Status.OPEN)
    for order in waiting.exclude(stripe_session_id=None).exclude(stripe_subscription_id=subscription["id"]):
        if order.public_id != (subscription.get("metadata") or {}).get("order"):
            stripe_client.expire_session(order.stripe_session_id or "")
    running = Subscription.objects.filter(account=account, status__in=RUNNING).order_by("started_at", "pk")
    for extra in running[1:]:
        detail = f"{account} paid for {extra.price.plan} while {running[0].price.plan} was running."
        alerts.raise_alert(
            Alert.Kind.TWO_PLANS, extra.stripe_subscription_id, detail=detail, account_id=account.pk, now=now
        )
        if settings.END_DUPLICATE_SUBSCRIPTIONS:
            plan_fulfilment.record_refused_plan(extra.stripe_subscription_id)
            _cancel_and_refund(extra)


def _cancel_and_refund(extra: Subscription) -> None:
    """End a plan now and give back what its invoices were paid with; the webhooks of that bring the credits along."""
    for invoice in stripe_client.list_all("invoice", subscription=extra.stripe_subscription_id, status="paid"):
        for payment_intent_id, amount_minor in stripe_client.payments_of_invoice(str(invoice.id)):
            stripe_client.create_refund(
                idempotency_key=f"tegoed-two-plans-{invoice.id}-{payment_intent_id}",
                payment_intent_id=payment_intent_id,
                amount_minor=amount_minor,
                reason="A second plan by mistake",
            )
    stripe_client.cancel_subscription(extra.stripe_subscription_id)
