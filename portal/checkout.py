"""Buying: to the payment page, a card form or a QR code, and back to see that the credits are there."""

from collections.abc import Callable
from datetime import timedelta
from functools import wraps

from csp.decorators import csp_update
from django.conf import settings
from django.contrib import messages
from django.core.signing import BadSignature
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST
from django_htmx.http import trigger_client_event

from accounts.errors import AccountClosedError
from accounts.models import Account
from api.throttling import RateLimitedError
from billing.catalogue import price_list
from billing.checkout import purchases, rate_limit, return_addresses
from billing.errors import BillingError, FulfilmentError, PaymentProviderUnavailableError
from billing.models import Order
from billing.stripe.discounts import may_differ_from_list
from billing.subscriptions import plan_changes
from common import clock
from common.public_ids import MalformedIdError, parse_id
from common.sides import Side
from credits import selectors
from portal.current_account import admins_only, current_account

# The webhook is usually there within a second; after this long the page asks Stripe itself.
ASK_AFTER = timedelta(seconds=5)
SLOW_AFTER = timedelta(seconds=10)
POLL_FAST_UNTIL = timedelta(seconds=5)
POLL_UNTIL = timedelta(seconds=60)
LONGEST_WAIT_S = 86_400

# Two clicks on one button are one purchase.
WHAT_IS_BOUGHT = ("key", "item", "ui", "provider")

# What Stripe's card form needs, on that page alone (docs.stripe.com/security/guide).
CARD_FORM_CSP = {
    "script-src": ["'self'", settings.STRIPE_JS_URL],
    "connect-src": ["'self'", "https://api.stripe.com"],
    "frame-src": ["https://js.stripe.com", "https://*.js.stripe.com", "https://hooks.stripe.com"],
}


@require_POST
@admins_only
def buy(request: HttpRequest) -> HttpResponse:
    """Start a purchase and send the customer to where it is paid."""
    fields = request.POST
    try:
        account = current_account(request)
        rate_limit.check(account)
        started = purchases.start_checkout(
            account=account,
            price=price_list.find_price(
                item=fields.get("item", ""), interval=fields.get("interval", ""), currency=fields.get("currency", "")
            ),
            quantity=_quantity(fields.get("quantity", "1")),
            ui=_ui(fields.get("ui", "")),
            provider=fields.get("provider", "") or "stripe",
            idempotency_key=":".join(["page", *(fields.get(name, "")[:64] for name in WHAT_IS_BOUGHT)]),
            actor=f"user:{request.user.pk}",
            side=Side.BUYER,
            now=clock.now(),
        )
    except (AccountClosedError, BillingError, RateLimitedError) as error:
        messages.error(request, _(str(error)))
        return redirect("credits")
    order = started.order
    if order.status != Order.Status.OPEN:
        return redirect("checkout", order.public_id)
    if order.ui == Order.Ui.QR:
        return redirect("checkout-qr", order.public_id)
    return HttpResponseRedirect(order.checkout_url)


def by_link_or_own(view: Callable[[HttpRequest, Order, bool], HttpResponse]) -> Callable[..., HttpResponseBase]:
    """A page about one order. A user of an app has no login: whoever has the link sees theirs (`is_by_link`)."""

    @admins_only
    def own(request: HttpRequest, checkout_id: str) -> HttpResponse:
        return view(request, _own_order(request, checkout_id), False)

    @wraps(view)
    def opened(request: HttpRequest, checkout_id: str) -> HttpResponseBase:
        order = _order_by_link(request, checkout_id)
        return view(request, order, True) if order else own(request, checkout_id)

    return opened


