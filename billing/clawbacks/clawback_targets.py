"""How many credits may remain of what a payment brought: a target for each lot, reached step by step.

From the payments behind a lot (its own; of a month of a year, the year's and those of its upgrades) and from how much
of their money is still here follows how many of its credits should be taken back. The difference to what was taken
before is posted, so that the number, the order and the repetition of webhooks do not matter.

A refund takes what is left of a lot, and what was spent or held then as soon as it comes back. A dispute takes the same
when it is opened, all of it when it is lost (what was spent is owed), nothing when it is won. An upgrade that was
credited is taken back, and owed where it was spent.
"""

from dataclasses import dataclass
from datetime import datetime

from django.db import transaction

from billing.models import Clawback, PaidInvoice, PaymentRecord
from common.json_types import JsonObject
from credits import allowances, ledger, selectors
from credits.models import Grant

Cause = Clawback.Cause
# What is awaited of a lot, rather than owed.
AWAITED = (Cause.REFUND, Cause.DISPUTE)


@dataclass(kw_only=True)
class Target:
    """How many credits of one lot are to be taken back, by cause, and whether what was spent is owed then."""

    credits: dict[Cause, int]
    owes: dict[Cause, bool]
    about: str  # the payment or charge that it is written down with


@dataclass(frozen=True, kw_only=True)
class PaymentShare:
    """What one payment brought of a lot."""

    payment: PaymentRecord
    credits: int


def apply_targets(payment: PaymentRecord, *, source_key: str, about: str = "", now: datetime) -> int:
    """Sync every lot of a payment, and its allowance, with the money that is still here. Safe to repeat.

    `about` names its charge in the ledger. Answers how many credits were taken for refunds, in all.
    """
    invoice = PaidInvoice.objects.filter(stripe_invoice_id=payment.origin_id).first()
    grants = {grant.pk: grant for grant in selectors.grants_of_cause(payment.account_id, source_key)}
    if invoice is not None and invoice.promise:
        grants |= {grant.pk: grant for grant in selectors.grants_of_allowance(payment.account_id, invoice.promise)}
    for grant in grants.values():
        apply_target(grant, about=about or payment.origin_id, now=now)
    if invoice is not None and invoice.promise:
        _withhold_future_months(invoice, payment, now=now)
    keys = [grant.source_key for grant in grants.values()]
    result = Clawback.objects.filter(account=payment.account_id, grant_source_key__in=keys, cause=Cause.REFUND)
    return sum(result.values_list("taken", flat=True))


def apply_upgrade_targets(invoice_id: str, *, now: datetime) -> None:
    """Sync what upgrades added to a period with what they cost after all.

    Stripe's portal may take an upgrade back at once, and credit it: so much of its credits goes, and those that were
    spent are owed. It may go up once more: then they come back. (Our own page keeps an upgrade until the period ends.)
    """
    row = PaidInvoice.objects.filter(stripe_invoice_id=invoice_id).exclude(changed_period="").first()
    if row is None:
        return
    for change in PaidInvoice.objects.filter(account=row.account_id, changed_period=row.changed_period):
        for grant in selectors.grants_of_cause(row.account_id, f"stripe:invoice:{change.stripe_invoice_id}"):
            if grant.is_top_up:
                apply_target(grant, about=row.changed_period[:255], now=now)


def preview_clawback(grant: Grant, *, payment: PaymentRecord, refunded_minor: int) -> int:
    """How many credits of a lot would be taken back in all, if so much of a payment were refunded in all."""
    parts = [
        (part.credits, refunded_minor if part.payment.pk == payment.pk else part.payment.refunded_minor, part.payment)
        for part in payment_shares(grant)
    ]
    back = (
        credits * min(minor, of.total_minor) // of.total_minor for credits, minor, of in parts if of.total_minor > 0
    )
    return min(grant.whole, sum(back))


def clawed_back_of(grant: Grant) -> int:
    """How many credits of a lot were taken back so far."""
    rows = Clawback.objects.filter(account=grant.account_id, grant_source_key=grant.source_key)
    return max(sum(rows.values_list("taken", flat=True)), grant.withheld)


def payment_shares(grant: Grant) -> list[PaymentShare]:
    """The payments behind a lot, and how many of its credits each brought."""
    promise = grant.allowance if grant.allowance is not None and not grant.is_top_up else None
    key = promise.source_key if promise is not None else grant.source_key
    left = grant.whole
    origins = [(origin_of(key), left)]
    if promise is not None:
        rows = PaidInvoice.objects.filter(account=grant.account_id, promise=promise.source_key)
        rows = rows.filter(fulfilled_at__lte=max(grant.effective_at, promise.created_at)).order_by("fulfilled_at", "pk")
        # (Its own invoice comes first. An allowance that nobody wrote the months down of is all its own.)
        by_month = [(row.stripe_invoice_id, row.monthly_credits) for row in rows if row.monthly_credits]
        if by_month and by_month[0][0] == origins[0][0]:
            origins = by_month
    parts = []
    known = PaymentRecord.objects.in_bulk([origin for origin, _ in origins], field_name="origin_id")
    for origin, credits in origins:
        part = min(left, credits)
        left -= part
        if part and origin in known:
            parts.append(PaymentShare(payment=known[origin], credits=part))
    return parts


def origin_of(source_key: str) -> str:
    """The provider's id in a source key: the third of its parts."""
    return [*source_key.split(":"), "", ""][2]


