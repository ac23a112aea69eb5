"""What is for sale, at which prices, and which item a client means."""

from django.db.models import Prefetch, QuerySet

from billing.errors import ArchivedItemError, PriceNotSellableError
from billing.models import Pack, Plan, Price

ACTIVE_PRICES = Prefetch("prices", Price.objects.filter(is_active=True).order_by("currency", "amount_minor"))


def plans() -> QuerySet[Plan]:
    """The plans on sale, each with its active prices."""
    return Plan.objects.filter(is_active=True).prefetch_related(ACTIVE_PRICES).order_by("position", "pk")


def packs() -> QuerySet[Pack]:
    """The packs on sale, each with its active prices; one without a price cannot be bought and is left out."""
    on_sale = Pack.objects.filter(is_active=True, prices__is_active=True).distinct()
    return on_sale.prefetch_related(ACTIVE_PRICES).order_by("position", "pk")


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
