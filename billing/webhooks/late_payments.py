"""Money that arrives for an account that was closed: it is refunded by itself, and operators are alerted.

A page that was open in another tab, a bank transfer that took days, a plan that somebody began for them at Stripe.
"""

from datetime import datetime

from accounts.models import Account
from billing.errors import RefundRefusedError
from billing.models import Order, PaidInvoice
from billing.payments import orders
from billing.stripe import djstripe_store, lookup, payloads, stripe_client
from billing.stripe.payloads import Stripe
from outbox import alerts
from outbox.models import Alert

PROBLEM = "Paid after the account was closed: the money was given back."


def is_late_payment(kind: str, current: Stripe) -> bool:
    """Whether an object of Stripe's was paid for an account that is closed, and brought it nothing."""
    if not _is_paid(kind, current):
        return False
    account = _account_of(kind, current)
    if account is None or account.closed_at is None:
        return False
    if kind == "invoice":
        return not PaidInvoice.objects.filter(stripe_invoice_id=current["id"]).exists()
    order = _order_of(kind, current)
    return order is not None and order.status not in orders.OVER


def _is_paid(kind: str, current: Stripe) -> bool:
    """Whether Stripe took money for an object by itself, and not for another one that is synced as well."""
    if kind == "invoice":
        return bool(payloads.is_paid_invoice(current) and current["total"] > 0)
    if kind == "checkout.session":
        return bool(current["mode"] == "payment" and current["payment_status"] == "paid")
    return bool(kind == "payment_intent" and current["status"] == "succeeded")


def refund_late_payment(kind: str, current: Stripe, *, now: datetime) -> None:
    """Give all of it back, and end the plan that it was for. Safe to repeat; what cannot be is alerted."""
    if kind == "invoice" and (subscription_id := payloads.invoice_subscription_id(current)):
        stripe_client.cancel_subscription(subscription_id)
    if is_refunded(kind, current):
        return
    account = _account_of(kind, current)
    failed = []
    for payment_id, amount_minor in _payments_of(kind, current):
        try:
            stripe_client.create_refund(
                idempotency_key=f"tegoed-late-{current['id']}-{payment_id}",
                payment_intent_id=payment_id,
                amount_minor=amount_minor,
                reason="The account was closed",
            )
        except RefundRefusedError as error:
            failed.append(str(error))
    if (order := _order_of(kind, current)) is not None:
        orders.set_payment_status(order, Order.Status.FAILED, problem=PROBLEM)
    detail = f"{current['id']} was paid after {account.public_id if account else 'its account'} was closed. "
    detail += f"Give the money back at Stripe: {failed[0]}" if failed else "The money was given back."
    alerts.raise_alert(
        Alert.Kind.REVIEW, str(current["id"]), detail=detail, account_id=account.pk if account else None, now=now
    )


def is_refunded(kind: str, current: Stripe) -> bool:
    """Whether all of it went back, as Stripe has it now."""
    intents = [
        stripe_client.plain(stripe_client.retrieve("payment_intent", found)) for found, _ in _payments_of(kind, current)
    ]
    charges = [
        stripe_client.plain(stripe_client.retrieve("charge", payloads.reference(row["latest_charge"])))
        for row in intents
    ]
    return all(charge["refunded"] for charge in charges)


def _account_of(kind: str, current: Stripe) -> Account | None:
    order = _order_of(kind, current)
    return order.account if order else djstripe_store.account_of_customer(payloads.customer_id(current))


def _order_of(kind: str, current: Stripe) -> Order | None:
    if kind == "checkout.session":
        return Order.objects.with_related().filter(stripe_session_id=current["id"]).first()
    if kind == "payment_intent" and payloads.is_paid_here(current):
        return lookup.resolve_named_order(str((current.get("metadata") or {}).get("order") or ""))
    return None


def _payments_of(kind: str, current: Stripe) -> list[tuple[str, int]]:
    """The payments behind an object, and how much each was."""
    if kind == "invoice":
        return stripe_client.payments_of_invoice(str(current["id"]))
    if kind == "payment_intent":
        return [(str(current["id"]), int(current["amount_received"]))]
    return [(payloads.reference(current.get("payment_intent")), int(current["amount_total"]))]
