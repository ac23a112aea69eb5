"""Does what Stripe was paid agree with what we granted? Looked at from both sides, and mended from Stripe's.

A webhook that never came, a worker that was down for days, a grant without a payment: all show here. Mending brings
each object, as its webhook would have; that is safe however often it is done. What we granted and Stripe was
not paid for is reported and left to a person.
"""

import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog

from accounts.models import Account
from billing.clawbacks import clawbacks
from billing.errors import BillingError, FulfilmentError
from billing.fulfilment import duplicate_detection
from billing.models import RUNNING, Order, PaidInvoice, PaymentRecord, Subscription
from billing.payments import manual_settlement
from billing.stripe import djstripe_store, lookup, payloads, stripe_client
from billing.stripe.payloads import Stripe
from billing.webhooks import late_payments, sync
from common.json_types import JsonObject
from credits import selectors

logger = structlog.get_logger(__name__)

# How the ledger's source keys name what was paid.
PREFIXES = {
    "checkout.session": "stripe:session:",
    "invoice": "stripe:invoice:",
    "payment_intent": "stripe:payment_intent:",
}

Watch = Callable[[Iterable[Any]], Iterable[Any]]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One thing that Stripe and we do not agree about. `kind` and `object_id` name it at Stripe."""

    kind: str
    object_id: str
    problem: str
    can_be_mended: bool = True
    account_id: uuid.UUID | None = None


def differences(*, since: datetime, watch: Watch = iter) -> Iterator[Difference]:
    """Everything that differs among what happened since then and is not settled. Asks Stripe for all of it."""
    for row in _all_differences(since=since, watch=watch):
        if not manual_settlement.is_settled(row.kind, row.object_id, row.problem):
            yield row


def _all_differences(*, since: datetime, watch: Watch) -> Iterator[Difference]:
    created = {"gte": int(since.timestamp())}
    paid: set[str] = set()
    for result in watch(stripe_client.list_all("checkout.session", created=created)):
        yield from _of_session(stripe_client.plain(result), paid)
    for result in watch(stripe_client.list_all("invoice", created=created, status="paid")):
        yield from _of_invoice(stripe_client.plain(result), paid)
    for result in watch(stripe_client.list_all("charge", created=created)):
        yield from _of_charge(stripe_client.plain(result))
    for result in watch(stripe_client.list_all("payment_intent", created=created)):
        yield from _of_intent(stripe_client.plain(result), paid)
    yield from _of_subscriptions(watch)
    for kind, prefix in PREFIXES.items():
        # An allowance's months, a bonus and a promotion are named after the payment that brought them.
        ours = {key.removeprefix(prefix).partition(":")[0] for key in selectors.granted_since(prefix, since)}
        for object_id in sorted(ours):
            if f"{prefix}{object_id}" not in paid and not _is_paid(kind, object_id):
                problem = "credits were granted, and Stripe knows of no payment"
                yield Difference(kind=kind, object_id=object_id, problem=problem, can_be_mended=False)


def repair(difference: Difference, *, now: datetime) -> bool:
    """Sync one object; False, and a line in the log, when it cannot be."""
    if not difference.can_be_mended:
        return False
    try:
        return sync.sync_object(kind=difference.kind, object_id=difference.object_id, now=now)
    except (BillingError, FulfilmentError) as error:
        logger.warning("cannot_be_mended", kind=difference.kind, object_id=difference.object_id, error=str(error))
        return False


def _of_session(session: Stripe, paid: set[str]) -> Iterator[Difference]:
    account = djstripe_store.account_of_customer(payloads.customer_id(session))
    about: JsonObject = {"kind": "checkout.session", "object_id": session["id"], "account_id": _id(account)}
    order = Order.objects.filter(stripe_session_id=session["id"]).first()
    is_paid = session["payment_status"] in ("paid", "no_payment_required")
    if session["mode"] == "payment" and session["status"] == "complete" and is_paid:
        source_key = f"stripe:session:{session['id']}"
        paid.add(source_key)
        if account is None or order is None:
            # A checkout of a stranger's, started elsewhere in the same Stripe account, is none of our business.
            if payloads.session_order_id(session).startswith("co_"):
                yield Difference(**about, problem="paid, by a customer or for an order that we do not know")
            elif account is not None and account.closed_at is None:
                yield Difference(**about, problem="paid by a customer of ours, and no order of ours")
        elif order.status == Order.Status.SETTLED:
            pass
        elif account.closed_at is not None:
            yield from _of_closed("checkout.session", session)
        elif not selectors.is_granted(account.pk, source_key):
            yield Difference(**about, problem="paid, and not granted")
    elif order is not None and order.is_waiting and _has_moved_on(session, order):
        yield Difference(**about, problem=f"is {session['status']}, and its order still waits")


def _has_moved_on(session: Stripe, order: Order) -> bool:
    """Whether a waiting order's session waits for nothing any more, or (a delayed payment) for something else."""
    if session["status"] != "complete":
        return bool(session["status"] == "expired")
    if session["mode"] == "subscription" or order.status == Order.Status.OPEN:
        return True
    return payloads.session_failed(stripe_client.plain(stripe_client.retrieve("checkout.session", session["id"])))


