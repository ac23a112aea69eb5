"""Fulfilling orders: syncing them with what was paid. By state, not by event.

Every function takes an object as its provider has it now and may be called any number of times, in any order: a pack
is granted from its paid checkout or payment only, once by its source key. Plans: see plan_fulfilment.
"""

from dataclasses import replace
from datetime import datetime

from django.db import transaction

from billing.catalogue import promotions
from billing.errors import FulfilmentError
from billing.fulfilment import duplicate_detection, plan_fulfilment
from billing.models import Order, PaidInvoice
from billing.payments import orders, payment_records
from billing.payments.payment_status import Payment, PaymentStatus
from billing.stripe import djstripe_store, lookup, payloads
from billing.stripe.payloads import Stripe
from credits import ledger
from credits.models import Source
from credits.money import FREE, Money
from outbox import alerts
from outbox.models import Alert

INTENT_STATUS = {
    "succeeded": PaymentStatus.PAID,
    "processing": PaymentStatus.PROCESSING,
    "canceled": PaymentStatus.EXPIRED,
}
ORDER_STATUS = {
    PaymentStatus.PROCESSING: Order.Status.PROCESSING,
    PaymentStatus.FAILED: Order.Status.FAILED,
    PaymentStatus.EXPIRED: Order.Status.EXPIRED,
}


def fulfil_session(session: Stripe, *, now: datetime) -> None:
    """Sync the order of a checkout session with the session. Raises FulfilmentError when they do not match."""
    if session["mode"] not in ("payment", "subscription"):
        return
    if session["mode"] == "subscription" and not lookup.has_order(session):
        return  # begun by a payment link, or in the dashboard: its invoices are fulfilled all the same
    order = lookup.resolve_order(session)
    if session["status"] == "complete" and session["mode"] == "subscription":
        # The credits of a plan come with its paid invoice; here the order learns which subscription it made.
        subscription_id = payloads.reference(session.get("subscription"))
        Order.objects.filter(pk=order.pk).update(stripe_subscription_id=subscription_id)
        paid = PaidInvoice.objects.filter(stripe_invoice_id=payloads.reference(session.get("invoice")))
        if paid.exists() and not duplicate_detection.is_duplicate(subscription_id):
            # The invoice was fulfilled before the session named which order it belongs to.
            orders.mark_paid(order, {"paid_minor": session["amount_total"]}, now=now)
        else:
            plan_fulfilment.record_refused_plan(subscription_id)
    else:
        fulfil_payment(order, _payment_of_session(session), now=now)


def fulfil_intent(intent: Stripe, *, now: datetime) -> None:
    """Sync an order that is paid without a checkout session with its payment. Raises FulfilmentError.

    Checkouts and invoices have payment intents too, which say nothing here: their own objects do.
    """
    if not payloads.is_paid_here(intent):
        return
    order = lookup.resolve_named_order(str(intent["metadata"].get("order") or ""))
    account = djstripe_store.account_of_customer(payloads.customer_id(intent))
    if (
        order is None
        or account is None
        or order.account_id != account.pk
        or order.payment_id not in (None, intent["id"])
    ):
        raise FulfilmentError(f"Payment {intent['id']} belongs to no order of its customer.")
    Order.objects.filter(pk=order.pk, payment_id=None).update(payment_id=intent["id"])
    payment = _payment_of_intent(intent)
    if payment.status == PaymentStatus.OPEN and order.status == Order.Status.PROCESSING:
        payment = replace(payment, status=PaymentStatus.FAILED)  # the bank's late answer was no
    fulfil_payment(order, payment, now=now)


def fulfil_payment(order: Order, payment: Payment, *, now: datetime) -> None:
    """Sync an order with its payment, at whichever provider. Raises FulfilmentError."""
    if order.status == Order.Status.SETTLED:
        return
    if payment.status == PaymentStatus.PAID:
        _fulfil_pack(order, payment, now=now)
    elif payment.status != PaymentStatus.OPEN:
        orders.set_payment_status(order, ORDER_STATUS[payment.status])


