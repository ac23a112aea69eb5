"""The dj-stripe store, its copies of Stripe's objects: the only module that touches its models."""

import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime, timedelta
from typing import Any

import structlog
from django.apps import apps
from django.conf import settings
from django.db.models import F, Q
from djstripe import models as djstripe_models

from accounts.models import Account
from billing.models import StoreFailure, StripeCustomer
from common import clock
from common.json_types import JsonObject
from outbox import alerts
from outbox.models import Alert

logger = structlog.get_logger(__name__)

FIRST_RETRY, LONGEST_RETRY = timedelta(minutes=1), timedelta(hours=6)
RETRY_BATCH = 100

# Whose the Stripe customers are that the object being synced is about (see `remembering_accounts`).
_accounts: ContextVar[dict[str, Account] | None] = ContextVar("accounts", default=None)

MODELS = {
    "checkout.session": djstripe_models.Session,
    "customer": djstripe_models.Customer,
    "dispute": djstripe_models.Dispute,
    "refund": djstripe_models.Refund,
    "invoice": djstripe_models.Invoice,
    "payment_intent": djstripe_models.PaymentIntent,
    "charge": djstripe_models.Charge,
    "payment_method": djstripe_models.PaymentMethod,
    "price": djstripe_models.Price,
    "product": djstripe_models.Product,
    "subscription": djstripe_models.Subscription,
}


def store(kind: str, found: Any, *, now: datetime | None = None) -> bool:
    """Store an object as Stripe answered it, with what it refers to; whether that worked. May call Stripe itself.

    The copy is for looking things up. What dj-stripe cannot store (it reads fields that move between Stripe's versions)
    is recorded, alerted, and tried again by `billing.tasks.retry_copies`: it never stands in the way of what was paid.
    """
    object_id = str(found["id"])
    if kind != "customer" and _is_stored(kind, found):
        return True
    try:
        MODELS[kind].sync_from_stripe_data(found, api_key=settings.STRIPE_SECRET_KEY)
    except Exception as error:  # noqa: BLE001 - whatever it was, it is kept, counted and tried again
        _record_failure(kind, object_id, error, now=now or clock.now())
        return False
    dismiss_failure(object_id, "copied", now=now or clock.now())
    return True


def _is_stored(kind: str, found: Any) -> bool:
    """Whether the copy says the same already: several events are about one object, and a copy costs a dozen queries.

    (A customer is always copied: one that was deleted here by mistake comes back as it was.)
    """
    known = MODELS[kind]._default_manager.filter(id=found["id"]).values_list("stripe_data", flat=True).first()
    return known is not None and known == found.to_dict(for_json=True)


def dismiss_failure(object_id: str, note: str, *, now: datetime) -> None:
    """An object that could not be copied is tried no more: `note` says why."""
    if StoreFailure.objects.filter(object_id=object_id).delete()[0]:
        alerts.resolve(Alert.Kind.MIRROR, subject=object_id, now=now, note=note)


def failures_due(*, now: datetime) -> list[tuple[str, str]]:
    """The objects that are to be tried again, by kind and id; at most RETRY_BATCH."""
    rows = StoreFailure.objects.filter(next_attempt_at__lte=now).order_by("next_attempt_at")
    return list(rows.values_list("kind", "object_id")[:RETRY_BATCH])


def _record_failure(kind: str, object_id: str, error: Exception, *, now: datetime) -> None:
    logger.warning("djstripe_store_failed", kind=kind, object_id=object_id, exc_info=error)
    row, _ = StoreFailure.objects.get_or_create(
        object_id=object_id, defaults={"kind": kind, "error": "", "next_attempt_at": now}
    )
    row.attempts += 1
    row.error = f"{type(error).__name__}: {error}"
    row.next_attempt_at = now + min(FIRST_RETRY * 2 ** min(row.attempts, 12), LONGEST_RETRY)
    row.save(update_fields=["attempts", "error", "next_attempt_at"])
    detail = f"The {kind} {object_id} could not be copied: {row.error}. Credits are not touched by this."
    alerts.raise_alert(Alert.Kind.MIRROR, object_id, detail=detail, now=now)


