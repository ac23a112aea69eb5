"""Which of our rows a Stripe object is about. Raises FulfilmentError where it fits none: a person looks at it then."""

import uuid

from django.db.models import QuerySet

from accounts.models import Account
from billing.errors import FulfilmentError
from billing.models import Order, Plan, Price
from billing.stripe import djstripe_store, payloads
from billing.stripe.payloads import Stripe
from common.public_ids import MalformedIdError, parse_id
from common.sides import Side


def resolve_account(row: Stripe) -> Account:
    customer_id = payloads.customer_id(row)
    account = djstripe_store.account_of_customer(customer_id)
    if account is None:
        raise FulfilmentError(f"{row['object']} {row['id']} is of customer {customer_id}, who is none of ours.")
    return account


def resolve_named_account(text: object) -> Account | None:
    """The account that a Stripe customer's metadata names, or that it became a part of; None for none."""
    try:
        result = Account.objects.select_related("merged_into").filter(pk=uuid.UUID(str(text))).first()
    except ValueError:
        return None
    return result.merged_into or result if result else None


def plan_price(price_id: str) -> tuple[Price, Plan]:
    price = known_price(price_id)
    if price.plan is None:
        raise FulfilmentError(f"Price {price_id} is not of a plan.")
    return price, price.plan


def known_price(price_id: str) -> Price:
    price = Price.objects.select_related("plan", "pack").filter(stripe_price_id=price_id).first()
    if price is None:
        raise FulfilmentError(f"Price {price_id} is not in the catalogue. Sync prices, then replay.")
    return price


def with_plan_first(subscription: Stripe) -> Stripe:
    """A subscription whose first item is that of its plan: add-ons and metered items may stand before it at Stripe."""
    plans = Price.objects.filter(stripe_price_id__in=payloads.subscription_price_ids(subscription), plan__isnull=False)
    known = set(plans.values_list("stripe_price_id", flat=True))
    items = subscription["items"]["data"]
    # (Stable: of two plans the first one stays first.)
    ordered = sorted(items, key=lambda item: payloads.reference(item["price"]) not in known)
    return {**subscription, "items": {**subscription["items"], "data": ordered}}


def has_order(session: Stripe) -> bool:
    """Whether a checkout was begun here: an order has it, or it names one."""
    return (
        Order.objects.filter(stripe_session_id=session["id"]).exists()
        or resolve_named_order(payloads.session_order_id(session)) is not None
    )


def resolve_order(session: Stripe) -> Order:
    """The order of a checkout; one that a known customer paid by a payment link gets one, by its price."""
    order = _orders().filter(stripe_session_id=session["id"]).first()
    if order is None:
        # Stripe answered our call after we had stopped waiting: the session still knows its order.
        named = resolve_named_order(payloads.session_order_id(session))
        order = named if named is not None and named.stripe_session_id is None else None
    if order is None and (order := _order_of_payment_link(session)) is None:
        raise FulfilmentError(f"Session {session['id']} belongs to no order of ours.")
    account = djstripe_store.account_of_customer(payloads.customer_id(session))
    if account is None or account.pk != order.account_id:
        raise FulfilmentError(f"Session {session['id']} is of another customer than its order {order.public_id}.")
    if order.stripe_session_id is None:
        Order.objects.filter(pk=order.pk).update(stripe_session_id=session["id"])
    return order


def _order_of_payment_link(session: Stripe) -> Order | None:
    """Make the order of a checkout that a known customer paid elsewhere, if it is for one pack that is sold here.

    As a payment link of the dashboard does it: nobody asked us for a page, and the money is here.
    """
    account = djstripe_store.account_of_customer(payloads.customer_id(session))
    lines = (session.get("line_items") or {}).get("data") or []
    if account is None or session["payment_status"] != "paid" or len(lines) != 1:
        return None
    price = Price.objects.filter(stripe_price_id=payloads.reference(lines[0]["price"]), pack__isnull=False)
    result, quantity = price.select_related("pack").first(), lines[0].get("quantity") or 0
    if result is None or result.pack is None or session["amount_subtotal"] != result.amount_minor * quantity:
        return None
    created, _ = Order.objects.get_or_create(
        account=account,
        side=Side.INTERNAL,
        idempotency_key=f"stripe:{session['id']}",
        defaults={
            **result.frozen(quantity),
            "price": result,
            "quantity": quantity,
            "stripe_session_id": session["id"],
            "actor": "payment_link",
            "created_at": payloads.moment(session["created"]),
        },
    )
    return _orders().get(pk=created.pk)


def resolve_named_order(named: str) -> Order | None:
    try:
        return _orders().filter(pk=parse_id("co", named)).first()
    except MalformedIdError:
        return None


def _orders() -> QuerySet[Order]:
    return Order.objects.with_related()
