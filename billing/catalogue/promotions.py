"""Bonus credits: which promotion a customer gets on a pack, and counting its uses.

What a promotion gives is frozen on the order when its checkout starts; whether it was a first purchase is looked at
again when the payment is in, because two checkouts may have been open.
"""

from datetime import datetime

from django.db.models import Q, QuerySet

from accounts.models import Account
from billing.catalogue import one_time_benefits
from billing.models import Order, Pack, Promotion

# An order that may still be paid, or was.
COUNTS = (Order.Status.OPEN, Order.Status.PROCESSING, Order.Status.COMPLETED, Order.Status.REVIEW)


def best_offer(*, account: Account | None, pack: Pack, quantity: int, now: datetime) -> Promotion | None:
    """The promotion that gives this customer most on this pack, if there is one. None is a visitor's account."""
    result = [
        promotion
        for promotion in _running(now).filter(Q(pack=None) | Q(pack=pack))
        if account is None or _is_for(account, promotion)
    ]
    return max(result, key=lambda promotion: bonus_credits(promotion, quantity), default=None)


def bonus_credits(promotion: Promotion, quantity: int) -> int:
    """What a promotion gives on so many packs."""
    return promotion.bonus_credits * (quantity if promotion.is_per_pack else 1)


def reserve(order: Order, *, now: datetime) -> None:
    """Put the best promotion on an order that is about to be kept. The caller is in a transaction."""
    pack = order.price.pack
    if pack is None:
        return
    while promotion := best_offer(account=order.account, pack=pack, quantity=order.quantity, now=now):
        locked = Promotion.objects.select_for_update().get(pk=promotion.pk)
        if locked.is_active and _is_for(order.account, locked):
            order.promotion = locked
            order.promotion_credits = bonus_credits(locked, order.quantity)
            return


def is_eligible(order: Order, *, card: str, now: datetime) -> bool:
    """Whether a paid order may have its promotion: a first purchase's, if it is the first of this person and card.

    Every purchase of a pack counts, with a promotion or without. The caller is in the order's transaction.
    """
    is_first = one_time_benefits.claim(
        one_time_benefits.Kind.FIRST_PURCHASE, order.account, cause=order.public_id, card=card, now=now
    )
    return is_first or order.promotion is None or not order.promotion.is_first_purchase


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
    return not promotion.is_first_purchase or not one_time_benefits.is_used(
        one_time_benefits.Kind.FIRST_PURCHASE, account
    )