def _payment_of_session(session: Stripe) -> Payment:
    details = session.get("total_details") or {}
    intent = session.get("payment_intent")
    if session["status"] == "expired":
        status = PaymentStatus.EXPIRED
    elif session["payment_status"] in ("paid", "no_payment_required") and session["status"] == "complete":
        status = PaymentStatus.PAID
    elif session["status"] == "complete":
        status = PaymentStatus.FAILED if payloads.session_failed(session) else PaymentStatus.PROCESSING
    else:
        status = PaymentStatus.OPEN
    return Payment(
        source_key=f"stripe:session:{session['id']}",
        status=status,
        currency=session["currency"],
        listed_minor=session["amount_subtotal"],
        total_minor=session["amount_total"],
        discount_minor=details.get("amount_discount") or 0,
        tax_minor=details.get("amount_tax") or 0,
        receipt_url=payloads.receipt_url(intent) if isinstance(intent, dict) else "",
        card=payloads.card_fingerprint(intent) if isinstance(intent, dict) else "",
    )


def _payment_of_intent(intent: Stripe) -> Payment:
    on_top = payloads.whole_number(intent["metadata"].get("tax_on_top"))
    return Payment(
        source_key=f"stripe:payment_intent:{intent['id']}",
        status=INTENT_STATUS.get(intent["status"], PaymentStatus.OPEN),
        currency=intent["currency"],
        listed_minor=intent["amount"] - on_top,
        total_minor=intent["amount_received"] or intent["amount"],
        tax_minor=payloads.whole_number(intent["metadata"].get("tax")),
        receipt_url=payloads.receipt_url(intent),
        card=payloads.card_fingerprint(intent),
    )


def _fulfil_pack(order: Order, payment: Payment, *, now: datetime) -> None:
    if (payment.listed_minor, payment.currency) != (order.amount_minor, order.currency):
        problem = (
            f"Paid for {payment.listed_minor} {payment.currency} on an order of {order.amount_minor} {order.currency}."
        )
        orders.set_payment_status(order, Order.Status.REVIEW, problem=problem)
        alerts.raise_alert(Alert.Kind.REVIEW, order.public_id, detail=problem, account_id=order.account_id, now=now)
        raise FulfilmentError(f"{order.public_id}: {problem}")
    if order.account.closed_at is not None:
        if order.provider != "stripe":  # (of Stripe's, `late_payments` gives the money back)
            problem = "Paid after the account was closed. Give the money back at the provider."
            orders.set_payment_status(order, Order.Status.REVIEW, problem=problem)
            alerts.raise_alert(Alert.Kind.REVIEW, order.public_id, detail=problem, account_id=order.account_id, now=now)
        return
    net_minor = payment.total_minor - payment.tax_minor
    with transaction.atomic():
        bonus = order.promotion_credits if promotions.is_eligible(order, card=payment.card, now=now) else 0
        price, promotion = Money(net_minor, payment.currency) if net_minor else FREE, order.promotion
        grants = (
            (Source.PURCHASE, "", order.credits, price, order.description),
            (Source.BONUS, ":bonus", order.bonus_credits, FREE, order.description),
            (Source.BONUS, ":promotion", bonus, FREE, promotion.name if promotion else ""),
        )
        for source, suffix, amount, paid, description in grants:
            if amount:
                ledger.grant(
                    account_id=order.account_id,
                    amount=amount,
                    source=source,
                    source_key=f"{payment.source_key}{suffix}",
                    paid=paid,
                    description=description,
                    actor=order.provider,
                    now=now,
                )
        facts = {
            "discount_minor": payment.discount_minor,
            "tax_minor": payment.tax_minor,
            "paid_minor": payment.total_minor,
            "receipt_url": payment.receipt_url,
            "promotion_credits": bonus,
        }
        orders.mark_paid(order, facts, now=now)
        payment_records.for_order(Order.objects.with_related().get(pk=order.pk), now=now)
        alerts.resolve(Alert.Kind.REVIEW, subject=order.public_id, now=now)
