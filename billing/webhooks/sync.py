"""Sync: fetch an object from Stripe, and bring our rows to what it says now.

Webhooks, the page a customer comes back to, and sweeps all end here, so that it cannot matter who came first. What an
object rests on is looked at before it: a price's product, an invoice's subscription, a checkout's first invoice.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.conf import settings

from billing.catalogue import price_sync
from billing.clawbacks import clawbacks
from billing.errors import FulfilmentError
from billing.fulfilment import duplicate_subscriptions, order_fulfilment, plan_fulfilment, trials
from billing.payments import manual_settlement
from billing.stripe import djstripe_store, erasing, lookup, payloads, stripe_client
from billing.stripe.payloads import Stripe
from billing.stripe.stripe_client import NotAtStripeError
from billing.webhooks import late_payments

# What acts on credits or the catalogue; other kinds are only stored.
FULFIL: dict[str, Callable[..., object]] = {
    "checkout.session": order_fulfilment.fulfil_session,
    "payment_intent": order_fulfilment.fulfil_intent,
    "subscription": plan_fulfilment.fulfil_subscription,
    "invoice": plan_fulfilment.fulfil_invoice,
    "product": price_sync.sync_product,
    "price": price_sync.sync_price,
}


def sync_object(*, kind: str, object_id: str, now: datetime) -> bool:
    """Fetch one object as it is at Stripe now, store it and fulfil it; False when it is not there any more.

    Raises FulfilmentError when it cannot be placed, and PaymentProviderUnavailableError.
    """
    with djstripe_store.remembering_accounts():
        return _sync(kind, object_id, now=now) is not None


def sync_changed_subscription(subscription_id: str, *, now: datetime) -> None:
    """A subscription, and the invoice that changing it may have made. Raises as `sync_object` does."""
    with djstripe_store.remembering_accounts():
        current = _sync("subscription", subscription_id, now=now) or {}
        if invoice_id := payloads.reference(current.get("latest_invoice")):
            _sync("invoice", invoice_id, now=now)


def _sync(kind: str, object_id: str, *, now: datetime) -> Stripe | None:
    """Like `sync_object`, answering the object."""
    try:
        result, current = _fetch(kind, object_id)
    except NotAtStripeError:
        return None
    if current.get("deleted"):
        if kind == "customer":
            djstripe_store.record_deleted_customer(object_id, now=now)
        return None
    if not _is_ours(kind, current, now=now):
        return current
    if kind == "invoice" and settings.FINALIZE_RENEWALS and plan_fulfilment.is_plan_draft(current):
        # Once: a draft that Stripe does not finalise (an address is missing for its tax) waits as it would have.
        stripe_client.finalize_and_collect(object_id)
        result, current = _fetch(kind, object_id)
    for kind_below, id_below in _prerequisites(kind, current):
        _sync(kind_below, id_below, now=now)
    if kind in djstripe_store.MODELS:
        djstripe_store.store(kind, result)
    _redact_closed_account(current)
    _fulfil(kind, current, now=now)
    _sync_dependents(kind, current, now=now)
    return current


def _fulfil(kind: str, current: Stripe, *, now: datetime) -> None:
    """What an object brings. Raises FulfilmentError, unless a person has settled it."""
    try:
        if kind in FULFIL:
            FULFIL[kind](current, now=now)
    except FulfilmentError:
        if not manual_settlement.is_settled(kind, str(current["id"])):
            raise


def _fetch(kind: str, object_id: str) -> tuple[Any, Stripe]:
    """An object as Stripe has it now: as its client answers it, and as it is read here. Raises NotAtStripeError."""
    result = stripe_client.retrieve(kind, object_id)
    current = stripe_client.plain(result)
    if kind == "invoice":
        current = stripe_client.with_all_lines(current)
    elif kind == "subscription" and not current.get("deleted"):
        current = lookup.with_plan_first(current)
    return result, current


def _sync_dependents(kind: str, current: Stripe, *, now: datetime) -> None:
    """What comes of an object beside its own fulfilment."""
    if late_payments.is_late_payment(kind, current):
        late_payments.refund_late_payment(kind, current, now=now)
    elif kind == "invoice" and payloads.is_refused_invoice(current):
        attempt = stripe_client.attempt_of_invoice(current["id"])
        if attempt.is_refused or attempt.needs_owner:  # (else a bank's debit is under way: nothing has failed)
            plan_fulfilment.record_refused_invoice(current, needs_owner=attempt.needs_owner, now=now)
    elif kind == "invoice":
        clawbacks.reconcile_upgrades(current, now=now)
    elif kind == "subscription":
        trials.end_if_repeated(current, now=now)
        duplicate_subscriptions.end_duplicate(current, now=now)
    elif kind == "credit_note":
        _sync_credit_note(current, now=now)
    elif kind in ("refund", "dispute") and (charge_id := payloads.reference(current.get("charge"))):
        _sync("charge", charge_id, now=now)
    elif kind == "charge" and clawbacks.has_money_back(current):
        _sync_refunds_and_disputes(current, now=now)


def _sync_refunds_and_disputes(charge: Stripe, *, now: datetime) -> None:
    """Some of a charge's money went back: see what it had paid for, that this was granted, and take credits back."""
    result = stripe_client.origin_of_payment(payloads.reference(charge.get("payment_intent")))
    origin = _sync(*result, now=now) if result else None
    if origin is None:
        raise FulfilmentError(f"Charge {charge['id']} paid for nothing of ours.")
    _reconcile_payment(origin, [charge], now=now)