def change_objects_of(customer_id: str, change: Callable[[JsonObject], JsonObject]) -> None:
    """Put something else in the place of each stored object of a customer, and of the customer itself."""
    djstripe_models.Customer.objects.filter(id=customer_id).update(email="")
    paid = djstripe_models.Charge.objects.filter(stripe_data__customer=customer_id)
    charges = list(paid.values_list("id", flat=True))
    # A card that was not kept is of no customer; whose it was, its charge says.
    cards = [method for method in paid.values_list("stripe_data__payment_method", flat=True) if method]
    for model in apps.get_app_config("djstripe").get_models():
        names = {field.name for field in model._meta.concrete_fields}
        if not {"id", "stripe_data"} <= names:
            continue
        own = (
            Q(id__in=[customer_id, *cards]) | Q(stripe_data__customer=customer_id) | Q(stripe_data__charge__in=charges)
        )
        for row in model._default_manager.filter(own):
            model._default_manager.filter(pk=row.pk).update(stripe_data=change(row.stripe_data))  # type: ignore[attr-defined]  # every model here has one


def customers_of_account(account_id: uuid.UUID) -> list[str]:
    """The account's customers that there are at Stripe."""
    gone = StripeCustomer.objects.filter(account_id=account_id).exclude(deleted_at=None)
    rows = djstripe_models.Customer.objects.filter(subscriber_id=account_id, date_purged=None)
    own = StripeCustomer.objects.filter(account_id=account_id, deleted_at=None).values_list("customer_id", flat=True)
    return sorted({*rows.values_list("id", flat=True), *own} - {*gone.values_list("customer_id", flat=True)})


def all_customers_of_account(account_id: uuid.UUID) -> list[str]:
    """The account's customers, deleted ones included."""
    rows = djstripe_models.Customer.objects.filter(subscriber_id=account_id).values_list("id", flat=True)
    own = StripeCustomer.objects.filter(account_id=account_id).values_list("customer_id", flat=True)
    return sorted({*rows, *own})


@contextmanager
def remembering_accounts() -> Iterator[None]:
    """While one object is synced, look up once whose its customer is: a paid plan asks it six times."""
    token = _accounts.set({})
    try:
        yield
    finally:
        _accounts.reset(token)


def account_of_customer(customer_id: str) -> Account | None:
    """The account that a Stripe customer belongs to; None for a stranger's."""
    remembered = _accounts.get()
    if remembered is not None and customer_id in remembered:
        return remembered[customer_id]
    account = _find_account(customer_id)
    if remembered is not None and account is not None:
        remembered[customer_id] = account
    return account


def _find_account(customer_id: str) -> Account | None:
    if not customer_id:
        return None
    known = StripeCustomer.objects.select_related("account").filter(customer_id=customer_id).first()
    if known is not None and known.account is not None:
        own: Account = known.account
        return own
    result = Account.objects.select_related("merged_into").filter(djstripe_customers__id=customer_id).first()
    return result.merged_into or result if result else None


def record_customer(
    customer_id: str, account: Account | None, *, email: str = "", name: str = "", now: datetime
) -> None:
    """Remember whose a customer at Stripe is: an account's, or (None) nobody's of ours. What is known stays.

    `email` is the address that Stripe has of it, and `name` the account's name if it has that.
    """
    about = {"account": account, "created_at": now, "email": email, "name": name}
    StripeCustomer.objects.get_or_create(customer_id=customer_id, defaults=about)
    if account is not None:
        StripeCustomer.objects.filter(customer_id=customer_id, account=None).update(account=account)


def is_known_customer(customer_id: str) -> bool:
    """Whether it was looked at before whose this customer is."""
    return StripeCustomer.objects.filter(customer_id=customer_id).exists()


def customer_of_account(account_id: uuid.UUID) -> str:
    """The id of the account's Stripe customer; empty when it has none (or a deleted one)."""
    # Its own before one that a merge brought.
    own = StripeCustomer.objects.filter(account_id=account_id, deleted_at=None).order_by(
        F("merged_at").asc(nulls_first=True), "-created_at"
    )
    if known := own.values_list("customer_id", flat=True).first():
        return str(known)
    gone = StripeCustomer.objects.exclude(deleted_at=None).values("customer_id")
    customers = djstripe_models.Customer.objects.filter(
        subscriber_id=account_id, livemode=settings.STRIPE_LIVE_MODE, date_purged=None
    ).exclude(id__in=gone)
    return customers.values_list("id", flat=True).order_by("-created").first() or ""


