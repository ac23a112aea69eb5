"""Looking at an object at Stripe again, and bringing everything of ours in line with what it is now.

Webhooks, the page a customer comes back to, and sweeps all end here, so that it cannot matter who came first. What an
object rests on is looked at before it: a price's product, an invoice's subscription, a checkout's first invoice.
"""

from collections.abc import Callable
from datetime import datetime

from billing import (
    catalogue_sync,
    erasing,
    fulfilment,
    mirror,
    money_back,
    plan_fulfilment,
    stripe_api,
    stripe_objects,
    trials,
    two_plans,
)
from billing.errors import FulfilmentError
from billing.stripe_api import NotAtStripeError
from billing.stripe_objects import Stripe

# What acts on credits or the catalogue; other kinds are only mirrored.
FULFIL: dict[str, Callable[..., object]] = {
    "checkout.session": fulfilment.fulfil_session,
    "payment_intent": fulfilment.fulfil_intent,
    "subscription": plan_fulfilment.fulfil_subscription,
    "invoice": plan_fulfilment.fulfil_invoice,
    "product": catalogue_sync.bring_product_in_line,
    "price": catalogue_sync.bring_price_in_line,
}


def bring_in_line(*, kind: str, object_id: str, now: datetime) -> bool:
    """Mirror and fulfil one object as it is at Stripe now; False when it is not there any more.

    Raises FulfilmentError when it cannot be placed, and PaymentProviderUnavailableError.
    """
    return _bring(kind, object_id, now=now) is not None


def bring_changed_subscription_in_line(subscription_id: str, *, now: datetime) -> None:
    """A subscription, and the invoice that changing it may have made. Raises as `bring_in_line` does."""
    current = _bring("subscription", subscription_id, now=now) or {}
    if invoice_id := stripe_objects.reference(current.get("latest_invoice")):
        _bring("invoice", invoice_id, now=now)


def _bring(kind: str, object_id: str, *, now: datetime) -> Stripe | None:
    """Like `bring_in_line`, answering the object."""
    try:
        found = stripe_api.retrieve(kind, object_id)
    except NotAtStripeError:
        return None
    current = stripe_api.plain(found)
    if current.get("deleted"):
        if kind == "customer":
            mirror.note_deleted_customer(object_id, now=now)
        return None
    for kind_below, id_below in _rests_on(kind, current):
        _bring(kind_below, id_below, now=now)
    mirror.sync(kind, found)
    _forget_closed(current)
    if kind in FULFIL:
        FULFIL[kind](current, now=now)
    if kind == "invoice" and stripe_objects.is_refused_invoice(current):
        plan_fulfilment.note_refused(current, why=stripe_api.why_refused(object_id), now=now)
    elif kind == "subscription":
        trials.end_if_repeated(current, now=now)
        two_plans.repair(current, now=now)
    elif kind in ("refund", "dispute"):
        _bring("charge", stripe_objects.reference(current["charge"]), now=now)
    elif kind == "charge" and money_back.concerns(current):
        _bring_money_back(current, now=now)
    return current


def _bring_money_back(charge: Stripe, *, now: datetime) -> None:
    """Some of a charge's money went back: see what it had paid for, that this was granted, and take credits back."""
    found = stripe_api.origin_of_payment(stripe_objects.reference(charge.get("payment_intent")))
    origin = _bring(*found, now=now) if found else None
    if origin is None:
        raise FulfilmentError(f"Charge {charge['id']} paid for nothing of ours.")
    disputes = stripe_api.disputes_of_charge(charge["id"])
    money_back.settle(charge=charge, origin=origin, disputes=disputes, now=now)


def _forget_closed(current: Stripe) -> None:
    """A webhook that comes after an account was erased does not bring back who it was."""
    account = mirror.account_of_customer(stripe_objects.customer_id(current))
    if account is not None and account.closed_at is not None:
        erasing.erase_here(account)


def _rests_on(kind: str, current: Stripe) -> list[tuple[str, str]]:
    if kind == "price":
        return [("product", stripe_objects.reference(current["product"]))]
    if kind == "invoice" and (subscription_id := stripe_objects.invoice_subscription_id(current)):
        return [("subscription", subscription_id)]
    if kind == "checkout.session" and (invoice_id := stripe_objects.reference(current.get("invoice"))):
        return [("invoice", invoice_id)]
    if kind == "checkout.session" and (subscription_id := stripe_objects.reference(current.get("subscription"))):
        return [("subscription", subscription_id)]
    return []
