"""Starting a purchase, and asking how it stands.

What a purchase costs and gives is frozen on an Order before Stripe is asked for a page; the client names an item,
never an amount. No call to Stripe is made inside a transaction.
"""

from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlsplit

from django.conf import settings
from django.db import IntegrityError, transaction
from django.urls import reverse

from accounts.models import Account
from billing import alignment, mirror, stripe_api, stripe_objects
from billing.errors import (
    AlreadySubscribedError,
    BillingError,
    ForeignUrlError,
    OrderKeyReusedError,
)
from billing.models import RUNNING, Order, Price, Subscription


@dataclass(frozen=True, kw_only=True)
class Started:
    """An order whose payment page can be opened; `is_replayed` when an earlier call started it."""

    order: Order
    is_replayed: bool


class NoCustomerError(BillingError):
    """The account has never bought anything, so there is nothing to manage."""

    code = "no_customer"
    title = "There is nothing to manage yet"
    status_code = 409


def start(
    *,
    account: Account,
    price: Price,
    quantity: int,
    idempotency_key: str,
    actor: str,
    now: datetime,
    success_url: str = "",
    cancel_url: str = "",
) -> Started:
    """Open a checkout for one price. A repeated key answers the first order.

    Raises OrderKeyReusedError, AlreadySubscribedError, ForeignUrlError, PriceNotSellableError, or
    PaymentProviderUnavailableError: then the same key may be sent again.
    """
    for field, url in (("success_url", success_url), ("cancel_url", cancel_url)):
        _check_own_url(field, url)
    order, is_new = _order(
        Order(
            account=account,
            price=price,
            quantity=quantity,
            idempotency_key=idempotency_key,
            actor=actor,
            success_url=success_url,
            cancel_url=cancel_url,
            created_at=now,
            **_frozen(price, quantity),
        )
    )
    if not order.stripe_session_id:
        _open_session(order)
    return Started(order=order, is_replayed=not is_new)


def refresh(order: Order, *, now: datetime) -> Order:
    """Ask Stripe how the payment stands and fulfil what is paid: what the webhook does, without waiting for it."""
    if order.is_waiting and order.stripe_session_id:
        alignment.bring_in_line(kind="checkout.session", object_id=order.stripe_session_id, now=now)
        order.refresh_from_db()
    return order


def portal_url(*, account: Account) -> str:
    """The address of Stripe's billing portal for an account. Raises NoCustomerError before the first purchase."""
    customer_id = mirror.customer_of_account(account.pk)
    if not customer_id:
        raise NoCustomerError("There is nothing to manage yet: it starts with your first purchase.")
    return stripe_api.create_portal_session(customer_id=customer_id, return_url=_own("billing"))


def _frozen(price: Price, quantity: int) -> dict[str, object]:
    """What this purchase is, whatever becomes of the catalogue."""
    frozen: dict[str, object] = {"amount_minor": price.amount_minor * quantity, "currency": price.currency}
    if price.pack is not None:
        name = f"{quantity} x {price.pack.name}" if quantity > 1 else price.pack.name
        frozen |= {
            "credits": price.pack.credits * quantity,
            "bonus_credits": price.pack.bonus_credits * quantity,
            "description": name,
        }
    elif price.plan is not None:
        frozen |= {"credits": price.plan.monthly_credits * quantity, "description": price.plan.name}
    return frozen


def _order(wanted: Order) -> tuple[Order, bool]:
    """The order for this key: the one there is, or `wanted`, kept."""
    known = Order.objects.filter(account=wanted.account, idempotency_key=wanted.idempotency_key)
    if order := known.select_related("price", "account").first():
        if (order.price_id, order.quantity) != (wanted.price_id, wanted.quantity):
            raise OrderKeyReusedError("This Idempotency-Key was used for another checkout. Send a new key.")
        return order, False
    if wanted.is_for_a_plan and Subscription.objects.filter(account=wanted.account, status__in=RUNNING).exists():
        raise AlreadySubscribedError("This account has a plan already. Change or stop it in the billing portal.")
    try:
        with transaction.atomic():
            wanted.save(force_insert=True)
    except IntegrityError:  # the same key, at this very moment
        return _order(wanted)
    return wanted, True


def _open_session(order: Order) -> None:
    customer_id = _customer(order.account)
    identity = {"order": order.public_id, "account": order.account.public_id}
    back = _own("checkout", order.public_id)
    session = stripe_api.create_session(
        idempotency_key=f"tegoed-{order.public_id}",
        mode="subscription" if order.is_for_a_plan else "payment",
        customer=customer_id,
        line_items=[{"price": order.price.stripe_price_id, "quantity": order.quantity}],
        client_reference_id=order.public_id,
        metadata=identity,
        success_url=order.success_url or back,
        cancel_url=order.cancel_url or f"{_own('credits')}?left={order.public_id}",
        **(
            {"subscription_data": {"metadata": identity}}
            if order.is_for_a_plan
            else {"payment_intent_data": {"metadata": identity}}
        ),
    )
    order.stripe_session_id = session["id"]
    order.checkout_url = session["url"]
    order.expires_at = stripe_objects.moment(session["expires_at"])
    order.save(update_fields=["stripe_session_id", "checkout_url", "expires_at"])


def _customer(account: Account) -> str:
    """The account's Stripe customer, made on the first purchase."""
    if known := mirror.customer_of_account(account.pk):
        return known
    created = stripe_api.create_customer(
        account_id=str(account.pk), email=account.email, name=account.name or account.public_id
    )
    mirror.sync("customer", created)
    return str(created["id"])


def _check_own_url(field: str, url: str) -> None:
    """Customers are sent back to us, never elsewhere. (A browser reads a backslash as a slash.)"""
    if not url:
        return
    own, given = urlsplit(settings.BASE_URL), urlsplit(url)
    is_plain = url.isprintable() and not set(url) & {"\\", " ", "@"}
    if not is_plain or (given.scheme, given.netloc) != (own.scheme, own.netloc):
        raise ForeignUrlError(field, settings.BASE_URL)


def _own(name: str, *arguments: str) -> str:
    return f"{settings.BASE_URL}{reverse(name, args=arguments)}"
