"""Credits follow the money back: refunds and disputes as a target to be reached, not as steps to be added up.

A payment (a checkout, a card form, an invoice with all charges that paid it) tells how much of it was refunded in all,
and how its disputes stand. From that follows how many credits of each grant should be taken back; the difference to
what was taken before is posted. So the number, the order and the repetition of webhooks do not matter. A refund takes
what is left of a grant, and what was spent or held then as soon as it comes back (a reversal, a released hold). A
dispute takes the same when it is opened, all of it when it is lost (what was spent is owed), nothing when it is won.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import Q
from django.utils.translation import gettext_noop

from accounts.models import Account
from billing import announcing, extra_plans, mirror, stripe_objects
from billing.errors import FulfilmentError
from billing.models import Clawback, Order, PaidInvoice, SettledCharge, TopUp
from billing.stripe_objects import Stripe
from credits import allowances, ledger, selectors
from credits.models import Grant
from credits.money import Money
from outbox import alerts
from outbox.models import Alert, OutboxEvent

# Of a dispute: the money came back, or never went.
HARMLESS = ("won", "warning_closed", "prevented", "warning_needs_response", "warning_under_review")
LOST = "lost"
LONGEST_STANDING = 120


def concerns(charge: Stripe) -> bool:
    """Whether any money of a charge went back, or may."""
    return bool(charge.get("amount_refunded") or charge.get("disputed") or charge.get("refunded"))


def standing(charge: Stripe, disputes: Iterable[Stripe]) -> str:
    """How a charge stands, in a few words: the same words, the same credits."""
    told = sorted(f"{dispute['amount']} disputed: {dispute['status']}" for dispute in disputes)
    return "; ".join([f"{charge['amount_refunded']} refunded", *told])[:LONGEST_STANDING]


def is_settled(charge: Stripe, disputes: Iterable[Stripe]) -> bool:
    """Whether credits were brought in line with the charge as it stands now."""
    return SettledCharge.objects.filter(charge_id=charge["id"], seen=standing(charge, disputes)).exists()


@dataclass(frozen=True, kw_only=True)
class Paid:
    """One charge that paid for something, and the disputes about it."""

    charge: Stripe
    disputes: list[Stripe]

    @property
    def disputed_minor(self) -> int:
        return sum(dispute["amount"] for dispute in self.disputes if dispute["status"] not in HARMLESS)


def settle(*, paid: list[Paid], origin: Stripe, now: datetime) -> None:
    """Bring the credits that a payment brought in line with what of its money is still here.

    `origin` is the checkout session, the payment or the invoice, `paid` every charge that paid for it. Raises
    FulfilmentError for a stranger's.
    """
    account = mirror.account_of_customer(stripe_objects.customer_id(origin))
    if account is None:
        raise FulfilmentError(f"Charge {paid[0].charge['id']} is of a customer who is none of ours.")
    refunded = sum(each.charge["amount_refunded"] for each in paid)
    disputed = sum(each.disputed_minor for each in paid)
    # Of an invoice, the customer's balance at Stripe may have paid a part.
    total = max(sum(each.charge["amount"] for each in paid), origin.get("total") or 0)
    is_lost = any(dispute["status"] == LOST for each in paid for dispute in each.disputes)
    is_mistake = extra_plans.is_extra(stripe_objects.invoice_subscription_id(origin) if "lines" in origin else "")
    invoice = PaidInvoice.objects.filter(stripe_invoice_id=origin["id"]).first()
    for grant in _grants(account, origin):
        # Later months of a year may hold what an upgrade pays for.
        own = min(grant.amount, invoice.monthly_credits) if invoice and invoice.monthly_credits else grant.amount
        by_refund = own * refunded // total
        by_dispute = min(own * disputed // total, own - by_refund)
        targets = {Clawback.Cause.REFUND: by_refund, Clawback.Cause.DISPUTE: by_dispute}
        _stand(grant, targets, paid[0].charge["id"], refund_owes=is_mistake, dispute_owes=is_lost, now=now)
    for each in paid:
        told = {"seen": standing(each.charge, each.disputes), "settled_at": now}
        SettledCharge.objects.update_or_create(charge_id=each.charge["id"], defaults=told)
    if invoice is not None and invoice.promise:
        _withhold(invoice, min(refunded + disputed, total), total, now=now)
    paid_by = Q(stripe_session_id=origin["id"]) | Q(payment_id=origin["id"])
    Order.objects.filter(paid_by, account=account).update(refunded_minor=refunded, is_disputed=bool(disputed))
    for each in paid:
        _tell(each, origin, account, now=now)


def settle_changes(invoice: Stripe, *, now: datetime) -> None:
    """Bring what upgrades added to a period in line with what they cost after all.

    Stripe's portal may take an upgrade back at once, and credit it: so much of its credits goes, and those that were
    spent are owed. It may go up once more: then they come back. (Our own page keeps an upgrade until the period ends.)
    """
    row = PaidInvoice.objects.filter(stripe_invoice_id=invoice["id"]).exclude(changed_period="").first()
    if row is None:
        return
    changes = PaidInvoice.objects.filter(account=row.account_id, changed_period=row.changed_period)
    keys = [f"stripe:invoice:{change.stripe_invoice_id}" for change in changes]
    added = Grant.objects.filter(account=row.account_id, source_key__in=keys, is_top_up=True)
    cost, net = sum(grant.paid_minor for grant in added), sum(change.change_minor for change in changes)
    gone = min(cost, max(0, cost - net))
    for grant in added if cost else []:
        target = grant.amount * gone // cost
        _reach(grant, Clawback.Cause.CHANGE, target, row.changed_period[:255], with_debt=True, now=now)


def _tell(paid: Paid, origin: Stripe, account: Account, *, now: datetime) -> None:
    """The customer hears of a refund, the operators of a dispute for as long as it is open; no card is charged more."""
    charge, disputes = paid.charge, paid.disputes
    if charge["amount_refunded"] or disputes:
        _stop_top_up(account, charge["id"], now=now)
    if charge["amount_refunded"]:
        description = charge.get("description") or origin.get("number") or ""
        refunded = Money(charge["amount_refunded"], charge["currency"])
        _tell_of_refund(account, charge["id"], description, refunded, now=now)
    waiting = [dispute for dispute in disputes if dispute["status"] not in (*HARMLESS, LOST)]
    if waiting:
        detail = f"{account}: {waiting[0]['amount']} {charge['currency']}, {waiting[0].get('reason')}."
        alerts.raise_alert(Alert.Kind.DISPUTE, charge["id"], detail=detail, account_id=account.pk, now=now)
    elif disputes:
        alerts.resolve(Alert.Kind.DISPUTE, charge["id"], now=now, note=disputes[0]["status"])


def _stop_top_up(account: Account, charge_id: str, *, now: datetime) -> None:
    """Whoever has money back is not charged by itself again: once for each payment, and they are told."""
    problem = gettext_noop("Money of yours was given back, or is disputed.")
    with transaction.atomic():
        known = OutboxEvent.objects.filter(name="top_up.stopped", key=f"top_up.stopped:{account.pk}:{charge_id}")
        on = TopUp.objects.filter(account=account, is_on=True)
        if not known.exists() and on.exists():
            announcing.top_up_stopped(account, charge_id=charge_id, now=now)
            on.update(is_on=False, problem=problem)


def take_back_of_order(order: Order, *, refunded_minor: int, now: datetime) -> None:
    """Bring the credits of an order in line with `refunded_minor` given back in all, at a provider without charges."""
    charge_id = f"{order.provider}:{order.payment_id}"
    for grant in selectors.grants_of_cause(order.account_id, order.grant_source_key):
        targets = {Clawback.Cause.REFUND: grant.amount * refunded_minor // order.charged_minor}
        _stand(grant, targets, charge_id, now=now)
    Order.objects.filter(pk=order.pk).update(refunded_minor=refunded_minor)
    _stop_top_up(order.account, charge_id, now=now)
    _tell_of_refund(order.account, charge_id, order.description, Money(refunded_minor, order.currency), now=now)


def _tell_of_refund(account: Account, charge_id: str, description: str, refunded: Money, *, now: datetime) -> None:
    rows = Clawback.objects.filter(charge_id=charge_id, cause=Clawback.Cause.REFUND)
    announcing.refunded(
        account,
        charge_id=charge_id,
        description=description,
        refunded_minor=refunded.minor,
        currency=refunded.currency,
        credits=sum(row.taken for row in rows),
        now=now,
    )


def _grants(account: Account, origin: Stripe) -> list[Grant]:
    """What was granted for a session or an invoice, so far."""
    kind = {"checkout.session": "session"}.get(origin["object"], origin["object"])
    return selectors.grants_of_cause(account.pk, f"stripe:{kind}:{origin['id']}")


def _stand(
    grant: Grant,
    targets: dict[Clawback.Cause, int],
    charge_id: str,
    *,
    refund_owes: bool = False,
    dispute_owes: bool = False,
    now: datetime,
) -> None:
    """Bring what is taken back of a grant to its targets; what is spent or held now is awaited, or owed."""
    about: dict[str, Any] = {"account_id": grant.account_id, "grant_source_key": grant.source_key}
    with transaction.atomic():
        known = Clawback.objects.select_for_update().filter(**about, cause__in=targets).order_by("cause")
        rows = {Clawback.Cause(row.cause): row for row in known}
        if not rows and not any(targets.values()):
            return
        _count_returned(rows, ledger.stop_awaiting(**about))
        _reach(grant, Clawback.Cause.REFUND, targets[Clawback.Cause.REFUND], charge_id, with_debt=refund_owes, now=now)
        if Clawback.Cause.DISPUTE in targets:
            target = targets[Clawback.Cause.DISPUTE]
            _reach(grant, Clawback.Cause.DISPUTE, target, charge_id, with_debt=dispute_owes, now=now)
        done = sum(row.taken + row.owed for row in known.all())
        ledger.await_return(**about, amount=max(0, sum(targets.values()) - done), now=now)


def _count_returned(rows: dict[Clawback.Cause, Clawback], awaited: int) -> None:
    """Count what came back and was taken since: of what was awaited then, so much is awaited no more."""
    open_ = sum(row.target - row.taken - row.owed for row in rows.values())
    returned = max(0, open_ - awaited)
    for cause in (Clawback.Cause.REFUND, Clawback.Cause.DISPUTE):
        row = rows.get(cause)
        if row is None or not returned:
            continue
        part = min(returned, row.target - row.taken - row.owed)
        row.taken += part
        returned -= part
        row.save(update_fields=["taken"])


def _reach(grant: Grant, cause: Clawback.Cause, target: int, charge_id: str, *, with_debt: bool, now: datetime) -> None:
    """Take back, or give back, what is between the target and what was done before."""
    with transaction.atomic():
        about: dict[str, Any] = {"account_id": grant.account_id, "grant_source_key": grant.source_key}
        if target:
            new = Clawback(**about, cause=cause, charge_id=charge_id, updated_at=now)
            Clawback.objects.bulk_create([new], ignore_conflicts=True)
        row = Clawback.objects.select_for_update().filter(**about, cause=cause).first()
        if row is None:
            return
        row.steps += 1
        step = {**about, "source_key": f"stripe:{cause}:{charge_id}:{grant.source_key}:{row.steps}", "now": now}
        step |= {"description": f"{cause.label}: {charge_id}", "actor": "stripe"}
        more = target - row.taken - row.owed
        if more > 0:
            revoked = ledger.revoke(**step, amount=more, rest_becomes_debt=with_debt)
            row.taken += revoked.taken
            row.owed += revoked.debt
        elif more < 0:
            owed = min(row.owed, -more)
            ledger.restore(**step, credits=-more - owed, debt=owed)
            row.taken -= -more - owed
            row.owed -= owed
        elif row.target == target:
            return
        row.target = target
        row.updated_at = now
        row.save(update_fields=["target", "taken", "owed", "steps", "updated_at"])


def _withhold(invoice: PaidInvoice, gone: int, total: int, *, now: datetime) -> None:
    """Months of a year that are still to come are given as far as they are paid for, by the year and its upgrades."""
    PaidInvoice.objects.filter(pk=invoice.pk).update(withheld=invoice.monthly_credits * gone // total)
    rows = PaidInvoice.objects.filter(account=invoice.account_id, promise=invoice.promise)
    withheld = sum(rows.values_list("withheld", flat=True))
    allowances.withhold(account_id=invoice.account_id, source_key=invoice.promise, amount=withheld, now=now)
