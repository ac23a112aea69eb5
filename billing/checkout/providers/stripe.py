"""Stripe: its hosted checkout for packs and plans, or a card form of our own for packs."""

from datetime import datetime, timedelta

from django.conf import settings

from accounts.models import Account
from billing.catalogue import one_time_benefits
from billing.checkout import return_addresses
from billing.checkout.providers import Opened
from billing.errors import StaleCustomerError
from billing.models import Order, TopUp
from billing.stripe import discounts, djstripe_store, payloads, stripe_client
from billing.webhooks import sync
from branding import brand
from branding.images import SVG
from common import clock
from common.json_types import JsonObject
from common.urls import absolute

# A payment that was not answered within this time is looked for before it is made again. (All calls of one attempt,
# each with its own tries, are over by then.)
ANSWERED_WITHIN = timedelta(minutes=5)


class StripeProvider:
    """Stripe, through the official client; what became of a payment is fetched and stored by `sync`."""

    def open(self, order: Order) -> Opened:
        opens = _open_form if order.ui == Order.Ui.ELEMENTS else _open_page
        customer_id = customer_of(order.account)
        try:
            return opens(order, customer_id)
        except StaleCustomerError:
            # Somebody deleted it without our knowing: the account gets a new one.
            djstripe_store.record_deleted_customer(customer_id, now=clock.now())
            return opens(order, customer_of(order.account))

    def refresh(self, order: Order, *, now: datetime) -> None:
        if order.stripe_session_id:
            sync.sync_object(kind="checkout.session", object_id=order.stripe_session_id, now=now)
        elif order.payment_id:
            sync.sync_object(kind="payment_intent", object_id=order.payment_id, now=now)

    def refund(self, order: Order, *, amount_minor: int, reason: str, idempotency_key: str, now: datetime) -> None:
        created = stripe_client.create_refund(
            idempotency_key=f"tegoed-refund-{order.public_id}-{idempotency_key}",
            payment_intent_id=order.payment_id or _payment_of(order.stripe_session_id or ""),
            amount_minor=amount_minor,
            reason=reason,
        )
        sync.sync_object(kind="refund", object_id=created, now=now)


def customer_of(account: Account) -> str:
    """The account's Stripe customer: made on the first purchase, and again when somebody deleted it at Stripe."""
    if known := djstripe_store.customer_of_account(account.pk):
        return known
    created = stripe_client.create_customer(
        account_id=str(account.pk),
        number=djstripe_store.count_customers(account.pk),
        email=account.email,
        name=account.name or account.public_id,
    )
    djstripe_store.record_customer(str(created["id"]), account, email=account.email, name=account.name, now=clock.now())
    djstripe_store.store("customer", created)
    return str(created["id"])


def identity(order: Order, **more: str) -> dict[str, str]:
    """What Stripe's objects say of whose they are. The credits are there to rebuild from, and decide nothing else."""
    return {
        "order": order.public_id,
        "account": order.account.public_id,
        "credits": str(order.credits),
        "bonus_credits": str(order.bonus_credits),
        "promotion_credits": str(order.promotion_credits),
        "promotion": order.promotion.code if order.promotion else "",
        "price": order.price.stripe_price_id,
        **more,
    }


def amounts(order: Order, customer_id: str, *, kind: str) -> JsonObject:
    """What a payment without a payment page is made with: its amount, with VAT where that is charged, and whose it is.

    The VAT is on the payment's metadata: `tax` in all, and `tax_on_top` of it beside the listed amount.
    Raises AddressNeededError.
    """
    about = {"currency": order.currency, "description": order.description}
    if not settings.STRIPE_TAX:
        return {"amount": order.amount_minor, "metadata": identity(order, kind=kind), **about}
    result = stripe_client.calculate_tax(
        customer_id=customer_id,
        price_id=order.price.stripe_price_id,
        amount_minor=order.amount_minor,
        currency=order.currency,
    )
    on_top = result["tax_amount_exclusive"]
    tax = {"tax": str(on_top + result["tax_amount_inclusive"]), "tax_on_top": str(on_top)}
    return {
        "amount": result["amount_total"],
        "metadata": identity(order, kind=kind, **tax),
        "hooks": {"inputs": {"tax": {"calculation": result["id"]}}},
        **about,
    }


