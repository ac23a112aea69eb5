"""Calls to Stripe: bounded in time, never inside a transaction, their failures distinguished.

The official client is set up once (`configure`); dj-stripe uses the same one, so both go where we say.
"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast

import stripe
import structlog
from django.conf import settings
from django.db import connection

from billing.errors import (
    AddressNeededError,
    BillingError,
    CurrencyMixError,
    PaymentActionRequiredError,
    PaymentDeclinedError,
    PaymentProviderKeyError,
    PaymentProviderRefusedError,
    PaymentProviderUnavailableError,
    PortalNotSetUpError,
    PriceNotSellableError,
    RefundRefusedError,
    StaleCustomerError,
    TaxNumberRefusedError,
)
from billing.stripe import payloads
from billing.stripe.payloads import Stripe, reference
from common import clock
from common.json_types import JsonObject
from outbox import alerts
from outbox.models import Alert

logger = structlog.get_logger(__name__)

KEY_SPAN = timedelta(minutes=10)
PRORATION_STEP_S = 600
NETWORK_RETRIES = 2  # by the client, with its own backoff and the same idempotency key

# What we look at again when an event names it, and what has to be expanded to see all we need.
KINDS: dict[str, tuple[Any, list[str]]] = {
    "checkout.session": (stripe.checkout.Session, ["line_items", "payment_intent.latest_charge"]),
    "customer": (stripe.Customer, []),
    # dj-stripe reads discounts as objects; by themselves they are ids.
    "invoice": (stripe.Invoice, ["discounts", "lines.data.discounts"]),
    "payment_intent": (stripe.PaymentIntent, ["latest_charge"]),
    "charge": (stripe.Charge, []),
    "dispute": (stripe.Dispute, []),
    "refund": (stripe.Refund, []),
    "payment_method": (stripe.PaymentMethod, []),
    "price": (stripe.Price, []),
    "product": (stripe.Product, []),
    "subscription": (stripe.Subscription, ["schedule"]),
    "credit_note": (stripe.CreditNote, []),
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
    if any(not block._from_testcase for block in connection.atomic_blocks):  # type: ignore[attr-defined]  # Django's own mark
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
    except (stripe.AuthenticationError, stripe.PermissionError) as error:
        _alert_operators(error, "key")
        raise PaymentProviderKeyError("Payments are not set up right. We were told; please try again later.") from error
    except stripe.IdempotencyError as error:
        raise PaymentProviderUnavailableError(
            "The payment provider remembers another attempt. Please try again in a minute."
        ) from error
    except stripe.InvalidRequestError as error:
        raise _refusal(error) from error
    except stripe.APIError as error:
        raise PaymentProviderUnavailableError(
            "The payment provider has a problem. Nothing was charged; please try again in a minute."
        ) from error


def _refusal(error: stripe.InvalidRequestError) -> BillingError:
    """What a request that Stripe does not take means. What is our mistake, or a person's to mend, is alerted."""
    text = str(error.user_message or error)
    if error.code == "resource_missing" and error.param == "customer":
        return StaleCustomerError(text)
    if error.http_status == 404 or error.code == "resource_missing":  # noqa: PLR2004 - HTTP
        return NotAtStripeError(text)
    if "combine currencies" in text:
        return CurrencyMixError("You pay in another currency already. Choose a price in that currency.")
    if "portal" in text and ("configuration" in text or "settings" in text):
        _alert_operators(error, "portal")
        return PortalNotSetUpError("The billing portal is not set up yet. We were told; please try again later.")
    _alert_operators(error, error.param or error.code or "request")
    return PaymentProviderRefusedError("The payment provider does not take this request. We were told.")


def _alert_operators(error: stripe.StripeError, subject: str) -> None:
    logger.error("stripe_refused", subject=subject, error=str(error), request_id=error.request_id)
    detail = f"{error} (Stripe's request {error.request_id})."
    alerts.raise_alert(Alert.Kind.PROVIDER, f"stripe:{subject}"[:255], detail=detail, now=clock.now())


