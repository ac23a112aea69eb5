"""Starting a purchase, and asking how it stands.

What a purchase costs and gives is frozen on an Order before Stripe is asked for a page; the client names an item,
never an amount. No provider is called inside a transaction.
"""

import io
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlsplit

import segno
from django.conf import settings
from django.core.signing import Signer
from django.db import IntegrityError, transaction

from accounts import app_origins
from accounts.errors import AccountClosedError
from accounts.models import Account
from billing.catalogue import promotions
from billing.checkout import providers
from billing.checkout.providers import Opened
from billing.errors import (
    AlreadySubscribedError,
    BillingError,
    ForeignUrlError,
    OrderKeyReusedError,
    PortalNotSetUpError,
    PriceNotSellableError,
)
from billing.models import RUNNING, Order, Price, Subscription
from billing.stripe import djstripe_store, portal_configuration, stripe_client
from common.public_ids import parse_id
from common.sides import Side
from common.urls import absolute_url

_QR = Signer(salt="billing.qr")


@dataclass(frozen=True, kw_only=True)
class StartedCheckout:
    """An order whose payment page can be opened; `is_replayed` when an earlier call started it."""

    order: Order
    is_replayed: bool
    client_secret: str = ""
    total_minor: int = 0  # of a card form: what its payment comes to, VAT included


class NoCustomerError(BillingError):
    """The account has never bought anything, so there is nothing to manage."""

    code = "no_customer"
    title = "There is nothing to manage yet"
    status_code = 409


def start_checkout(
    *,
    account: Account,
    price: Price,
    quantity: int,
    idempotency_key: str,
    actor: str,
    now: datetime,
    ui: Order.Ui = Order.Ui.REDIRECT,
    provider: str = "stripe",
    success_url: str = "",
    cancel_url: str = "",
    side: Side = Side.INTERNAL,
) -> StartedCheckout:
    """Open a checkout for one price. A repeated key of the same `side` answers the first order.

    Raises AccountClosedError, OrderKeyReusedError, AlreadySubscribedError, ForeignUrlError, PriceNotSellableError, or
    PaymentProviderUnavailableError: then the same key may be sent again.
    """
    if account.closed_at is not None:
        raise AccountClosedError
    for field, url in (("success_url", success_url), ("cancel_url", cancel_url)):
        check_return_url(field, url)
    providers.check_is_on(provider)
    if price.plan_id is not None and (ui == Order.Ui.ELEMENTS or provider != "stripe"):
        raise PriceNotSellableError("A plan is paid on Stripe's payment page: use the ui redirect or qr.")
    wanted = Order(
        account=account,
        price=price,
        quantity=quantity,
        ui=ui,
        provider=provider,
        side=side,
        idempotency_key=idempotency_key,
        actor=actor,
        success_url=success_url,
        cancel_url=cancel_url,
        created_at=now,
        **price.frozen(quantity),
    )
    order, is_new = _order(wanted, now=now)
    if order.status != Order.Status.OPEN or (order.ui != Order.Ui.ELEMENTS and _is_opened(order)):
        return StartedCheckout(order=order, is_replayed=not is_new)
    opened = _open(order)
    return StartedCheckout(
        order=order, is_replayed=not is_new, client_secret=opened.client_secret, total_minor=opened.total_minor
    )


def _is_opened(order: Order) -> bool:
    return bool(order.stripe_session_id or order.payment_id)


def _open(order: Order) -> Opened:
    """Have the order's provider prepare its payment."""
    opened = providers.get(order.provider).open(order)
    order.stripe_session_id = opened.session_id or None
    order.payment_id = opened.payment_id or None
    order.checkout_url = opened.url or absolute_url("card-form", order.public_id)
    order.expires_at = opened.expires_at
    order.save(update_fields=["stripe_session_id", "payment_id", "checkout_url", "expires_at"])
    return opened


def refresh(order: Order, *, now: datetime) -> Order:
    """Ask the provider how the payment stands and fulfil what is paid, as its webhook will."""
    if order.is_waiting and _is_opened(order):
        providers.get(order.provider).refresh(order, now=now)
        order.refresh_from_db()
    return order


def card_form(order: Order) -> Opened | None:
    """What the provider's script needs to take the payment of an order that is paid on a card form; None for others."""
    return _open(order) if order.status == Order.Status.OPEN and order.ui == Order.Ui.ELEMENTS else None


def qr_code(order: Order) -> str:
    """The payment page of an order as a QR code: an SVG document."""
    out = io.BytesIO()
    segno.make(order.checkout_url, error="m", micro=False).save(out, kind="svg", scale=6, border=4, light="#fff")
    return out.getvalue().decode()


def qr_url(order: Order) -> str:
    """Where the QR code of an order is to be had as a picture, by anybody who knows this address."""
    return absolute_url("qr-code", _QR.sign(order.public_id))


def order_of_qr(signed: str) -> Order | None:
    """The order whose QR code has this signed name. Raises BadSignature."""
    return Order.objects.filter(pk=parse_id("co", _QR.unsign(signed))).exclude(checkout_url="").first()


def portal_url(*, account: Account, return_url: str = "") -> str:
    """The address of Stripe's billing portal for an account.

    Raises NoCustomerError before the first purchase, and ForeignUrlError.
    """
    check_return_url("return_url", return_url)
    customer_id = djstripe_store.customer_of_account(account.pk)
    if not customer_id:
        raise NoCustomerError("There is nothing to manage yet: it starts with your first purchase.")
    about = {"customer_id": customer_id, "return_url": return_url or absolute_url("billing")}
    configuration = portal_configuration.known_id()
    try:
        return stripe_client.create_portal_session(**about, configuration=configuration)
    except PortalNotSetUpError:
        if not configuration:
            raise
        portal_configuration.forget()  # recreated since we looked
        return stripe_client.create_portal_session(**about, configuration=portal_configuration.known_id())


def _order(wanted: Order, *, now: datetime) -> tuple[Order, bool]:
    """The order for this key: the one there is, or `wanted`, kept."""
    known = Order.objects.filter(account=wanted.account, side=wanted.side, idempotency_key=wanted.idempotency_key)
    if order := known.with_related().first():
        same = ("price_id", "quantity", "ui", "provider")
        if any(getattr(order, name) != getattr(wanted, name) for name in same):
            raise OrderKeyReusedError("This Idempotency-Key was used for another checkout. Send a new key.")
        return order, False
    if wanted.is_for_a_plan and Subscription.objects.filter(account=wanted.account, status__in=RUNNING).exists():
        raise AlreadySubscribedError("This account has a plan already. Change or stop it in the billing portal.")
    try:
        with transaction.atomic():
            promotions.reserve(wanted, now=now)
            wanted.save(force_insert=True)
    except IntegrityError:  # the same key, at this very moment
        return _order(wanted, now=now)
    return wanted, True


def check_return_url(field: str, url: str) -> None:
    """Customers are sent back to us, or to an app that is named for that. (A browser reads a backslash as a slash.)

    Raises ForeignUrlError.
    """
    if not url:
        return
    try:
        given = urlsplit(url)
    except ValueError:
        raise ForeignUrlError(field, settings.BASE_URL) from None
    is_plain = url.isprintable() and not set(url) & {"\\", " ", "@"}
    if not is_plain or not app_origins.may_return(f"{given.scheme}://{given.netloc}"):
        raise ForeignUrlError(field, settings.BASE_URL)
