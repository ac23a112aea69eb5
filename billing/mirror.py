"""dj-stripe's mirror of Stripe: the only module that touches its models."""

import uuid
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Any

from django.apps import apps
from django.conf import settings
from django.db.models import Q
from djstripe import models as mirrored

from accounts.models import Account

MODELS = {
    "checkout.session": mirrored.Session,
    "customer": mirrored.Customer,
    "dispute": mirrored.Dispute,
    "refund": mirrored.Refund,
    "invoice": mirrored.Invoice,
    "payment_intent": mirrored.PaymentIntent,
    "charge": mirrored.Charge,
    "payment_method": mirrored.PaymentMethod,
    "price": mirrored.Price,
    "product": mirrored.Product,
    "subscription": mirrored.Subscription,
}


def sync(kind: str, found: Any) -> None:
    """Store an object as Stripe answered it, with what it refers to. May call Stripe for the latter."""
    MODELS[kind].sync_from_stripe_data(found, api_key=settings.STRIPE_SECRET_KEY)


def change_objects_of(customer_id: str, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Put something else in the place of each stored object of a customer, and of the customer itself."""
    mirrored.Customer.objects.filter(id=customer_id).update(email="")
    charges = list(mirrored.Charge.objects.filter(stripe_data__customer=customer_id).values_list("id", flat=True))
    for model in apps.get_app_config("djstripe").get_models():
        names = {field.name for field in model._meta.concrete_fields}
        if not {"id", "stripe_data"} <= names:
            continue
        own = Q(id=customer_id) | Q(stripe_data__customer=customer_id) | Q(stripe_data__charge__in=charges)
        for row in model._default_manager.filter(own):
            model._default_manager.filter(pk=row.pk).update(stripe_data=change(row.stripe_data))  # type: ignore[attr-defined]


def customers_of_account(account_id: uuid.UUID) -> list[str]:
    """The account's customers that there are at Stripe."""
    rows = mirrored.Customer.objects.filter(subscriber_id=account_id, date_purged=None)
    return list(rows.values_list("id", flat=True))


def all_customers_of_account(account_id: uuid.UUID) -> list[str]:
    """The account's customers, deleted ones included."""
    return list(mirrored.Customer.objects.filter(subscriber_id=account_id).values_list("id", flat=True))


def account_of_customer(customer_id: str) -> Account | None:
    """The account that a Stripe customer belongs to, as dj-stripe linked them by the customer's metadata."""
    return Account.objects.filter(djstripe_customers__id=customer_id).first() if customer_id else None


def customer_of_account(account_id: uuid.UUID) -> str:
    """The id of the account's Stripe customer; empty when it has none (or a deleted one)."""
    customers = mirrored.Customer.objects.filter(
        subscriber_id=account_id, livemode=settings.STRIPE_LIVE_MODE, date_purged=None
    )
    return customers.values_list("id", flat=True).order_by("-created").first() or ""


def customer_data(account_id: uuid.UUID) -> dict[str, Any]:
    """The account's Stripe customer as we last heard of it; empty without one."""
    customer_id = customer_of_account(account_id)
    rows = mirrored.Customer.objects.filter(id=customer_id).values_list("stripe_data", flat=True)
    return (rows.first() if customer_id else None) or {}


def count_customers(account_id: uuid.UUID) -> int:
    """How many customers the account has had at Stripe, deleted ones included."""
    return int(mirrored.Customer.objects.filter(subscriber_id=account_id).count())


def note_deleted_customer(customer_id: str, *, now: datetime) -> None:
    """Somebody deleted the customer at Stripe: the account stays, and gets a new one with its next purchase."""
    mirrored.Customer.objects.filter(id=customer_id, date_purged=None).update(date_purged=now)


def accounts_of_customers(customer_ids: Iterable[str]) -> set[uuid.UUID]:
    """The accounts that these Stripe customers belong to, deleted customers included."""
    rows = mirrored.Customer.objects.filter(id__in=list(customer_ids), subscriber__isnull=False)
    return set(rows.values_list("subscriber_id", flat=True))


def customers_of(object_id: str) -> set[str]:
    """The customers that a mirrored object belongs to, whatever kind it is."""
    found: set[str] = set()
    for model in (
        mirrored.Subscription, mirrored.Invoice, mirrored.Charge, mirrored.PaymentIntent, mirrored.Session,
        mirrored.PaymentMethod,
    ):  # fmt: skip
        found |= set(model.objects.filter(id=object_id).values_list("customer__id", flat=True))
    for model in (mirrored.Refund, mirrored.Dispute):
        found |= set(model.objects.filter(id=object_id).values_list("charge__customer__id", flat=True))
    return {customer_id for customer_id in found if customer_id}


def invoices_of(account_id: uuid.UUID, *, limit: int) -> list[dict[str, Any]]:
    """The account's latest invoices, as Stripe has them."""
    rows = mirrored.Invoice.objects.filter(customer__subscriber_id=account_id).order_by("-created")
    return list(rows.values_list("stripe_data", flat=True)[:limit])


def prices_of(product_id: str) -> list[dict[str, Any]]:
    """The prices of a product that we have seen, as Stripe has them."""
    return list(mirrored.Price.objects.filter(product__id=product_id).values_list("stripe_data", flat=True))


def latest_invoice_of(subscription_id: str) -> dict[str, Any] | None:
    """The latest invoice of a subscription that we have seen, as Stripe has it."""
    if not subscription_id:
        return None
    rows = mirrored.Invoice.objects.filter(
        stripe_data__parent__subscription_details__subscription=subscription_id
    ).order_by("-created")
    found: dict[str, Any] | None = rows.values_list("stripe_data", flat=True).first()
    return found


def saved_card(account_id: uuid.UUID) -> str:
    """The payment method that the account's customer left for later: the default one, else the newest; or nothing."""
    customers = mirrored.Customer.objects.filter(subscriber_id=account_id, date_purged=None)
    for data in customers.values_list("stripe_data", flat=True):
        if default := (data.get("invoice_settings") or {}).get("default_payment_method"):
            return str(default if isinstance(default, str) else default["id"])
    cards = mirrored.PaymentMethod.objects.filter(customer__subscriber_id=account_id).order_by("-created")
    return cards.values_list("id", flat=True).first() or ""


def cards_of(account_ids: Iterable[uuid.UUID]) -> Iterator[tuple[uuid.UUID, str, dict[str, Any]]]:
    """The cards that these accounts left for later: whose, its id, and what Stripe knows of it."""
    rows = mirrored.PaymentMethod.objects.filter(customer__subscriber_id__in=account_ids)
    for account_id, card_id, data in rows.values_list("customer__subscriber_id", "id", "stripe_data"):
        if data.get("card"):
            yield account_id, card_id, data["card"]