def with_all_lines(invoice: Stripe) -> Stripe:
    """An invoice with all of its lines: by itself it shows ten."""
    if not payloads.has_more_lines(invoice):
        return invoice
    with calling():
        result = stripe.Invoice.list_lines(invoice["id"], limit=100, expand=["data.discounts"]).auto_paging_iter()
        lines = [plain(line) for line in result]
    return {**invoice, "lines": {**invoice["lines"], "data": lines, "has_more": False}}


def retrieve(kind: str, identifier: str) -> Any:
    """The object as Stripe has it now (the client's own object). Raises NotAtStripeError."""
    resource, expand = KINDS[kind]
    with calling():
        return resource.retrieve(identifier, expand=expand)


def plain(found: Any) -> Stripe:
    """A client's object as a plain dictionary."""
    return cast(Stripe, found.to_dict(for_json=True))


def origin_of_payment(payment_intent_id: str) -> tuple[str, str] | None:
    """What a payment was made for: a checkout session or an invoice, by its kind and id."""
    with calling():
        for session in stripe.checkout.Session.list(payment_intent=payment_intent_id, limit=1).data:
            return "checkout.session", session.id
        about = {"type": "payment_intent", "payment_intent": payment_intent_id}
        for paid in stripe.InvoicePayment.list(payment=cast(Any, about), limit=1).data:
            return "invoice", reference(paid.invoice)
    return ("payment_intent", payment_intent_id) if payment_intent_id else None


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """How the latest payment of an invoice stands (docs.stripe.com/payments/paymentintents/lifecycle)."""

    status: str  # of the payment; empty when there is none
    why: str = ""  # it was refused

    @property
    def is_refused(self) -> bool:
        """Whether nothing is on its way: neither the customer's approval, nor the bank's answer, nor the money."""
        return self.status in ("", "requires_payment_method", "canceled")

    @property
    def needs_owner(self) -> bool:
        return self.status == "requires_action"


def attempt_of_invoice(invoice_id: str) -> Attempt:
    """How an invoice's latest payment stands."""
    with calling():
        tried = stripe.InvoicePayment.list(invoice=invoice_id, limit=1, expand=["data.payment.payment_intent"]).data
    for attempt in tried:
        intent = plain(attempt)["payment"].get("payment_intent")
        if isinstance(intent, dict):
            why = str((intent.get("last_payment_error") or {}).get("code") or "")
            return Attempt(status=str(intent["status"]), why=why)
    return Attempt(status="")


def disputes_of_charge(charge_id: str) -> list[Stripe]:
    """Every dispute about a charge."""
    with calling():
        return [plain(dispute) for dispute in stripe.Dispute.list(charge=charge_id, limit=100).data]


def create_refund(*, idempotency_key: str, payment_intent_id: str, amount_minor: int, reason: str) -> str:
    """Give money back; the id of the refund. Raises RefundRefusedError when Stripe will not.

    One key is one refund, also after the day for which Stripe remembers keys: the refund says whose it is.
    """
    with calling():
        for known in stripe.Refund.list(payment_intent=payment_intent_id, limit=100).auto_paging_iter():
            if (plain(known).get("metadata") or {}).get("key") == idempotency_key:
                return str(known.id)
        try:
            created = stripe.Refund.create(
                payment_intent=payment_intent_id,
                amount=amount_minor,
                metadata={"reason": reason, "key": idempotency_key},
                idempotency_key=idempotency_key,
            )
        except stripe.InvalidRequestError as error:
            raise RefundRefusedError(f"Stripe refuses this refund: {error.user_message or error}") from error
    return str(created.id)


def create_customer(*, account_id: str, number: int, email: str, name: str) -> Any:
    """The customer of an account, its `number`th; called twice for the same, Stripe answers the same one.

    What may change between two calls is part of the key: else a lost answer would lock the customer out for a day.
    """
    about: JsonObject = {"email": email, "name": name, "metadata": {"djstripe_subscriber": account_id}}
    midnight = clock.now().replace(hour=0, minute=0, second=0, microsecond=0)
    key = _key(f"tegoed-customer-{account_id}-{number}", about, since=midnight)
    with calling():
        return stripe.Customer.create(**about, idempotency_key=key)


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


