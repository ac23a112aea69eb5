"""Automatic top-ups: below so many credits, buy a pack with the saved card, at most so many times a month.

Only use buys: a spend, a capture or a hold that leaves fewer than so many, once each. What expires, is refunded,
adjusted or merged, and a renewal that is awaited, charges no card. The attempt is an order like any other, kept before
the card is charged: however many spends cross the line at once, an account has one attempt at a time, and one whose
answer never arrived is looked up before it is made again. A card that is refused, and money that goes back
(`clawbacks`), switch the top-up off, and its owner is notified.
"""

import uuid
from collections.abc import Iterable
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import F, QuerySet
from django.utils.translation import gettext as _

from accounts.models import Account
from billing.checkout.providers.stripe import ANSWERED_WITHIN, amounts, customer_of
from billing.errors import (
    AddressNeededError,
    PaymentDeclinedError,
    PaymentProviderRefusedError,
    PriceNotSellableError,
)
from billing.models import Order, Price, TopUp
from billing.notifications import domain_events
from billing.payments import orders
from billing.stripe import djstripe_store, payloads, stripe_client
from billing.webhooks import sync
from common.queue import enqueue
from credits import selectors
from credits.calendar import day_at


def switch_on(*, account: Account, price: Price, below: int, max_per_month: int, now: datetime) -> TopUp:
    """Do as the customer agreed. Raises PriceNotSellableError when it is no pack, or a limit is out of bounds."""
    if price.pack is None or not price.is_active or not price.pack.is_active:
        raise PriceNotSellableError("Only a pack that is on sale can be bought automatically.")
    if not 0 < below <= settings.MAX_TOP_UP_BELOW or not 0 < max_per_month <= settings.MAX_TOP_UPS_A_MONTH:
        raise PriceNotSellableError(
            f"Below 1 to {settings.MAX_TOP_UP_BELOW} credits, and 1 to {settings.MAX_TOP_UPS_A_MONTH} times a month."
        )
    agreed = {"price": price, "below": below, "max_per_month": max_per_month, "is_on": True, "problem": ""}
    row, _is_new = TopUp.objects.update_or_create(account=account, defaults={**agreed, "agreed_at": now})
    return row


def switch_off(*, account: Account, problem: str = "") -> None:
    """Buy nothing more by itself; what is under way is ended."""
    TopUp.objects.filter(account=account).update(is_on=False, problem=problem)


def follow_price(before: Price, after: Price, *, now: datetime) -> None:
    """A pack's price was replaced: what it costs less or the same goes on, what it costs more takes a new agreement."""
    mine = TopUp.objects.filter(price=before)
    if after.amount_minor <= before.amount_minor:
        mine.update(price=after)
        return
    for row in mine.filter(is_on=True).select_related("account"):
        with transaction.atomic():
            switch_off(account=row.account, problem=_("The price of this pack has gone up."))
            domain_events.top_up_dearer(row.account, before=before, after=after, now=now)


def has_saved_card(account: Account) -> bool:
    """Whether there is a card that a top-up could charge, as far as we know."""
    return bool(djstripe_store.saved_card(account.pk))


def due() -> Iterable[uuid.UUID]:
    """The accounts whose balance looks to be below their line."""
    below = TopUp.objects.filter(is_on=True, account__wallet__balance__lt=F("below"))
    return below.order_by("account_id").values_list("account_id", flat=True)


def buy_if_due(*, account_id: uuid.UUID, now: datetime) -> Order | None:
    """Buy the account's pack if its balance is below its line; the order, if one is under way or done.

    Raises PaymentProviderUnavailableError: then nothing is known yet, and the next call asks for the same payment.
    """
    order = _attempt(account_id, now=now)
    if order is None:
        return None
    try:
        _charge(order, now=now)
    except (AddressNeededError, PaymentDeclinedError, PaymentProviderRefusedError) as error:
        _give_up(order, str(error), now=now)
    order.refresh_from_db()
    return order