def customer_data(account_id: uuid.UUID) -> JsonObject:
    """The account's Stripe customer as last received; empty without one."""
    customer_id = customer_of_account(account_id)
    rows = djstripe_models.Customer.objects.filter(id=customer_id).values_list("stripe_data", flat=True)
    return (rows.first() if customer_id else None) or {}


def count_customers(account_id: uuid.UUID) -> int:
    """How many customers the account has had at Stripe, deleted ones included."""
    return len(all_customers_of_account(account_id))


def record_deleted_customer(customer_id: str, *, now: datetime) -> None:
    """Somebody deleted the customer at Stripe: the account stays, and gets a new one with its next purchase."""
    djstripe_models.Customer.objects.filter(id=customer_id, date_purged=None).update(date_purged=now)
    StripeCustomer.objects.filter(customer_id=customer_id, deleted_at=None).update(deleted_at=now)


def accounts_of_customers(customer_ids: Iterable[str]) -> set[uuid.UUID]:
    """The accounts that these Stripe customers belong to, deleted customers included."""
    wanted = list(customer_ids)
    rows = djstripe_models.Customer.objects.filter(id__in=wanted, subscriber__isnull=False)
    own = StripeCustomer.objects.filter(customer_id__in=wanted, account__isnull=False)
    return {*rows.values_list("subscriber_id", flat=True), *own.values_list("account_id", flat=True)}


def customers_of(object_id: str) -> set[str]:
    """The customers that a stored object belongs to, whatever kind it is."""
    result: set[str] = set()
    for model in (
        djstripe_models.Subscription,
        djstripe_models.Invoice,
        djstripe_models.Charge,
        djstripe_models.PaymentIntent,
        djstripe_models.Session,
        djstripe_models.PaymentMethod,
    ):
        result |= set(model.objects.filter(id=object_id).values_list("customer__id", flat=True))
    for model in (djstripe_models.Refund, djstripe_models.Dispute):
        result |= set(model.objects.filter(id=object_id).values_list("charge__customer__id", flat=True))
    return {customer_id for customer_id in result if customer_id}


def invoices_of(account_id: uuid.UUID, *, limit: int) -> list[JsonObject]:
    """The account's latest invoices, as Stripe has them."""
    rows = djstripe_models.Invoice.objects.filter(customer__id__in=all_customers_of_account(account_id)).order_by(
        "-created"
    )
    return list(rows.values_list("stripe_data", flat=True)[:limit])


def prices_of(product_id: str) -> list[JsonObject]:
    """The prices of a product that we have seen, as Stripe has them."""
    return list(djstripe_models.Price.objects.filter(product__id=product_id).values_list("stripe_data", flat=True))


def saved_card(account_id: uuid.UUID) -> str:
    """The payment method that the account's customer left for later: the default one, else the newest; or nothing."""
    customers = djstripe_models.Customer.objects.filter(subscriber_id=account_id, date_purged=None)
    for data in customers.values_list("stripe_data", flat=True):
        if default := (data.get("invoice_settings") or {}).get("default_payment_method"):
            return str(default if isinstance(default, str) else default["id"])
    cards = djstripe_models.PaymentMethod.objects.filter(customer__subscriber_id=account_id).order_by("-created")
    return cards.values_list("id", flat=True).first() or ""


def cards_of(account_ids: Iterable[uuid.UUID]) -> Iterator[tuple[uuid.UUID, str, JsonObject]]:
    """The cards that these accounts left for later: whose, its id, and what Stripe knows of it."""
    rows = djstripe_models.PaymentMethod.objects.filter(customer__subscriber_id__in=account_ids)
    for account_id, card_id, data in rows.values_list("customer__subscriber_id", "id", "stripe_data"):
        if data.get("card"):
            yield account_id, card_id, data["card"]