def create_session(*, order: str, asked_at: datetime, **parameters: Any) -> Stripe:
    """A checkout session for an order of then. Raises PriceNotSellableError when Stripe refuses the price."""
    with calling():
        try:
            key = _key(f"tegoed-{order}", parameters, since=asked_at)
            return plain(stripe.checkout.Session.create(idempotency_key=key, **parameters))
        except stripe.InvalidRequestError as error:
            if error.param and error.param.startswith("line_items"):
                raise PriceNotSellableError("This price cannot be bought right now.") from error
            raise


def create_payment(*, order: str, customer: str, is_repeated: bool = False, **parameters: Any) -> Stripe:
    """A payment intent of an order. Raises PaymentDeclinedError when it was to be confirmed and the bank said no.

    One order is one payment: when it is asked for again (`is_repeated`: its answer was lost, Stripe failed inside, or a
    day has passed, after which Stripe forgets keys) the payment that there is decides, whatever has changed since.
    """
    if is_repeated and (known := payment_of_order(order, customer=customer)):
        return known
    key = f"tegoed-{order}"
    with calling():
        if is_repeated:
            # Stripe answers a key that failed inside with the same failure for a day.
            key = f"{key}-{clock.now():%Y%m%d%H}"
        try:
            return plain(stripe.PaymentIntent.create(idempotency_key=key, customer=customer, **parameters))
        except stripe.IdempotencyError:
            if known := payment_of_order(order, customer=customer):
                return known
            raise


def payment_of_order(order: str, *, customer: str) -> Stripe | None:
    """The payment that a customer's order has at Stripe; None when there is none."""
    with calling():
        for result in stripe.PaymentIntent.list(customer=customer, limit=100).auto_paging_iter():
            known = plain(result)
            if (known.get("metadata") or {}).get("order") == order:
                return known
    return None


def calculate_tax(*, customer_id: str, price_id: str, amount_minor: int, currency: str) -> Stripe:
    """What tax a payment without a payment page carries (docs.stripe.com/tax/payment-intent).

    Raises AddressNeededError when the customer's address does not say where they are.
    """
    price = plain(retrieve("price", price_id))
    # The product says what kind of goods it is.
    line: Any = {"amount": amount_minor, "reference": price_id, "product": reference(price["product"])}
    behavior = price.get("tax_behavior")
    with calling():
        if behavior not in ("inclusive", "exclusive"):
            # On a payment page, a price that does not say follows the account's own setting.
            behavior = (plain(stripe.tax.Settings.retrieve()).get("defaults") or {}).get("tax_behavior")
        if behavior in ("inclusive", "exclusive"):
            line["tax_behavior"] = behavior
        try:
            created = stripe.tax.Calculation.create(
                customer=customer_id,
                currency=currency,
                line_items=[line],
            )
        except stripe.InvalidRequestError as error:
            if error.code == "customer_tax_location_invalid" or "address" in (error.param or ""):
                raise AddressNeededError("Fill in the address on your invoices first: VAT depends on it.") from error
            raise
        return plain(created)


def saved_card(customer_id: str) -> str:
    """The payment method that a customer left for later: the default one, else the newest card; empty for none."""
    with calling():
        customer = plain(stripe.Customer.retrieve(customer_id))
        if default := reference((customer.get("invoice_settings") or {}).get("default_payment_method")):
            return default
        for method in stripe.PaymentMethod.list(customer=customer_id, type="card", limit=1).data:
            return str(method.id)
    return ""


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


def _key(name: str, parameters: JsonObject, *, since: datetime) -> str:
    """An idempotency key for a request that may be recreated: with other parameters, or later.

    (An answer of 500 is repeated for its key for a day: a new try has a key of its own, every ten minutes counted from
    `since`. What is made twice by that is a page or a customer that nobody has seen.)
    """
    reported = json.dumps(parameters, sort_keys=True, default=str)
    span = (clock.now() - since) // KEY_SPAN
    return f"{name}-{hashlib.sha256(reported.encode()).hexdigest()[:16]}-{span}"


def _item_of(items: list[Any], price_id: str) -> Any:
    """The item of a price, among add-ons; the first one, if that price was changed meanwhile."""
    return next((item for item in items if reference(item["price"]) == price_id), items[0])


