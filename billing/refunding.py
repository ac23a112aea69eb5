"""Giving money back from our side: the provider pays it, and credits follow as for any refund."""

from dataclasses import dataclass
from datetime import datetime

from billing import providers
from billing.errors import RefundRefusedError
from billing.models import Order
from credits import selectors


@dataclass(frozen=True, kw_only=True)
class Refundable:
    """What of an order can be given back, and what that would take: `granted` credits, of which `left` are unspent."""

    minor: int
    granted: int
    left: int


def refundable(order: Order) -> Refundable:
    """What can be given back of an order, as we know it; Stripe has the last word."""
    is_paid = order.status == Order.Status.COMPLETED and not order.is_for_a_plan
    grants = selectors.grants_of_cause(order.account_id, order.grant_source_key)
    return Refundable(
        minor=order.charged_minor - order.refunded_minor if is_paid and not order.is_disputed else 0,
        granted=sum(grant.amount for grant in grants),
        left=sum(grant.remaining for grant in grants),
    )


def refund(*, order: Order, amount_minor: int, reason: str, actor: str, idempotency_key: str, now: datetime) -> Order:
    """Give `amount_minor` of an order's money back, and take back what it leaves of the credits.

    A repeated key gives nothing more. Raises RefundRefusedError, which says why, or PaymentProviderUnavailableError.
    """
    most = refundable(order).minor
    if order.is_for_a_plan:
        raise RefundRefusedError("A plan is refunded in Stripe, by its invoice; the credits follow.")
    if not 0 < amount_minor <= most:
        raise RefundRefusedError(f"{amount_minor} cannot be refunded: {most} are left of this order (in minor units).")
    providers.get(order.provider).refund(
        order, amount_minor=amount_minor, reason=f"{reason} ({actor})", idempotency_key=idempotency_key, now=now
    )
    order.refresh_from_db()
    return order