def target_of(grant: Grant) -> Target:
    """How many credits of a lot are to be taken back, as the money behind it stands."""
    credits, owes = dict.fromkeys(Cause, 0), dict.fromkeys(Cause, False)
    about = ""
    for part in payment_shares(grant):
        payment = part.payment
        if payment.total_minor <= 0:
            continue
        refunded = part.credits * min(payment.refunded_minor, payment.total_minor) // payment.total_minor
        credits[Cause.REFUND] += refunded
        credits[Cause.DISPUTE] += part.credits * payment.gone_minor // payment.total_minor - refunded
        owes[Cause.REFUND] |= payment.is_mistake
        owes[Cause.DISPUTE] |= payment.is_lost
        about = about or payment.origin_id
    room = grant.whole - credits[Cause.REFUND] - credits[Cause.DISPUTE]
    credits[Cause.CHANGE] = min(room, _credited(grant))
    owes[Cause.CHANGE] = True
    return Target(credits=credits, owes=owes, about=about or grant.source_key)


def _credited(grant: Grant) -> int:
    """What of an upgrade's credits goes because the upgrade was credited again."""
    if not grant.is_top_up:
        return 0
    origin = origin_of(grant.source_key)
    row = PaidInvoice.objects.filter(stripe_invoice_id=origin).exclude(changed_period="").first()
    if row is None:
        return 0
    rows = PaidInvoice.objects.filter(account=row.account_id, changed_period=row.changed_period)
    changes = dict(rows.values_list("stripe_invoice_id", "change_minor"))
    paid = PaymentRecord.objects.filter(origin_id__in=changes, priced_minor__gt=0)
    cost = sum(paid.values_list("priced_minor", flat=True))
    gone = min(cost, max(0, cost - sum(changes.values())))
    return grant.whole * gone // cost if cost else 0


def apply_target(grant: Grant, *, about: str, now: datetime) -> None:
    """Take back of a lot, or give back, what is between its target and what was done before."""
    names: JsonObject = {"account_id": grant.account_id, "grant_source_key": grant.source_key}
    with transaction.atomic():
        target = target_of(grant)
        known = Clawback.objects.select_for_update().filter(**names)
        rows = {Cause(row.cause): row for row in known}
        if not rows and not grant.withheld and not any(target.credits.values()):
            return
        if not rows and grant.withheld:
            rows = _record_withheld(grant, target, about, now=now)
        _count_returned(rows, ledger.stop_awaiting(**names))
        for cause in (Cause.CHANGE, Cause.REFUND, Cause.DISPUTE):
            _apply_cause(grant, cause, target.credits[cause], about, with_debt=target.owes[cause], now=now)
        result = sum(row.taken + row.owed for row in known.filter(cause__in=AWAITED))
        missing = sum(target.credits[cause] for cause in AWAITED) - result
        ledger.await_return(**names, amount=max(0, missing), now=now)


def _record_withheld(grant: Grant, target: Target, about: str, *, now: datetime) -> dict[Cause, Clawback]:
    """Write down what the ledger took of a lot as it was given: for a refund first, the rest for a dispute."""
    by_refund = min(grant.withheld, target.credits[Cause.REFUND])
    rows = {}
    for cause, credits in ((Cause.REFUND, by_refund), (Cause.DISPUTE, grant.withheld - by_refund)):
        if credits:
            rows[cause] = Clawback.objects.create(
                account_id=grant.account_id,
                grant_source_key=grant.source_key,
                cause=cause,
                charge_id=about,
                target=credits,
                taken=credits,
                updated_at=now,
            )
    return rows


def _count_returned(rows: dict[Cause, Clawback], awaited: int) -> None:
    """Count what came back and was taken since: of what was awaited then, so much is awaited no more."""
    waiting = [rows[cause] for cause in AWAITED if cause in rows]
    returned = max(0, sum(row.target - row.taken - row.owed for row in waiting) - awaited)
    for row in waiting:
        part = min(returned, row.target - row.taken - row.owed)
        if part > 0:
            row.taken += part
            returned -= part
            row.save(update_fields=["taken"])


def _apply_cause(grant: Grant, cause: Cause, target: int, about: str, *, with_debt: bool, now: datetime) -> None:
    names: JsonObject = {"account_id": grant.account_id, "grant_source_key": grant.source_key}
    if target:
        new = Clawback(**names, cause=cause, charge_id=about, updated_at=now)
        Clawback.objects.bulk_create([new], ignore_conflicts=True)
    row = Clawback.objects.select_for_update().filter(**names, cause=cause).first()
    if row is None:
        return
    row.steps += 1
    step = {**names, "source_key": f"stripe:{cause}:{about}:{grant.source_key}:{row.steps}", "now": now}
    step |= {"description": f"{cause.label}: {about}", "actor": "stripe"}
    more = target - row.taken - row.owed
    if more > 0:
        revoked = ledger.revoke(**step, amount=more, create_debt=with_debt)
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
    row.charge_id = about
    row.updated_at = now
    row.save(update_fields=["target", "taken", "owed", "steps", "charge_id", "updated_at"])


def _withhold_future_months(invoice: PaidInvoice, payment: PaymentRecord, *, now: datetime) -> None:
    """Months of a year that are still to come are given as far as they are paid for, by the year and its upgrades."""
    withheld = invoice.monthly_credits * payment.gone_minor // payment.total_minor if payment.total_minor > 0 else 0
    PaidInvoice.objects.filter(pk=invoice.pk).update(withheld=withheld)
    rows = PaidInvoice.objects.filter(account=invoice.account_id, promise=invoice.promise)
    total = sum(rows.values_list("withheld", flat=True))
    allowances.withhold(account_id=invoice.account_id, source_key=invoice.promise, amount=total, now=now)