def _change_of(subscription: Stripe, old_price_id: str, price_id: str, *, begins_anew: bool) -> JsonObject:
    """A change of price that is billed at once, the same for its preview.

    A price of another interval begins a period of its own now. (In flexible billing mode nothing else moves the
    anchor: docs.stripe.com/billing/subscriptions/billing-mode/compare.) Otherwise it is prorated from the last ten
    minutes' beginning, so that what was shown is what is charged
    (docs.stripe.com/billing/subscriptions/prorations#preview-proration).
    """
    item = _item_of(subscription["items"]["data"], old_price_id)
    now = int(clock.now().timestamp())
    since = max(now - now % PRORATION_STEP_S, int(item["current_period_start"]))
    return {
        "items": [{"id": item["id"], "price": price_id}],
        "proration_behavior": "always_invoice",
        **({"billing_cycle_anchor": "now"} if begins_anew else {"proration_date": since}),
    }


def change_subscription(
    subscription_id: str, *, old_price_id: str, price_id: str, is_billed: bool, begins_anew: bool
) -> None:
    """Put another price in place now; `is_billed` for its difference at once.

    It takes place once it is paid. Raises PaymentDeclinedError, and then nothing has changed; or
    PaymentActionRequiredError, and then it waits for the customer's approval, or for a payment that is on its way
    (docs.stripe.com/billing/subscriptions/pending-updates).
    """
    with calling():
        current = plain(stripe.Subscription.retrieve(subscription_id))
        change: Any = _change_of(current, old_price_id, price_id, begins_anew=begins_anew)
        if not is_billed:
            change = {"items": change["items"], "proration_behavior": "none"}
        try:
            created = stripe.Subscription.modify(subscription_id, payment_behavior="pending_if_incomplete", **change)
        except stripe.InvalidRequestError as error:
            # How it is paid (a bank's debit, an invoice) may know no pending updates.
            logger.info("no_pending_update", subscription_id=subscription_id, error=str(error))
            created = stripe.Subscription.modify(subscription_id, payment_behavior="error_if_incomplete", **change)
    changed = plain(created)
    if not changed.get("pending_update"):
        return
    invoice_id = reference(changed.get("latest_invoice"))
    attempt = attempt_of_invoice(invoice_id)
    if not attempt.is_refused:
        invoice = plain(retrieve("invoice", invoice_id))
        raise PaymentActionRequiredError(
            "Your bank asks you to approve the payment. Your plan changes once you have.",
            url=str(invoice.get("hosted_invoice_url") or ""),
        )
    void_invoice(invoice_id)
    raise PaymentDeclinedError("Your card was declined.", reason=attempt.why or "card_declined")


def void_invoice(invoice_id: str) -> None:
    """Let nobody pay the open invoice of a change any more: it is dropped.

    A paid one stays so, and a renewal's is never voided.
    """
    with calling():
        try:
            if plain(stripe.Invoice.retrieve(invoice_id)).get("billing_reason") != "subscription_update":
                logger.warning("no_invoice_of_a_change", invoice_id=invoice_id)
                return
            stripe.Invoice.void_invoice(invoice_id)
        except stripe.InvalidRequestError as error:
            logger.info("invoice_not_voided", invoice_id=invoice_id, error=str(error))


def invoice_to_approve(invoice_id: str) -> Stripe:
    """An invoice with what the provider's script needs to have its payment approved (`confirmation_secret`)."""
    with calling():
        return plain(stripe.Invoice.retrieve(invoice_id, expand=["confirmation_secret"]))


def preview_change(subscription_id: str, *, old_price_id: str, price_id: str, begins_anew: bool) -> Stripe:
    """The invoice that `change_subscription` would make, were it called now; nothing happens."""
    with calling():
        current = plain(stripe.Subscription.retrieve(subscription_id))
        details: Any = _change_of(current, old_price_id, price_id, begins_anew=begins_anew)
        return plain(stripe.Invoice.create_preview(subscription=subscription_id, subscription_details=details))


