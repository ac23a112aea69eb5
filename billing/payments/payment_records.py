"""What was paid for credits, and how much of that money is still here: kept once for each payment.

Credits are synced with these rows (`clawbacks`), and reports add their steps up. All of it can be recreated
from what the provider says; nothing here asks it.
"""

from collections.abc import Iterable
from datetime import datetime

from django.db import transaction

from accounts.models import Account
from billing.models import Order, PaymentRecord
from credits import selectors


def record(
    *,
    account: Account,
    origin_id: str,
    source_key: str,
    currency: str,
    total_minor: int,
    net_minor: int,
    tax_minor: int,
    now: datetime,
) -> PaymentRecord | None:
    """Keep that this was paid; call it once its credits are granted. None for nothing paid.

    `net_minor` is what was paid for credits, without `tax_minor`, of `total_minor` in all. Below zero, so much was
    credited. A repeated call answers the first row.
    """
    priced_minor = selectors.price_of_cause(account.pk, source_key)
    if not (net_minor or tax_minor or priced_minor):
        return None
    with transaction.atomic():
        row, is_new = PaymentRecord.objects.get_or_create(
            origin_id=origin_id,
            defaults={
                "account": account,
                "currency": currency,
                "total_minor": total_minor,
                "net_minor": net_minor,
                "tax_minor": tax_minor,
                "priced_minor": priced_minor,
                "paid_at": now,
            },
        )
        if is_new:
            paid = max(net_minor, priced_minor)
            if paid:
                row.steps.create(net_minor=paid, tax_minor=tax_minor, is_payment=True, at=now)
            if net_minor < paid:
                row.steps.create(net_minor=net_minor - paid, tax_minor=0 if paid else tax_minor, at=now)
        return row


def record_money_back(
    row: PaymentRecord,
    *,
    refunded_minor: int,
    disputed_minor: int,
    is_lost: bool = False,
    is_mistake: bool = False,
    credited_minor: int = 0,
    now: datetime,
) -> PaymentRecord:
    """Keep how much of a payment's total went back, or is disputed, in all. A repeated call changes nothing.

    `credited_minor` of what was refunded went by credit notes, to the customer's balance or outside of the provider.
    """
    with transaction.atomic():
        row = PaymentRecord.objects.select_for_update().get(pk=row.pk)
        before = _gone(row)
        row.refunded_minor, row.disputed_minor = refunded_minor, disputed_minor
        row.is_lost, row.is_mistake, row.credited_minor = is_lost, is_mistake, credited_minor
        row.save(update_fields=["refunded_minor", "disputed_minor", "is_lost", "is_mistake", "credited_minor"])
        net, tax = (then - now_ for then, now_ in zip(before, _gone(row), strict=True))
        if net or tax:
            row.steps.create(net_minor=net, tax_minor=tax, at=now)
        return row


def for_origins(origin_ids: Iterable[str]) -> dict[str, PaymentRecord]:
    """The records of these checkouts, payments or invoices, by their id; those that were paid for credits."""
    return PaymentRecord.objects.in_bulk([origin for origin in origin_ids if origin], field_name="origin_id")


def _gone(row: PaymentRecord) -> tuple[int, int]:
    """What of the price of its credits, and of the tax on it, is not here any more."""
    if row.total_minor <= 0:
        return 0, 0
    tax = row.tax_minor * row.gone_minor // row.total_minor
    if row.net_minor + row.tax_minor == row.total_minor:
        return row.gone_minor - tax, tax
    return row.net_minor * row.gone_minor // row.total_minor, tax


def for_order(order: Order, *, now: datetime) -> PaymentRecord | None:
    """The record of what an order was paid with; made now, where it was completed before there were records."""
    net = order.charged_minor - order.tax_minor
    return record(
        account=order.account,
        origin_id=order.origin_id,
        source_key=order.grant_source_key,
        currency=order.currency,
        total_minor=order.charged_minor,
        net_minor=net,
        tax_minor=order.tax_minor,
        now=order.completed_at or now,
    )
