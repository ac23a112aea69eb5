"""Rebuilding billing's credits from what Stripe knows, on a ledger that is empty.

Each payment is synced as its webhook would have been, in the order in which they were made and as of then: so the
grants are the same, with the same dates. Orders that are gone as well are made from what their sessions say of them,
and accounts from what their customers do.
"""

import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog

from accounts import opening
from billing.catalogue import price_sync
from billing.errors import BillingError, FulfilmentError, LedgerNotEmptyError, PaymentProviderUnavailableError
from billing.models import Order, Price, Promotion
from billing.stripe import djstripe_store, lookup, payloads, stripe_client
from billing.stripe.payloads import Stripe
from billing.webhooks import sync
from common.public_ids import MalformedIdError, parse_id
from credits import selectors

logger = structlog.get_logger(__name__)

Watch = Callable[[Iterable[Any]], Iterable[Any]]


@dataclass(frozen=True, kw_only=True)
class Step:
    """One thing to sync, as of when it happened."""

    at: datetime
    kind: str
    object_id: str


@dataclass(frozen=True, kw_only=True)
class Rebuilt:
    """What became of it: how many steps went well, and what could not be placed."""

    done: int
    failed: list[str]


def rebuild(*, watch: Watch = iter) -> Rebuilt:
    """Grant all that Stripe was paid for. Raises LedgerNotEmptyError, and PaymentProviderUnavailableError."""
    if selectors.has_paid_grants():
        raise LedgerNotEmptyError("The ledger holds paid grants already. `reconcile --repair` adds what is missing.")
    price_sync.pull()
    for customer in stripe_client.list_all("customer"):
        _restore_account(stripe_client.plain(customer))
        djstripe_store.store("customer", customer)
    result, failed = 0, []
    for step in watch(sorted(steps(), key=lambda step: step.at)):
        try:
            _restore_order(step)
            sync.sync_object(kind=step.kind, object_id=step.object_id, now=step.at)
            result += 1
        except PaymentProviderUnavailableError:
            raise  # and not as if these payments could not be placed
        except (BillingError, FulfilmentError) as error:
            failed.append(f"{step.kind} {step.object_id}: {error}")
            logger.warning("cannot_be_rebuilt", kind=step.kind, object_id=step.object_id, error=str(error))
    return Rebuilt(done=result, failed=failed)


def steps() -> Iterable[Step]:
    """Everything at Stripe that bears on credits, each with its moment; in no order."""
    for result in stripe_client.list_all("checkout.session", status="complete"):
        session = stripe_client.plain(result)
        if session["mode"] == "payment" and payloads.session_order_id(session).startswith("co_"):
            yield Step(at=_paid_at(session), kind="checkout.session", object_id=session["id"])
    for result in stripe_client.list_all("invoice", status="paid"):
        invoice = stripe_client.plain(result)
        if paid_at := payloads.paid_at(invoice):
            yield Step(at=paid_at, kind="invoice", object_id=invoice["id"])
    for result in stripe_client.list_all("payment_intent"):
        intent = stripe_client.plain(result)
        if payloads.is_paid_here(intent):
            yield Step(at=_charged_at(intent), kind="payment_intent", object_id=intent["id"])
    for result in stripe_client.list_all("refund"):
        yield Step(at=payloads.moment(result.created), kind="refund", object_id=result.id)
    for result in stripe_client.list_all("dispute"):
        yield Step(at=payloads.moment(result.created), kind="dispute", object_id=result.id)
    for result in stripe_client.list_all("subscription", status="all"):
        subscription = stripe_client.plain(result)
        last = subscription.get("ended_at") or subscription["start_date"]
        yield Step(at=payloads.moment(last), kind="subscription", object_id=subscription["id"])


def _paid_at(session: Stripe) -> datetime:
    intent_id = payloads.reference(session.get("payment_intent"))
    if not intent_id:  # a code took it all off
        return payloads.moment(session["created"])
    return _charged_at(stripe_client.plain(stripe_client.retrieve("payment_intent", intent_id)))


def _charged_at(intent: Stripe) -> datetime:
    """When the money came: a delayed payment's charge is later than its checkout."""
    charge = intent.get("latest_charge")
    if isinstance(charge, str):
        charge = stripe_client.plain(stripe_client.retrieve("charge", charge))
    return payloads.moment((charge or intent)["created"])


def _restore_account(customer: Stripe) -> None:
    """Make the account that a customer's metadata names again if it is gone, with a user of the customer's address.

    Whoever has that address signs in as ever: by a code that is mailed, or a new password. What names an address of an
    account that there is (somebody has signed up meanwhile) goes to that one.
    """
    named = (customer.get("metadata") or {}).get("djstripe_subscriber")
    try:
        account_id = uuid.UUID(str(named))
    except ValueError:
        return  # another product's
    since = payloads.moment(customer["created"])
    account = lookup.resolve_named_account(named) or opening.restore(
        account_id=account_id, email=str(customer.get("email") or ""), name=str(customer.get("name") or ""), now=since
    )
    djstripe_store.record_customer(customer["id"], account, email=str(customer.get("email") or ""), now=since)


def _restore_order(step: Step) -> None:
    """Make the order of a payment again if it is gone, from what we had Stripe note down when it began."""
    if step.kind not in ("checkout.session", "payment_intent"):
        return
    result = stripe_client.plain(stripe_client.retrieve(step.kind, step.object_id))
    noted = result.get("metadata") or {}
    try:
        order_id = parse_id("co", noted.get("order") or "")
    except MalformedIdError:
        return
    account = djstripe_store.account_of_customer(payloads.customer_id(result))
    price = _price_of(result, noted)
    if account is None or price is None or Order.objects.filter(pk=order_id).exists():
        return
    is_session = step.kind == "checkout.session"
    line = result["line_items"]["data"][0] if is_session else {}
    quantity = line.get("quantity") or 1
    # What the order gave; where that was not noted, what the pack gives today.
    credits = int(noted.get("credits") or (price.pack.credits * quantity if price.pack else 0))
    Order.objects.create(
        id=order_id,
        account=account,
        price=price,
        quantity=quantity,
        description=line.get("description") or result.get("description") or "",
        credits=credits,
        bonus_credits=int(noted.get("bonus_credits") or 0),
        promotion_credits=int(noted.get("promotion_credits") or 0),
        promotion=Promotion.objects.filter(code=noted.get("promotion") or "").first(),
        amount_minor=result["amount_subtotal"] if is_session else result["amount"],
        currency=result["currency"],
        ui=Order.Ui.REDIRECT if is_session else UI_OF_KIND[noted["kind"]],
        idempotency_key=f"rebuilt:{step.object_id}",
        stripe_session_id=step.object_id if is_session else None,
        payment_id=None if is_session else step.object_id,
        actor="rebuilt",
        created_at=payloads.moment(result["created"]),
    )


def _price_of(found: Stripe, noted: Stripe) -> Price | None:
    lines = (found.get("line_items") or {}).get("data") or []
    price_id = payloads.reference(lines[0]["price"]) if lines else noted.get("price") or ""
    return Price.objects.filter(stripe_price_id=price_id).first()


UI_OF_KIND = {payloads.CARD_FORM: Order.Ui.ELEMENTS, payloads.TOP_UP: Order.Ui.OFF_SESSION}
