"""Giving money back from our side: the provider pays it, and credits follow as for any refund."""

from dataclasses import dataclass
from datetime import datetime

from accounts.models import Account
from billing.checkout import providers
from billing.clawbacks import clawback_targets
from billing.errors import RefundRefusedError
from billing.models import Order, PaidInvoice, PaymentRecord
from billing.stripe import stripe_client
from billing.webhooks import sync
from credits import selectors
from credits.models import Grant


@dataclass(frozen=True, kw_only=True)
class Refundable:
    """What of a payment can be given back, and what that would take: `granted` credits, of which `left` are unspent."""

    minor: int
    granted: int
    left: int


@dataclass(frozen=True, kw_only=True)
class Preview:
    """What a refund would take: credits now, and of each month that is still to come (`months` of them)."""

    taken_now: int
    a_month: int
    months: int
    spent: int  # credits of it that are used, and stay so


def refundable(order: Order) -> Refundable:
    """What can be given back of an order, as we know it; Stripe has the last word."""
    is_paid = order.status == Order.Status.COMPLETED and not order.is_for_a_plan
    grants = selectors.grants_of_cause(order.account_id, order.grant_source_key)
    return Refundable(
        minor=order.charged_minor - order.refunded_minor if is_paid and not order.is_disputed else 0,
        granted=sum(grant.whole for grant in grants),
        left=sum(grant.remaining for grant in grants),
    )


def refundable_invoices(account: Account) -> list[PaymentRecord]:
    """The account's paid invoices of plans of which something can be given back, latest first."""
    paid = PaidInvoice.objects.filter(account=account).values("stripe_invoice_id")
    rows = PaymentRecord.objects.filter(account=account, origin_id__in=paid, total_minor__gt=0, disputed_minor=0)
    return [row for row in rows.order_by("-paid_at") if row.refunded_minor < row.total_minor]


def preview(payment: PaymentRecord, *, amount_minor: int, source_key: str) -> Preview:
    """What giving so much more of a payment back would take of its credits."""
    refunded = payment.refunded_minor + amount_minor
    invoice = PaidInvoice.objects.filter(stripe_invoice_id=payment.origin_id).first()
    promise = invoice.promise if invoice else ""
    result = {grant.pk: grant for grant in selectors.grants_of_cause(payment.account_id, source_key)}
    if promise:
        result |= {grant.pk: grant for grant in selectors.grants_of_allowance(payment.account_id, promise)}
    months = selectors.remaining_periods(payment.account_id, promise) if promise else 0
    monthly = invoice.monthly_credits if invoice else 0
    return Preview(
        taken_now=sum(_taken(grant, payment, refunded) for grant in result.values()),
        a_month=monthly * refunded // payment.total_minor - monthly * payment.gone_minor // payment.total_minor,
        months=months,
        spent=sum(grant.whole - grant.remaining - clawback_targets.clawed_back_of(grant) for grant in result.values()),
    )


def refund(*, order: Order, amount_minor: int, reason: str, actor: str, idempotency_key: str, now: datetime) -> Order:
    """Give `amount_minor` of an order's money back, and take back what it leaves of the credits.

    A repeated key gives nothing more. Raises RefundRefusedError, which says why, or PaymentProviderUnavailableError.
    """
    most = refundable(order).minor
    if order.is_for_a_plan:
        raise RefundRefusedError("A plan is refunded by its invoice: `refund_invoice`.")
    if not 0 < amount_minor <= most:
        raise RefundRefusedError(f"{amount_minor} cannot be refunded: {most} are left of this order (in minor units).")
    providers.get(order.provider).refund(
        order, amount_minor=amount_minor, reason=f"{reason} ({actor})", idempotency_key=idempotency_key, now=now
    )
    order.refresh_from_db()
    return order


def refund_invoice(
    *, payment: PaymentRecord, amount_minor: int, reason: str, actor: str, idempotency_key: str, now: datetime
) -> PaymentRecord:
    """Give `amount_minor` of a paid invoice back, from the cards that paid it; credits and months to come follow.

    A repeated key gives nothing more. Raises RefundRefusedError, also where the customer's balance at Stripe paid (that
    is given back there), or PaymentProviderUnavailableError.
    """
    most = payment.total_minor - payment.refunded_minor - payment.disputed_minor
    if not 0 < amount_minor <= most:
        raise RefundRefusedError(
            f"{amount_minor} cannot be refunded: {most} are left of this invoice (in minor units)."
        )
    charges = stripe_client.charges_of_invoice(payment.origin_id)
    parts, left = [], amount_minor
    for charge in charges:
        part = min(left, charge["amount"] - charge["amount_refunded"])
        left -= part
        if part:
            parts.append((str(charge["payment_intent"]), part))
    if left:
        paid_by_card = amount_minor - left
        raise RefundRefusedError(
            f"Cards paid {paid_by_card} of what is left of this invoice (in minor units), and the customer's balance "
            "the rest: give that back at Stripe."
        )
    for payment_intent_id, part in parts:
        created = stripe_client.create_refund(
            idempotency_key=f"tegoed-refund-{payment.origin_id}-{payment_intent_id}-{idempotency_key}",
            payment_intent_id=payment_intent_id,
            amount_minor=part,
            reason=f"{reason} ({actor})",
        )
        sync.sync_object(kind="refund", object_id=created, now=now)
    payment.refresh_from_db()
    return payment


def _taken(grant: Grant, payment: PaymentRecord, refunded_minor: int) -> int:
    """What of a lot would go now: as much as is there of what is to be taken in all."""
    target = clawback_targets.preview_clawback(grant, payment=payment, refunded_minor=refunded_minor)
    stays = max(0, grant.remaining + clawback_targets.clawed_back_of(grant) - target)
    return max(0, grant.remaining - stays)