@never_cache
@require_GET
@by_link_or_own
def checkout_status(request: HttpRequest, order: Order, is_by_link: bool) -> HttpResponse:
    """Where the customer comes back to: waits for the payment's webhook, then shows the new balance.

    By link, it says how the payment stands, and no balance.
    """
    try:
        waited = min(max(0, int(request.GET.get("waited", "0")[:9])), LONGEST_WAIT_S)
    except ValueError:
        waited = 0
    if order.is_waiting and timedelta(seconds=waited) >= ASK_AFTER:
        order = _asked(order)
    is_fast = timedelta(seconds=waited) < POLL_FAST_UNTIL
    step = 1 if is_fast else 3
    is_fragment = request.htmx  # type: ignore[attr-defined]  # django-htmx's
    answer = render(
        request,
        "portal/parts/checkout_status.html" if is_fragment else "portal/checkout.html",
        {
            "order": order,
            "balance": None if is_by_link else selectors.balance(account_id=order.account_id, now=clock.now()),
            "app_url": settings.APP_URL,
            "trial": plan_changes.trial_of(order),
            "may_differ": may_differ_from_list(),
            "is_polling": order.is_waiting and timedelta(seconds=waited) < POLL_UNTIL,
            "step": step,
            "next_waited": waited + step,
            "is_slow": timedelta(seconds=waited) >= SLOW_AFTER,
        },
    )
    return trigger_client_event(answer, "credits-changed") if is_fragment and not order.is_waiting else answer


@csp_update(CARD_FORM_CSP)
@never_cache
@require_GET
@by_link_or_own
def card_form(request: HttpRequest, order: Order, _is_by_link: bool) -> HttpResponse:
    """Pay with a card on our own page: Stripe's script takes the card, and we never see it."""
    try:
        payment = purchases.card_form(order)
    except BillingError as error:
        messages.error(request, _(str(error)))
        payment = None
    if payment is None:
        return redirect("checkout", order.public_id)
    shown = {
        "order": order,
        "client_secret": payment.client_secret,
        "total_minor": payment.total_minor,
        "script_url": settings.STRIPE_JS_URL,
        "publishable_key": settings.STRIPE_PUBLISHABLE_KEY,
        "return_url": return_addresses.after_payment(order),
        "cancel_url": return_addresses.without_payment(order),
    }
    return render(request, "portal/card_form.html", shown)


@never_cache
@require_GET
@admins_only
def qr_page(request: HttpRequest, checkout_id: str) -> HttpResponse:
    """A QR code to pay on a phone, while this page waits for the payment."""
    order = _own_order(request, checkout_id)
    if not order.is_waiting:
        return redirect("checkout", order.public_id)
    return render(request, "portal/qr.html", {"order": order, "qr_url": purchases.qr_url(order)})


@require_GET
def qr_code(_request: HttpRequest, signed: str) -> HttpResponse:
    """The QR code of an order as a picture. Its address is signed: whoever has it may pay, and see nothing else."""
    try:
        order = purchases.order_of_qr(signed)
    except BadSignature:
        order = None
    if order is None:
        raise Http404
    return HttpResponse(purchases.qr_code(order), content_type="image/svg+xml")


@require_POST
@admins_only
def billing_portal(request: HttpRequest) -> HttpResponse:
    """Send the customer to Stripe's billing portal."""
    try:
        return HttpResponseRedirect(purchases.portal_url(account=current_account(request)))
    except BillingError as error:
        messages.error(request, _(str(error)))
        return redirect("billing")


def _own_order(request: HttpRequest, checkout_id: str) -> Order:
    order = _find(checkout_id)
    if order is None or order.account_id != current_account(request).pk:
        raise Http404
    return order


def _order_by_link(request: HttpRequest, checkout_id: str) -> Order | None:
    """An order of an account without a login, for a visitor who is not in that account as its guest."""
    order = _find(checkout_id)
    if order is None or order.account.kind != Account.Kind.EXTERNAL:
        return None
    is_inside = request.user.is_authenticated and current_account(request).pk == order.account_id
    return None if is_inside else order


def _find(checkout_id: str) -> Order | None:
    try:
        return Order.objects.filter(pk=parse_id("co", checkout_id)).with_related().first()
    except MalformedIdError:
        return None


def _quantity(text: str) -> int:
    return min(max(int(text), 1), settings.MAX_PACKS_PER_CHECKOUT) if text.isdecimal() else 1


def _ui(text: str) -> Order.Ui:
    return Order.Ui(text) if text in (Order.Ui.QR, Order.Ui.ELEMENTS) else Order.Ui.REDIRECT


def _asked(order: Order) -> Order:
    """The webhook is late: look at the payment ourselves. Whatever fails here, the webhook will still come."""
    try:
        return purchases.refresh(order, now=clock.now())
    except (PaymentProviderUnavailableError, FulfilmentError):
        order.refresh_from_db()
        return order