def _sync_credit_note(note: Stripe, *, now: datetime) -> None:
    """An invoice was lowered after it was paid: its credits follow as for a refund."""
    origin = _sync("invoice", payloads.reference(note["invoice"]), now=now)
    if origin is not None and payloads.is_paid_invoice(origin):
        _reconcile_payment(origin, [], now=now)


def _reconcile_payment(origin: Stripe, changed_charges: list[Stripe], *, now: datetime) -> None:
    """Reconcile the credits of a payment with all charges that paid it, some of which have changed."""
    is_invoice = origin["object"] == "invoice"
    others = stripe_client.charges_of_invoice(origin["id"]) if is_invoice else []
    charges = {row["id"]: row for row in (*others, *changed_charges)}
    changed = {row["id"] for row in changed_charges}
    paid = []
    for row in sorted(charges.values(), key=lambda row: (row["created"], row["id"])):
        is_asked = row["id"] in changed or row.get("disputed")
        paid.append(
            clawbacks.PaidCharge(charge=row, disputes=stripe_client.disputes_of_charge(row["id"]) if is_asked else [])
        )
    credited = stripe_client.credited_on_invoice(origin["id"]) if is_invoice else 0
    clawbacks.reconcile_payment(paid=paid, origin=origin, credited_minor=credited, now=now)


def _is_ours(kind: str, current: Stripe, *, now: datetime) -> bool:
    """Whether an object is of a customer of ours. Other products may share the Stripe account: theirs is left alone.

    Whose a customer is, is asked of Stripe once, and remembered.
    """
    if kind in ("product", "price", "refund", "dispute"):
        return True  # (the last two come with their charge)
    if kind == "checkout.session" and lookup.resolve_named_order(payloads.session_order_id(current)):
        return True  # whoever paid it: what names an order of ours is looked at
    customer_id = payloads.customer_id(current)
    if not customer_id:
        return bool((current.get("metadata") or {}).get("order"))
    is_ours = djstripe_store.account_of_customer(customer_id) is not None
    if is_ours or (kind != "customer" and djstripe_store.is_known_customer(customer_id)):
        return is_ours
    try:
        customer = (
            current if kind == "customer" else stripe_client.plain(stripe_client.retrieve("customer", customer_id))
        )
    except NotAtStripeError:
        return False
    account = lookup.resolve_named_account((customer.get("metadata") or {}).get("djstripe_subscriber"))
    djstripe_store.record_customer(customer_id, account, email=str(customer.get("email") or ""), now=now)
    return account is not None


def _redact_closed_account(current: Stripe) -> None:
    """A webhook that comes after an account was erased does not bring back who it was."""
    account = djstripe_store.account_of_customer(payloads.customer_id(current))
    if account is not None and account.closed_at is not None:
        erasing.redact_stored(account)


def _prerequisites(kind: str, current: Stripe) -> list[tuple[str, str]]:
    if kind == "price":
        return [("product", payloads.reference(current["product"]))]
    if kind == "invoice" and (subscription_id := payloads.invoice_subscription_id(current)):
        return [("subscription", subscription_id)]
    if kind == "checkout.session" and (invoice_id := payloads.reference(current.get("invoice"))):
        return [("invoice", invoice_id)]
    if kind == "checkout.session" and (subscription_id := payloads.reference(current.get("subscription"))):
        return [("subscription", subscription_id)]
    return []
