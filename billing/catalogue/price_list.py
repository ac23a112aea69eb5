"""What is for sale, at which prices, and which item a client means."""

from collections.abc import Iterable
from contextlib import suppress

from django.db.models import Prefetch, QuerySet

from accounts.models import Account
from billing.errors import ArchivedItemError, PriceNotSellableError
from billing.models import RUNNING, Order, Pack, Plan, Price, Subscription

ACTIVE_PRICES = Prefetch("prices", Price.objects.filter(is_active=True).order_by("currency", "amount_minor"))


def plans() -> QuerySet[Plan]:
    """The plans on sale, each with its active prices."""
    return Plan.objects.filter(is_active=True).prefetch_related(ACTIVE_PRICES).order_by("position", "pk")


def packs() -> QuerySet[Pack]:
    """The packs on sale, each with its active prices; one without a price cannot be bought and is left out."""
    on_sale = Pack.objects.filter(is_active=True, prices__is_active=True).distinct()
    return on_sale.prefetch_related(ACTIVE_PRICES).order_by("position", "pk")


def currency_of(account: Account | None) -> str:
    """The currency that an account pays in, as its running plan or latest paid order has it; empty where it is open.

    Stripe keeps a customer with a plan to one currency (docs.stripe.com/billing/customer, "Currency").
    """
    if account is None:
        return ""
    running = Subscription.objects.filter(account=account, status__in=RUNNING).order_by("started_at")
    found = running.values_list("price__currency", flat=True).first()
    paid = Order.objects.filter(account=account, status=Order.Status.COMPLETED).order_by("-id")
    return found or paid.values_list("currency", flat=True).first() or ""


def shown_price(prices: Iterable[Price], currency: str) -> Price | None:
    """Of an item's prices for one interval, the one in this currency, or else the one that it had first."""
    by_age = sorted(prices, key=lambda price: price.pk)
    return next((price for price in by_age if price.currency == currency), by_age[0] if by_age else None)


def default_plan() -> Plan | None:
    """The plan that every account has without paying."""
    return Plan.objects.filter(is_default=True).first()


def find_price(*, item: str, interval: str = "", currency: str = "") -> Price:
    """The price of a pack (by its code) or a plan (by its code and interval).

    Raises PriceNotSellableError for what is not in the catalogue, ArchivedItemError for what is no longer on sale.
    """
    prices = Price.objects.select_related("plan", "pack")
    if pack := Pack.objects.filter(code=item).first():
        if not pack.is_active:
            raise ArchivedItemError(f"{pack.name} is no longer for sale.")
        result = prices.filter(pack=pack, is_active=True)
    elif plan := Plan.objects.filter(code=item).first():
        if not plan.is_active:
            raise ArchivedItemError(f"{plan.name} is no longer for sale.")
        result = prices.filter(plan=plan, is_active=True, interval=interval or Price.Interval.MONTH)
    else:
        raise PriceNotSellableError(f"There is no {item!r} in the catalogue.")
    if currency:
        result = result.filter(currency=currency)
    price = result.order_by("pk").first()
    if price is None:
        raise PriceNotSellableError(f"{item!r} has no price{f' a {interval}' if interval else ''} right now.")
    return price


def find_price_for(account: Account, *, item: str, interval: str = "") -> Price:
    """The price in the currency that an account pays in, or else the one there is. Raises as `find_price` does."""
    with suppress(PriceNotSellableError):
        return find_price(item=item, interval=interval, currency=currency_of(account))
    return find_price(item=item, interval=interval)