def _open_page(order: Order, customer_id: str) -> Opened:
    metadata = identity(order)
    session = stripe_client.create_session(
        order=order.public_id,
        asked_at=order.created_at,
        mode="subscription" if order.is_for_a_plan else "payment",
        customer=customer_id,
        line_items=[{"price": order.price.stripe_price_id, "quantity": order.quantity}],
        currency=order.currency,  # else a price with prices in other currencies is paid in the visitor's own
        client_reference_id=order.public_id,
        metadata=metadata,
        success_url=return_addresses.after_payment(order),
        cancel_url=return_addresses.without_payment(order),
        **(_for_a_plan(order, metadata) if order.is_for_a_plan else _for_a_pack(order, metadata)),
        **_tax(),
        **_brand(),
    )
    return Opened(session_id=session["id"], url=session["url"], expires_at=payloads.moment(session["expires_at"]))


def _brand() -> JsonObject:
    """Name, colour and images of the payment page, where a brand was published; else Stripe's own settings count."""
    look = brand.current()
    if look.is_of_settings:
        return {}
    shown: JsonObject = {"display_name": look.name}
    if look.light is not None:
        shown["button_color"] = look.light.button
    for name in ("logo", "icon"):
        # Stripe fetches them, so it must be able to reach us; it draws no SVG.
        if settings.USES_TLS and name in look.images and getattr(look, f"{name}_type") != SVG:
            shown[name] = {"type": "url", "url": absolute(look.images[name])}
    return {"branding_settings": shown}


def _for_a_plan(order: Order, metadata: dict[str, str]) -> JsonObject:
    data: JsonObject = {"metadata": metadata}
    if order.price.plan and (days := one_time_benefits.trial_days(order.price.plan, order.account)):
        data["trial_period_days"] = days
    return {"subscription_data": data, "allow_promotion_codes": discounts.are_codes_taken()}


def _is_for_top_ups(account: Account) -> bool:
    """Whether the card is to be there for automatic top-ups: then the bank is asked now, with its owner there."""
    return TopUp.objects.filter(account=account, is_on=True).exists()


def _for_a_pack(order: Order, metadata: dict[str, str]) -> JsonObject:
    data: JsonObject = {"metadata": metadata}
    if _is_for_top_ups(order.account):
        data["setup_future_usage"] = "off_session"
    return {
        "payment_intent_data": data,
        # A receipt with VAT for whoever wants one, as plans have.
        **({"invoice_creation": {"enabled": True}} if settings.STRIPE_TAX else {}),
        "allow_promotion_codes": discounts.are_codes_taken(),
        "saved_payment_method_options": {"payment_method_save": "enabled"},
    }


def _tax() -> JsonObject:
    """Stripe Tax works VAT out from the customer's address, and takes a business's number."""
    if not settings.STRIPE_TAX:
        return {}
    return {
        "automatic_tax": {"enabled": True},
        "billing_address_collection": "required",
        "customer_update": {"address": "auto", "name": "auto"},
        "tax_id_collection": {"enabled": True},
    }


def _open_form(order: Order, customer_id: str) -> Opened:
    if order.payment_id:  # opened before, perhaps longer ago than Stripe remembers idempotency keys
        known = stripe_client.plain(stripe_client.retrieve("payment_intent", order.payment_id))
        return _form(known)
    intent = stripe_client.create_payment(
        order=order.public_id,
        customer=customer_id,
        is_repeated=clock.now() > order.created_at + ANSWERED_WITHIN,
        automatic_payment_methods={"enabled": True},
        **amounts(order, customer_id, kind=payloads.CARD_FORM),
        **({"setup_future_usage": "off_session"} if _is_for_top_ups(order.account) else {}),
    )
    return _form(intent)


def _form(intent: JsonObject) -> Opened:
    return Opened(payment_id=intent["id"], client_secret=intent["client_secret"], total_minor=intent["amount"])


def _payment_of(session_id: str) -> str:
    session = stripe_client.plain(stripe_client.retrieve("checkout.session", session_id))
    return payloads.reference(session["payment_intent"])
