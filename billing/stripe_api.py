"""Calls to Stripe: bounded in time, never inside a transaction, their failures told apart.

The official client is set up once (`configure`); dj-stripe uses the same one, so both go where we say.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import stripe
import structlog
from django.conf import settings
from django.db import connection

from billing.errors import (
    BillingError,
    PaymentDeclinedError,
    PaymentProviderUnavailableError,
    PriceNotSellableError,
    RefundRefusedError,
    TaxNumberRefusedError,
)
from billing.stripe_objects import Stripe, reference

logger = structlog.get_logger(__name__)

NETWORK_RETRIES = 2  # by the client, with its own backoff and the same idempotency key

# What we look at again when an event names it, and what has to be expanded to see all we need.
KINDS: dict[str, tuple[Any, list[str]]] = {
    "checkout.session": (stripe.checkout.Session, ["line_items", "payment_intent.latest_charge"]),
    "customer": (stripe.Customer, []),
    "invoice": (stripe.Invoice, []),
    "payment_intent": (stripe.PaymentIntent, ["latest_charge"]),
    "charge": (stripe.Charge, []),
    "dispute": (stripe.Dispute, []),
    "refund": (stripe.Refund, []),
    "payment_method": (stripe.PaymentMethod, []),
    "price": (stripe.Price, []),
    "product": (stripe.Product, []),
    "subscription": (stripe.Subscription, ["schedule"]),
}


class CallInTransactionError(RuntimeError):
    """A call to Stripe while a transaction holds locks: a defect of ours, found at once."""


class NotAtStripeError(BillingError):
    """Stripe does not know the object."""

    code = "not_found"
    title = "Stripe does not know this"
    status_code = 404


def configure() -> None:
    """Set the official client up for this process."""
    stripe.api_key = settings.STRIPE_SECRET_KEY
    stripe.api_version = settings.STRIPE_API_VERSION
    stripe.max_network_retries = NETWORK_RETRIES
    stripe.enable_telemetry = False
    stripe.default_http_client = stripe.RequestsClient(timeout=settings.STRIPE_TIMEOUT_S)
    if settings.STRIPE_API_BASE:
        stripe.api_base = settings.STRIPE_API_BASE


@contextmanager
def calling() -> Iterator[None]:
    """Around every call: refuses to be inside a transaction, and says what a failure means.

    Raises PaymentProviderUnavailableError when trying again may help.
    """
    # (A test's own surrounding transaction does not count, as for Django's durable blocks.)
    if any(not block._from_testcase for block in connection.atomic_blocks):  # type: ignore[attr-defined]
        raise CallInTransactionError("a call to Stripe inside a transaction would hold its locks")
    try:
        yield
    except (stripe.APIConnectionError, stripe.RateLimitError) as error:
        raise PaymentProviderUnavailableError(
            "The payment provider does not answer. Nothing was charged; please try again in a minute."
        ) from error
    except stripe.CardError as error:
        raise PaymentDeclinedError(
            error.user_message or "The card was declined.", reason=error.code or "card_declined"
        ) from error
    except stripe.InvalidRequestError as error:
        if error.http_status == 404:  # noqa: PLR2004 - HTTP
            raise NotAtStripeError(str(error)) from error
        raise
    except stripe.APIError as error:
        raise PaymentProviderUnavailableError(
            "The payment provider has a problem. Nothing was charged; please try again in a minute."
        ) from error


def retrieve(kind: str, identifier: str) -> Any:
    """The object as Stripe has it now (the client's own object). Raises NotAtStripeError."""
    resource, expand = KINDS[kind]
    with calling():
        return resource.retrieve(identifier, expand=expand)


def plain(found: Any) -> Stripe:
    """A client's object as a plain dictionary."""
    return cast(Stripe, json.loads(str(found)))


def origin_of_payment(payment_intent_id: str) -> tuple[str, str] | None:
    """What a payment was made for: a checkout session or an invoice, by its kind and id."""
    with calling():
        for session in stripe.checkout.Session.list(payment_intent=payment_intent_id, limit=1).data:
            return "checkout.session", session.id
        about = {"type": "payment_intent", "payment_intent": payment_intent_id}
        for paid in stripe.InvoicePayment.list(payment=cast(Any, about), limit=1).data:
            return "invoice", reference(paid.invoice)
    return ("payment_intent", payment_intent_id) if payment_intent_id else None


def why_refused(invoice_id: str) -> str:
    """Why the bank refused an invoice's latest payment, in Stripe's words; empty when it is not known."""
    with calling():
        tried = stripe.InvoicePayment.list(invoice=invoice_id, limit=1, expand=["data.payment.payment_intent"]).data
    for attempt in tried:
        intent = plain(attempt)["payment"].get("payment_intent")
        if isinstance(intent, dict):
            if intent["status"] == "requires_action":
                return "authentication_required"
            return str((intent.get("last_payment_error") or {}).get("code") or "")
    return ""


def disputes_of_charge(charge_id: str) -> list[Stripe]:
    """Every dispute about a charge."""
    with calling():
        return [plain(dispute) for dispute in stripe.Dispute.list(charge=charge_id, limit=100).data]


def create_refund(*, idempotency_key: str, payment_intent_id: str, amount_minor: int, reason: str) -> str:
    """Give money back; the id of the refund. Raises RefundRefusedError when Stripe will not."""
    with calling():
        try:
            made = stripe.Refund.create(
                payment_intent=payment_intent_id,
                amount=amount_minor,
                metadata={"reason": reason},
                idempotency_key=idempotency_key,
            )
        except stripe.InvalidRequestError as error:
            raise RefundRefusedError(f"Stripe refuses this refund: {error.user_message or error}") from error
    return str(made.id)


def create_customer(*, account_id: str, number: int, email: str, name: str) -> Any:
    """The customer of an account, its `number`th; called twice for one number, Stripe answers the same one."""
    with calling():
        return stripe.Customer.create(
            email=email,
            name=name,
            metadata={"djstripe_subscriber": account_id},
            idempotency_key=f"tegoed-customer-{account_id}-{number}",
        )


def delete_customer(customer_id: str) -> None:
    """Delete a customer at Stripe: what could still be charged to it ends. Raises NotAtStripeError."""
    with calling():
        stripe.Customer.delete(customer_id)


def update_customer(customer_id: str, **changes: Any) -> Any:
    with calling():
        return stripe.Customer.modify(customer_id, **changes)


def tax_ids_of(customer_id: str) -> list[Stripe]:
    """The tax numbers that a customer's invoices show."""
    with calling():
        return [plain(row) for row in stripe.Customer.list_tax_ids(customer_id, limit=100).data]


def set_tax_id(customer_id: str, *, kind: str, number: str) -> None:
    """Show this tax number on a customer's invoices, and no other; an empty one shows none.

    Raises TaxNumberRefusedError when Stripe will not take it.
    """
    known = tax_ids_of(customer_id)
    is_there = any((row["type"], row["value"]) == (kind, number) for row in known)
    with calling():
        if number and not is_there:
            try:
                stripe.Customer.create_tax_id(customer_id, type=cast(Any, kind), value=number)
            except stripe.InvalidRequestError as error:
                raise TaxNumberRefusedError(error.user_message or str(error)) from error
        for row in known:
            if (row["type"], row["value"]) != (kind, number):
                stripe.Customer.delete_tax_id(customer_id, row["id"])


def create_session(*, idempotency_key: str, **parameters: Any) -> Stripe:
    """A checkout session. Raises PriceNotSellableError when Stripe refuses the price."""
    with calling():
        try:
            return plain(stripe.checkout.Session.create(idempotency_key=idempotency_key, **parameters))
        except stripe.InvalidRequestError as error:
            if error.param and error.param.startswith("line_items"):
                raise PriceNotSellableError("This price cannot be bought right now.") from error
            raise


def create_payment(*, idempotency_key: str, **parameters: Any) -> Stripe:
    """A payment intent. Raises PaymentDeclinedError when it was to be confirmed and the bank said no."""
    with calling():
        return plain(stripe.PaymentIntent.create(idempotency_key=idempotency_key, **parameters))


def cancel_payment(payment_intent_id: str) -> None:
    """Close a payment that nobody should make any more; one that is made, or on its way, stays."""
    with calling():
        try:
            stripe.PaymentIntent.cancel(payment_intent_id)
        except stripe.InvalidRequestError as error:
            logger.info("payment_not_canceled", payment_intent_id=payment_intent_id, error=str(error))


def card_of_subscription(subscription: Stripe) -> str:
    """The fingerprint of the card that a subscription will be paid with; empty when there is none."""
    method_id = reference(subscription.get("default_payment_method"))
    with calling():
        if not method_id:
            customer = plain(stripe.Customer.retrieve(reference(subscription["customer"])))
            method_id = reference((customer.get("invoice_settings") or {}).get("default_payment_method"))
        if not method_id:
            return ""
        method = plain(stripe.PaymentMethod.retrieve(method_id))
    return str((method.get("card") or {}).get("fingerprint") or "")


def change_subscription(subscription_id: str, *, price_id: str, is_billed: bool) -> None:
    """Put another price in place now; `is_billed` for its difference at once. Raises PaymentDeclinedError."""
    with calling():
        current = plain(stripe.Subscription.retrieve(subscription_id))
        item = current["items"]["data"][0]
        stripe.Subscription.modify(
            subscription_id,
            items=[{"id": item["id"], "price": price_id}],
            proration_behavior="always_invoice" if is_billed else "none",
            payment_behavior="error_if_incomplete",
        )


def preview_change(subscription_id: str, *, price_id: str) -> Stripe:
    """The invoice that `change_subscription` would make, were it called now; nothing happens."""
    with calling():
        item = plain(stripe.Subscription.retrieve(subscription_id))["items"]["data"][0]
        details: Any = {"items": [{"id": item["id"], "price": price_id}], "proration_behavior": "always_invoice"}
        return plain(stripe.Invoice.create_preview(subscription=subscription_id, subscription_details=details))


def pay_invoice(invoice_id: str) -> None:
    """Collect an open invoice now. Raises PaymentDeclinedError; one that is paid or void already stays so."""
    with calling():
        try:
            stripe.Invoice.pay(invoice_id)
        except stripe.InvalidRequestError as error:
            logger.info("invoice_not_paid", invoice_id=invoice_id, error=str(error))


def move_next_payment(subscription_id: str, *, to: int, idempotency_key: str) -> None:
    """Let the next payment of a subscription be at another time, and bill nothing for the time until then."""
    with calling():
        stripe.Subscription.modify(
            subscription_id, trial_end=to, proration_behavior="none", idempotency_key=f"tegoed-{idempotency_key}"
        )


def plan_change(subscription_id: str, *, price_id: str) -> None:
    """Put another price in place when the running period ends."""
    with calling():
        schedule = plain(stripe.SubscriptionSchedule.create(from_subscription=subscription_id))
        (phase,) = schedule["phases"]
        item = phase["items"][0]
        now = {"price": reference(item["price"]), "quantity": item["quantity"]}
        then = {"price": price_id, "quantity": item["quantity"]}
        phases: Any = [
            {"items": [now], "start_date": phase["start_date"], "end_date": phase["end_date"]},
            {"items": [then], "proration_behavior": "none"},
        ]
        stripe.SubscriptionSchedule.modify(schedule["id"], phases=phases, end_behavior="release")


def release_schedule(schedule_id: str) -> None:
    """Let a subscription go on as it is."""
    with calling():
        stripe.SubscriptionSchedule.release(schedule_id)


def update_subscription(subscription_id: str, **changes: Any) -> None:
    with calling():
        stripe.Subscription.modify(subscription_id, **changes)


def cancel_subscription(subscription_id: str) -> None:
    """End a subscription now."""
    with calling():
        stripe.Subscription.cancel(subscription_id)


def expire_session(session_id: str) -> None:
    """Close a payment page that nobody should pay on any more; one that is closed already stays so."""
    with calling():
        try:
            stripe.checkout.Session.expire(session_id)
        except stripe.InvalidRequestError as error:
            logger.info("session_not_expired", session_id=session_id, error=str(error))


def payments_of_invoice(invoice_id: str) -> list[tuple[str, int]]:
    """What an invoice was paid with: payment intents, and how much each."""
    with calling():
        found = stripe.InvoicePayment.list(invoice=invoice_id, status="paid", limit=100).data
    rows = [plain(row) for row in found]
    return [(reference(row["payment"]["payment_intent"]), row["amount_paid"]) for row in rows]


def events_since(since: int) -> Iterator[Stripe]:
    """Every event that Stripe still has (thirty days), latest first."""
    with calling():
        for event in stripe.Event.list(limit=100, created={"gte": since}).auto_paging_iter():
            yield plain(event)


def create_portal_session(*, customer_id: str, return_url: str) -> str:
    """The address of the billing portal for this customer; it works for some minutes."""
    with calling():
        return str(stripe.billing_portal.Session.create(customer=customer_id, return_url=return_url).url)


def list_all(kind: str, **filters: Any) -> Iterator[Any]:
    """Every object of a kind, page by page."""
    resource, _ = KINDS[kind]
    with calling():
        yield from resource.list(limit=100, **filters).auto_paging_iter()