def finalize_and_collect(invoice_id: str) -> None:
    """Finalise a draft invoice and charge it now, instead of in an hour. One that went on by itself stays as it is."""
    with calling():
        try:
            stripe.Invoice.finalize_invoice(invoice_id, auto_advance=True)
            stripe.Invoice.pay(invoice_id)
        except (stripe.InvalidRequestError, stripe.CardError) as error:
            logger.info("draft_not_collected", invoice_id=invoice_id, error=str(error))


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
        current = plain(stripe.Subscription.retrieve(subscription_id))
        # A stop that the portal planned is a moment of its own, and does not follow.
        stops: Any = {"cancel_at": to} if current.get("cancel_at") and not current.get("cancel_at_period_end") else {}
        stripe.Subscription.modify(
            subscription_id,
            trial_end=to,
            proration_behavior="none",
            idempotency_key=f"tegoed-{idempotency_key}",
            **stops,
        )


def plan_change(subscription_id: str, *, old_price_id: str, price_id: str, begins_anew: bool) -> None:
    """Put another price in place when the running period ends; all else goes on as it is.

    With another interval it `begins_anew`: else Stripe keeps the old anchor, and charges nothing at the change.
    """
    with calling():
        schedule = plain(stripe.SubscriptionSchedule.create(from_subscription=subscription_id))
        (phase,) = schedule["phases"]
        kept = _kept_of_phase(phase)
        now, then = kept["items"], [{**item} for item in kept["items"]]
        _item_of(then, old_price_id)["price"] = price_id
        phases: Any = [
            {
                **kept,
                "items": now,
                "start_date": phase["start_date"],
                "end_date": phase["end_date"],
                **({"trial_end": phase["trial_end"]} if phase.get("trial_end") else {}),
            },
            {
                **kept,
                "items": then,
                "proration_behavior": "none",
                **({"billing_cycle_anchor": "phase_start"} if begins_anew else {}),
            },
        ]
        stripe.SubscriptionSchedule.modify(schedule["id"], phases=phases, end_behavior="release")


# What a phase says beside its price and dates. Phases that are sent replace those that are there: what is not sent is
# gone (docs.stripe.com/billing/subscriptions/subscription-schedules).
PHASE_FIELDS = (
    "application_fee_percent", "billing_thresholds", "collection_method", "default_payment_method", "description",
    "metadata", "on_behalf_of",
)  # fmt: skip
PHASE_LISTS = ("discounts", "default_tax_rates")
ITEM_FIELDS = ("billing_thresholds", "metadata", "quantity")


def _kept_of_phase(phase: Stripe) -> JsonObject:
    """A phase as it is sent back unchanged."""
    kept: JsonObject = {name: phase[name] for name in PHASE_FIELDS if phase.get(name)}
    if "default_payment_method" in kept:
        kept["default_payment_method"] = reference(kept["default_payment_method"])
    kept |= {name: _kept_list(name, phase[name]) for name in PHASE_LISTS if phase.get(name)}
    if (tax := phase.get("automatic_tax")) and tax.get("enabled"):
        kept["automatic_tax"] = {"enabled": True}
    if (invoices := phase.get("invoice_settings")) and invoices.get("days_until_due"):
        kept["invoice_settings"] = {"days_until_due": invoices["days_until_due"]}
    kept["items"] = [
        {
            "price": reference(item["price"]),
            **{name: item[name] for name in ITEM_FIELDS if item.get(name)},
            **({"tax_rates": _kept_list("tax_rates", item["tax_rates"])} if item.get("tax_rates") else {}),
            **({"discounts": _kept_list("discounts", item["discounts"])} if item.get("discounts") else {}),
        }
        for item in phase["items"]
    ]
    return kept


def _kept_list(name: str, rows: list[Any]) -> Any:
    if name != "discounts":
        return [reference(row) for row in rows]
    kinds = ("discount", "promotion_code", "coupon")
    return [next({kind: reference(row[kind])} for kind in kinds if row.get(kind)) for row in rows]


def release_schedule(schedule_id: str) -> None:
    """Let a subscription go on as it is."""
    with calling():
        stripe.SubscriptionSchedule.release(schedule_id)


