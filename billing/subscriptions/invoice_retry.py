"""Looking after one account's money by hand: invoices tried again, everything of it fetched again."""

from datetime import datetime

from accounts.models import Account
from billing.models import Order, Subscription
from billing.stripe import djstripe_store, payloads, stripe_client
from billing.webhooks import sync
from common.json_types import JsonObject

LATEST = 24


def open_invoices(account: Account) -> list[JsonObject]:
    """The account's latest invoices that wait to be paid, as last received."""
    rows = djstripe_store.invoices_of(account.pk, limit=LATEST)
    return [row for row in rows if row.get("status") == "open" and row.get("amount_due")]


def open_invoice_of(subscription: Subscription | None) -> JsonObject | None:
    """The invoice that a plan's failed payment left open, as last received."""
    if subscription is None or not subscription.is_payment_failed:
        return None
    rows = open_invoices(subscription.account)
    mine = (row for row in rows if payloads.invoice_subscription_id(row) == subscription.stripe_subscription_id)
    return next(mine, None)


def retry_invoice(invoice_id: str, *, now: datetime) -> None:
    """Have Stripe collect an invoice now. Raises PaymentDeclinedError or PaymentProviderUnavailableError."""
    try:
        stripe_client.pay_invoice(invoice_id)
    finally:
        sync.sync_object(kind="invoice", object_id=invoice_id, now=now)


def resync_account(account: Account, *, now: datetime) -> int:
    """Sync all that Stripe has of an account, as if its webhooks came again; how many objects that is."""
    customer_id = djstripe_store.customer_of_account(account.pk)
    named = [("customer", customer_id)] if customer_id else []
    subscriptions = Subscription.objects.filter(account=account).order_by("started_at")
    named += [
        ("subscription", identifier) for identifier in subscriptions.values_list("stripe_subscription_id", flat=True)
    ]
    named += [("invoice", row["id"]) for row in reversed(djstripe_store.invoices_of(account.pk, limit=LATEST))]
    orders = Order.objects.filter(account=account).exclude(stripe_session_id=None).order_by("-id")[:LATEST]
    named += [("checkout.session", order.stripe_session_id or "") for order in orders]
    for kind, object_id in named:
        sync.sync_object(kind=kind, object_id=object_id, now=now)
    return len(named)