def _attempt(account_id: uuid.UUID, *, now: datetime) -> Order | None:
    """The order to charge for now: the one that was never answered, or a new one if use brought the balance so low."""
    with transaction.atomic():
        row = TopUp.objects.select_for_update(of=("self",)).filter(account_id=account_id, is_on=True).first()
        if row is None:
            return None
        mine = Order.objects.filter(account_id=account_id, ui=Order.Ui.OFF_SESSION)
        begun = mine.filter(status__in=(Order.Status.OPEN, Order.Status.PROCESSING)).order_by("-id").first()
        if begun is not None:
            return _unanswered(begun, now=now)
        today = day_at(now, row.account.time_zone).date
        this_month = mine.filter(idempotency_key__startswith=f"top-up:{today:%Y-%m}:")
        bought = this_month.exclude(status__in=(Order.Status.FAILED, Order.Status.EXPIRED)).count()
        if bought >= row.max_per_month or not _is_used_up(row, mine, now=now):
            return None
        return Order.objects.create(
            account_id=account_id,
            price=row.price,
            ui=Order.Ui.OFF_SESSION,
            idempotency_key=f"top-up:{today:%Y-%m}:{this_month.count()}",
            actor="top_up",
            created_at=now,
            **row.price.frozen(1),
        )


def _unanswered(begun: Order, *, now: datetime) -> Order | None:
    """An attempt that has had its time and no answer; it gets another try, one at a time."""
    latest = begun.attempted_at or begun.created_at
    if begun.status != Order.Status.OPEN or latest >= now - ANSWERED_WITHIN:
        return None
    begun.attempted_at = now
    begun.save(update_fields=["attempted_at"])
    return begun


def _is_used_up(row: TopUp, mine: QuerySet[Order], *, now: datetime) -> bool:
    """Whether fewer credits are left than agreed, by a use that no top-up has answered yet."""
    if selectors.balance(account_id=row.account_id, now=now).available >= row.below:
        return False
    answered = mine.filter(created_at__gte=row.agreed_at).order_by("-id").values_list("created_at", flat=True).first()
    since = answered or row.agreed_at - timedelta(microseconds=1)
    return selectors.is_used(account_id=row.account_id, since=since, to=row.below)


def _charge(order: Order, *, now: datetime) -> None:
    """Charge the saved card. Raises PaymentDeclinedError."""
    customer_id = customer_of(order.account)
    card = stripe_client.saved_card(customer_id)
    if not card:
        raise PaymentDeclinedError(_("There is no saved card."))
    intent = stripe_client.create_payment(
        order=order.public_id,
        customer=customer_id,
        is_repeated=now > order.created_at + ANSWERED_WITHIN,
        payment_method=card,
        # Nobody is there to be sent to a bank's page.
        automatic_payment_methods={"enabled": True, "allow_redirects": "never"},
        off_session=True,
        confirm=True,
        **amounts(order, customer_id, kind=payloads.TOP_UP),
    )
    sync.sync_object(kind="payment_intent", object_id=intent["id"], now=now)
    if intent["status"] not in ("succeeded", "processing"):
        # An earlier attempt, whose refusal never arrived.
        why = (intent.get("last_payment_error") or {}).get("message")
        raise PaymentDeclinedError(str(why or _("It was declined.")))


def _give_up(order: Order, why: str, *, now: datetime) -> None:
    with transaction.atomic():
        orders.set_payment_status(order, Order.Status.FAILED, problem=why)
        switch_off(account=order.account, problem=why)
        domain_events.top_up_failed(order, why=why, now=now)


def enqueue_top_up(account_id: uuid.UUID) -> None:
    """Have a worker look at an account now, if it has a top-up at all."""
    if TopUp.objects.filter(account_id=account_id, is_on=True).exists():
        enqueue("billing.tasks.top_up", account_id=str(account_id))
