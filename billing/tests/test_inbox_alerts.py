"""Events that a person must know of: an invoice that cannot be finalised, a payment that our key does not see."""

from typing import Any

from accounts.models import Account
from billing.tests.conftest import Shop
from billing.webhooks import inbox, receiving
from common import clock
from outbox.models import Alert


def receive(shop: Shop, event_type: str, stripe_object: dict[str, Any]) -> str:
    """Have one event stored and processed; how it stands."""
    event = {
        "id": "evt_alerting", "object": "event", "type": event_type, "livemode": False,
        "created": int(clock.now().timestamp()), "api_version": "2026-05-27.dahlia", "data": {"object": stripe_object},
    }  # fmt: skip
    receiving.store_event(event, now=clock.now())
    return str(inbox.process(event_id="evt_alerting", now=clock.now()))


def test_invoice_that_cannot_be_finalised_is_alerted(shop: Shop, customer: Account) -> None:
    """docs.stripe.com/tax/customer-locations: automatic tax without a location stops at finalisation."""
    shop.pay(shop.checkout(customer, item="pro"))
    shop.deliver()
    (invoice,) = shop.stripe.store.all("invoice")
    failed = {**invoice, "last_finalization_error": {"message": "The customer has no valid location."}}

    assert receive(shop, "invoice.finalization_failed", failed) == "processed"

    alert = Alert.objects.get()
    assert (alert.kind, alert.subject, alert.account_id) == (Alert.Kind.REVIEW, invoice["id"], customer.pk)
    assert "no valid location" in alert.detail


def test_paid_object_that_our_key_does_not_see_is_alerted(shop: Shop, customer: Account) -> None:
    """Webhooks of one Stripe account and a key of another: no payment would ever be fulfilled, and nothing said so."""
    shop.pay(shop.checkout(customer, item="pro"))
    shop.deliver()
    (invoice,) = shop.stripe.store.all("invoice")

    assert receive(shop, "invoice.paid", {**invoice, "id": "in_elsewhere"}) == "ignored"

    assert "STRIPE_SECRET_KEY" in Alert.objects.get(kind=Alert.Kind.UNPLACED).detail