def _of_invoice(invoice: Stripe, paid: set[str]) -> Iterator[Difference]:
    paid.add(f"{PREFIXES['invoice']}{invoice['id']}")
    if not payloads.invoice_subscription_id(invoice):
        return
    account = djstripe_store.account_of_customer(payloads.customer_id(invoice))
    if account is not None and account.closed_at is not None:
        yield from _of_closed("invoice", invoice)
        return
    is_extra = duplicate_detection.is_duplicate(payloads.invoice_subscription_id(invoice))
    if (
        account is not None
        and not is_extra
        and not PaidInvoice.objects.filter(stripe_invoice_id=invoice["id"]).exists()
    ):
        problem = "paid, and its credits are not promised"
        yield Difference(kind="invoice", object_id=invoice["id"], problem=problem, account_id=account.pk)
    if account is not None:
        yield from _of_credit_notes(invoice, account)


def _of_credit_notes(invoice: Stripe, account: Account) -> Iterator[Difference]:
    """Whether credits agree with what credit notes took off an invoice."""
    known = PaymentRecord.objects.filter(origin_id=invoice["id"]).values_list("credited_minor", flat=True).first()
    lowered = invoice.get("post_payment_credit_notes_amount") or invoice.get("pre_payment_credit_notes_amount")
    if known is None or not (known or lowered):
        return
    credited = stripe_client.credited_on_invoice(str(invoice["id"]))
    if credited != known:
        problem = f"{credited} taken off by credit notes, here {known}"
        about = stripe_client.latest_credit_note(str(invoice["id"]))
        yield Difference(kind="credit_note", object_id=about, problem=problem, account_id=account.pk)


def _of_closed(kind: str, current: Stripe) -> Iterator[Difference]:
    """What was paid after an account was closed is given back by itself."""
    current = stripe_client.plain(stripe_client.retrieve(kind, current["id"]))
    if late_payments.is_late_payment(kind, current) and not late_payments.is_refunded(kind, current):
        yield Difference(kind=kind, object_id=current["id"], problem="paid after the account was closed")


def _of_subscriptions(watch: Watch) -> Iterator[Difference]:
    """Plans that run at Stripe, or here, and are not the same in both places."""
    seen = set()
    for result in watch(stripe_client.list_all("subscription")):
        seen.add(str(result.id))
        yield from _of_subscription(stripe_client.plain(result))
    ours = Subscription.objects.filter(status__in=RUNNING).exclude(stripe_subscription_id__in=seen)
    for object_id in ours.values_list("stripe_subscription_id", flat=True):
        yield from _of_subscription(stripe_client.plain(stripe_client.retrieve("subscription", object_id)))


