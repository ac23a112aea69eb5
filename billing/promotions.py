"""Bonus credits: which promotion a customer gets on a pack, and counting its uses.

What a promotion gives is frozen on the order when its checkout starts; whether it was a first purchase is looked at
again when the payment is in, because two checkouts may have been open.
"""

from datetime import datetime

from django.db.models import Q, QuerySet

from accounts.models import Account
from billing.models import Order, Pack, Promotion

# An order that may still be paid, or was.
COUNTS = (Order.Status.OPEN, Order.Status.PROCESSING, Order.Status.COMPLETED, Order.Status.REVIEW)


def offered(*, account: Account | None, pack: Pack, quantity: int, now: datetime) -> Promotion | None:
    """The promotion that gives this customer most on this pack, if there is one. None is a visitor's account."""
    found = [
        promotion
        for promotion in _running(now).filter(Q(pack=None) | Q(pack=pack))
        if account is None or _is_for(account, promotion)
    ]
    return max(found, key=lambda promotion: credits_of(promotion, quantity), default=None)


def credits_of(promotion: Promotion, quantity: int) -> int:
    """What a promotion gives on so many packs."""
    return promotion.bonus_credits * (quantity if promotion.is_per_pack else 1)


def reserve(order: Order, *, now: datetime) -> None:
    """Put the best promotion on an order that is about to be kept. The caller is in a transaction."""
    pack = order.price.pack
    if pack is None:
        return
    while promotion := offered(account=order.account, pack=pack, quantity=order.quantity, now=now):
        locked = Promotion.objects.select_for_update().get(pk=promotion.pk)
        if locked.is_active and _is_for(order.account, locked):
            order.promotion = locked
            order.promotion_credits = credits_of(locked, order.quantity)
            return


def is_still_first(order: Order) -> bool:
    """Whether no other pack of the account was paid meanwhile. The caller is in the order's transaction."""
    if order.promotion is None or not order.promotion.is_first_purchase:
        return True
    Promotion.objects.select_for_update().get(pk=order.promotion.pk)
    return not _bought(order.account).exclude(pk=order.pk).exists()


def _running(now: datetime) -> QuerySet[Promotion]:
    begun = Q(starts_at=None) | Q(starts_at__lte=now)
    not_over = Q(ends_at=None) | Q(ends_at__gt=now)
    return Promotion.objects.filter(begun, not_over, is_active=True).order_by("pk")


def _is_for(account: Account, promotion: Promotion) -> bool:
    orders = Order.objects.filter(promotion=promotion, status__in=COUNTS)
    if promotion.max_uses is not None and orders.count() >= promotion.max_uses:
        return False
    most = promotion.max_uses_per_account
    if most is not None and orders.filter(account=account).count() >= most:
        return False
    return not promotion.is_first_purchase or not _bought(account).exists()


def _bought(account: Account) -> QuerySet[Order]:
    return Order.objects.filter(account=account, price__pack__isnull=False, status=Order.Status.COMPLETED)
