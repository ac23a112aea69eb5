"""Credits follow the money back: what was refunded of a payment, and how its disputes stand, is one standing target.

What arrives about a charge is stored with its payment (`payment_records`), whatever came before; from there follows how
many of its credits may remain (`clawback_targets`). A refund is mailed to the customer, a dispute to operators, and no
card is charged by itself any more.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.db.models import Q
from django.utils.translation import gettext_noop

from accounts.models import Account
from billing.clawbacks import clawback_targets
from billing.errors import FulfilmentError
from billing.fulfilment import duplicate_detection
from billing.models import Order, PaymentRecord, SettledCharge, TopUp
from billing.money import amount_in_words
from billing.notifications import domain_events
from billing.payments import payment_records
from billing.stripe import djstripe_store, payloads
from billing.stripe.payloads import Stripe
from credits import ledger, selectors
from credits.money import Money
from outbox import alerts
from outbox.models import Alert, OutboxEvent

# Of a dispute: the money came back, or never went.
HARMLESS = ("won", "warning_closed", "prevented", "warning_needs_response", "warning_under_review")
LOST = "lost"
LONGEST_STANDING = 120


def has_money_back(charge: Stripe) -> bool:
    """Whether any money of a charge went back, or may."""
    return bool(charge.get("amount_refunded") or charge.get("disputed") or charge.get("refunded"))


def standing(charge: Stripe, disputes: Iterable[Stripe]) -> str:
    """How a charge stands, in a few words: the same words, the same credits."""
    reported = sorted(f"{dispute['amount']} disputed: {dispute['status']}" for dispute in disputes)
    return "; ".join([f"{charge['amount_refunded']} refunded", *reported])[:LONGEST_STANDING]


def is_reconciled(charge: Stripe, disputes: Iterable[Stripe]) -> bool:
    """Whether credits were synced with the charge as it stands now."""
    return SettledCharge.objects.filter(charge_id=charge["id"], seen=standing(charge, disputes)).exists()


@dataclass(frozen=True, kw_only=True)
class PaidCharge:
    """One charge that paid for something, and the disputes about it."""

    charge: Stripe
    disputes: list[Stripe]

    @property
    def disputed_minor(self) -> int:
        return sum(dispute["amount"] for dispute in self.disputes if dispute["status"] not in HARMLESS)


def reconcile_payment(*, paid: list[PaidCharge], origin: Stripe, credited_minor: int = 0, now: datetime) -> None:
    """Sync the credits of a payment with what of its money is still here.

    `origin` is the checkout session, the payment or the invoice, `paid` every charge that paid for it (none, where the
    customer's balance did), and `credited_minor` what credit notes took off it without a refund. Raises FulfilmentError
    for a stranger's.
    """
    account = djstripe_store.account_of_customer(payloads.customer_id(origin))
    if account is None:
        raise FulfilmentError(f"The payment of {origin['id']} is of a customer who is none of ours.")
    refunded = sum(each.charge["amount_refunded"] for each in paid) + credited_minor
    disputed = sum(each.disputed_minor for each in paid)
    about = paid[0].charge["id"] if paid else origin["id"]
    with transaction.atomic():
        taken = 0
        payment = _payment_record(account, origin, paid, now=now)
        if payment is not None:
            subscription_id = payloads.invoice_subscription_id(origin) if "lines" in origin else ""
            payment = payment_records.record_money_back(
                payment,
                refunded_minor=refunded,
                credited_minor=credited_minor,
                disputed_minor=disputed,
                is_lost=any(dispute["status"] == LOST for each in paid for dispute in each.disputes),
                is_mistake=duplicate_detection.is_duplicate(subscription_id),
                now=now,
            )
            taken = clawback_targets.apply_targets(payment, source_key=_source_key(origin), about=about, now=now)
            if account.closed_at is not None:
                _claw_back_closed_account(account, about, now=now)
        for each in paid:
            reported = {"seen": standing(each.charge, each.disputes), "settled_at": now}
            SettledCharge.objects.update_or_create(charge_id=each.charge["id"], defaults=reported)
        paid_by = Q(stripe_session_id=origin["id"]) | Q(payment_id=origin["id"])
        Order.objects.filter(paid_by, account=account).update(refunded_minor=refunded, is_disputed=bool(disputed))
        for each in paid:
            _notify(each, origin, account, taken=taken, now=now)


def _claw_back_closed_account(account: Account, charge_id: str, *, now: datetime) -> None:
    """A dispute is won, or a refund fails, after the account was closed: its credits are nobody's any more."""
    left = selectors.balance(account_id=account.pk, now=now).available
    if left:
        ledger.adjust(
            account_id=account.pk,
            idempotency_key=f"closed:{charge_id}:{now.isoformat()}",
            reason="The account was closed.",
            actor="stripe",
            take=left,
            now=now,
        )


def _payment_record(account: Account, origin: Stripe, paid: list[PaidCharge], *, now: datetime) -> PaymentRecord | None:
    """The record of a payment; made now, where it was fulfilled before there were records."""
    known = PaymentRecord.objects.filter(origin_id=origin["id"]).first()
    if known is not None:
        return known
    source_key = _source_key(origin)
    # Of an invoice, the customer's balance at Stripe may have paid a part.
    total = max(sum(each.charge["amount"] for each in paid), origin.get("total") or 0)
    net = selectors.price_of_cause(account.pk, source_key)
    if not net and not selectors.grants_of_cause(account.pk, source_key):
        return None
    return payment_records.record(
        account=account,
        origin_id=origin["id"],
        source_key=source_key,
        currency=origin["currency"],
        total_minor=total,
        net_minor=net,
        tax_minor=max(0, total - net),
        now=now,
    )


def _source_key(origin: Stripe) -> str:
    """Under which the ledger keeps what a session, a payment or an invoice brought."""
    kind = {"checkout.session": "session"}.get(origin["object"], origin["object"])
    return f"stripe:{kind}:{origin['id']}"


def reconcile_upgrades(invoice: Stripe, *, now: datetime) -> None:
    """Sync what upgrades added to a period with what they cost after all."""
    clawback_targets.apply_upgrade_targets(invoice["id"], now=now)


def _notify(paid: PaidCharge, origin: Stripe, account: Account, *, taken: int, now: datetime) -> None:
    """The customer hears of a refund, the operators of a dispute for as long as it is open; no card is charged more."""
    charge, disputes = paid.charge, paid.disputes
    if charge["amount_refunded"] or disputes:
        _stop_top_up(account, charge["id"], now=now)
    if charge["amount_refunded"]:
        description = charge.get("description") or origin.get("number") or ""
        refunded = Money(charge["amount_refunded"], charge["currency"])
        _notify_refund(account, charge["id"], description, refunded, taken=taken, now=now)
    waiting = [dispute for dispute in disputes if dispute["status"] not in (*HARMLESS, LOST)]
    if waiting:
        amount = amount_in_words(waiting[0]["amount"], charge["currency"])
        detail = f"{account}: {amount}, {waiting[0].get('reason')}."
        alerts.raise_alert(Alert.Kind.DISPUTE, charge["id"], detail=detail, account_id=account.pk, now=now)
    elif disputes:
        alerts.resolve(Alert.Kind.DISPUTE, subject=charge["id"], now=now, note=disputes[0]["status"])


def _stop_top_up(account: Account, charge_id: str, *, now: datetime) -> None:
    """Whoever has money back is not charged by itself again: once for each payment, and they are notified."""
    problem = gettext_noop("Money of yours was given back, or is disputed.")
    with transaction.atomic():
        known = OutboxEvent.objects.filter(name="top_up.stopped", key=f"top_up.stopped:{account.pk}:{charge_id}")
        on = TopUp.objects.filter(account=account, is_on=True)
        if not known.exists() and on.exists():
            domain_events.top_up_stopped(account, charge_id=charge_id, now=now)
            on.update(is_on=False, problem=problem)


def claw_back_order(order: Order, *, refunded_minor: int, now: datetime) -> None:
    """Claw back the credits of an order for `refunded_minor` refunded in all, at a provider without charges."""
    charge_id = f"{order.provider}:{order.payment_id}"
    with transaction.atomic():
        taken = 0
        payment = payment_records.for_order(order, now=now)
        if payment is not None:
            payment = payment_records.record_money_back(
                payment, refunded_minor=refunded_minor, disputed_minor=0, now=now
            )
            taken = clawback_targets.apply_targets(payment, source_key=order.grant_source_key, about=charge_id, now=now)
        Order.objects.filter(pk=order.pk).update(refunded_minor=refunded_minor)
        _stop_top_up(order.account, charge_id, now=now)
        refunded = Money(refunded_minor, order.currency)
        _notify_refund(order.account, charge_id, order.description, refunded, taken=taken, now=now)


def _notify_refund(
    account: Account, charge_id: str, description: str, refunded: Money, *, taken: int, now: datetime
) -> None:
    domain_events.refunded(
        account,
        charge_id=charge_id,
        description=description,
        refunded_minor=refunded.minor,
        currency=refunded.currency,
        credits=taken,
        now=now,
    )