def undo_cancellation(subscription_id: str) -> None:
    """Take back that a subscription will end, in whichever way it was said (`payloads.cancels_at`)."""
    with calling():
        current = plain(stripe.Subscription.retrieve(subscription_id))
        if current.get("cancel_at_period_end"):
            stripe.Subscription.modify(subscription_id, cancel_at_period_end=False)
        elif current.get("cancel_at"):
            stripe.Subscription.modify(subscription_id, cancel_at="")


def is_first_trial(subscription_id: str) -> bool:
    """Whether a subscription is on the trial that it began with."""
    return payloads.begins_on_trial(plain(retrieve("subscription", subscription_id)))


def quantity_of(subscription_id: str, *, price_id: str) -> int:
    """How many of its plan a subscription has."""
    with calling():
        items = plain(stripe.Subscription.retrieve(subscription_id))["items"]["data"]
    quantity = _item_of(items, price_id).get("quantity")
    return 1 if quantity is None else int(quantity)


def update_subscription(subscription_id: str, **changes: Any) -> None:
    with calling():
        stripe.Subscription.modify(subscription_id, **changes)


def cancel_subscription(subscription_id: str) -> None:
    """End a subscription now; one that has ended stays so."""
    try:
        with calling():
            stripe.Subscription.cancel(subscription_id)
    except NotAtStripeError:
        logger.info("subscription_not_cancelled", subscription_id=subscription_id)


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
        result = stripe.InvoicePayment.list(invoice=invoice_id, status="paid", limit=100).data
    rows = [plain(row) for row in result]
    return [(reference(row["payment"]["payment_intent"]), row["amount_paid"]) for row in rows]


def charges_of_invoice(invoice_id: str) -> list[Stripe]:
    """Every charge that paid an invoice: there may be several."""
    with calling():
        result = [
            stripe.PaymentIntent.retrieve(payment_id, expand=["latest_charge"])
            for payment_id, _amount in payments_of_invoice(invoice_id)
        ]
    charges = [plain(intent).get("latest_charge") for intent in result]
    return [charge for charge in charges if isinstance(charge, dict)]


def latest_credit_note(invoice_id: str) -> str:
    """The id of the latest credit note of an invoice, void ones included; empty for none."""
    with calling():
        return next((str(row.id) for row in stripe.CreditNote.list(invoice=invoice_id, limit=1).data), "")


def credited_on_invoice(invoice_id: str) -> int:
    """By how much credit notes lowered an invoice other than by a refund, in minor units.

    To the customer's balance, or outside of Stripe (docs.stripe.com/invoicing/integration/programmatic-credit-notes);
    what a note refunds, its refund says.
    """
    with calling():
        notes = [plain(row) for row in stripe.CreditNote.list(invoice=invoice_id, limit=100).auto_paging_iter()]
    return sum(
        note["amount"] - sum(each["amount_refunded"] for each in note.get("refunds") or [])
        for note in notes
        if note["status"] == "issued"
    )


def events_since(since: int) -> Iterator[Stripe]:
    """Every event that Stripe still has (thirty days), latest first."""
    with calling():
        for event in stripe.Event.list(limit=100, created={"gte": since}).auto_paging_iter():
            yield plain(event)


def create_portal_session(*, customer_id: str, return_url: str, configuration: str = "") -> str:
    """The address of the billing portal for this customer; it works for some minutes.

    Raises PortalNotSetUpError when there is no such configuration, or (without one) no default.
    """
    chosen: Any = {"configuration": configuration} if configuration else {}
    with calling():
        try:
            created = stripe.billing_portal.Session.create(customer=customer_id, return_url=return_url, **chosen)
        except stripe.InvalidRequestError as error:
            if error.param == "configuration":
                raise PortalNotSetUpError("The billing portal's settings are gone. Please try again.") from error
            raise
        return str(created.url)


def list_all(kind: str, **filters: Any) -> Iterator[Any]:
    """Every object of a kind, page by page."""
    resource, _ = KINDS[kind]
    with calling():
        shown = [f"data.{path}" for path in KINDS[kind][1] if kind == "invoice"]
        yield from resource.list(limit=100, **filters, **({"expand": shown} if shown else {})).auto_paging_iter()