def _of_subscription(subscription: Stripe) -> Iterator[Difference]:
    account = djstripe_store.account_of_customer(payloads.customer_id(subscription))
    if account is None:
        return
    subscription = lookup.with_plan_first(subscription)
    known = Subscription.objects.filter(stripe_subscription_id=subscription["id"]).select_related("price").first()
    theirs = {
        "status": subscription["status"],
        "price": payloads.subscription_price_id(subscription),
        "ends then": payloads.cancels_at(subscription) is not None,
        "until": payloads.subscription_period_end(subscription),
        "paused": payloads.subscription_pause(subscription)[0],
        "schedule": payloads.reference(subscription.get("schedule")),
        "waiting invoice": waits[2] if (waits := payloads.pending_update(subscription)) else "",
    }
    about: JsonObject = {"kind": "subscription", "object_id": subscription["id"], "account_id": account.pk}
    if known is None:
        yield Difference(**about, problem="is not known here")
        return
    ours = {
        "status": known.status,
        "price": known.price.stripe_price_id,
        "ends then": known.cancel_at_period_end,
        "until": known.current_period_end,
        "paused": known.is_paused,
        "schedule": known.stripe_schedule_id,
        "waiting invoice": known.pending_invoice_id,
    }
    if reported := [f"{name} is {theirs[name]}, here {ours[name]}" for name in theirs if theirs[name] != ours[name]]:
        yield Difference(**about, problem="; ".join(reported))


def _of_intent(intent: Stripe, paid: set[str]) -> Iterator[Difference]:
    """A card form's payment, or a top-up's: those of checkouts and invoices are looked at there."""
    if not payloads.is_paid_here(intent) or intent["status"] != "succeeded":
        return
    source_key = f"{PREFIXES['payment_intent']}{intent['id']}"
    paid.add(source_key)
    account = djstripe_store.account_of_customer(payloads.customer_id(intent))
    if account is not None and account.closed_at is not None:
        yield from _of_closed("payment_intent", intent)
    elif account is None or not selectors.is_granted(account.pk, source_key):
        order = Order.objects.filter(payment_id=intent["id"], status=Order.Status.SETTLED)
        if not order.exists():
            problem = "paid, and not granted"
            yield Difference(kind="payment_intent", object_id=intent["id"], problem=problem, account_id=_id(account))


def _of_charge(charge: Stripe) -> Iterator[Difference]:
    account = djstripe_store.account_of_customer(payloads.customer_id(charge))
    if not clawbacks.has_money_back(charge) or account is None or account.closed_at is not None:
        return  # (another product may share the Stripe account)
    disputes = stripe_client.disputes_of_charge(charge["id"])
    if not clawbacks.is_reconciled(charge, disputes) and not _paid_for_an_extra_plan(charge):
        problem = f"{clawbacks.standing(charge, disputes)}; credits are not in line with it"
        yield Difference(kind="charge", object_id=charge["id"], problem=problem, account_id=account.pk)


def _paid_for_an_extra_plan(charge: Stripe) -> bool:
    """Whether a charge was for a plan that was one too many: that gave nothing, and so nothing is taken back."""
    result = stripe_client.origin_of_payment(payloads.reference(charge.get("payment_intent")))
    if not result or result[0] != "invoice":
        return False
    invoice = stripe_client.plain(stripe_client.retrieve(*result))
    return duplicate_detection.is_duplicate(payloads.invoice_subscription_id(invoice))


def _id(account: Account | None) -> uuid.UUID | None:
    return account.pk if account else None


def _is_paid(kind: str, object_id: str) -> bool:
    """Whether an object that was made before the span is paid all the same."""
    try:
        result = stripe_client.plain(stripe_client.retrieve(kind, object_id))
    except stripe_client.NotAtStripeError:
        return False
    return bool(
        result.get("status") in ("paid", "succeeded") or result.get("payment_status") in ("paid", "no_payment_required")
    )
