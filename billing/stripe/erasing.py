"""Taking personal facts off what Stripe sent us: stored webhooks, and dj-stripe's copies of a closed account's objects.

What stays are ids, amounts, times and states: what the ledger and the books are checked against.
"""

from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings

from accounts.models import Account
from billing.models import InboxEvent, Order, StripeCustomer
from billing.stripe import djstripe_store, stripe_client
from billing.stripe.stripe_client import NotAtStripeError

# Every field of Stripe's objects that says who, where, or how to reach somebody, whatever object it is on.
PERSONAL = frozenset(
    {
        "account_holder_name", "account_name", "address", "billing_details", "business_name", "customer_address",
        "customer_details", "customer_email", "customer_name", "customer_phone", "customer_purchase_ip",
        "customer_shipping", "customer_tax_ids", "email", "evidence", "fingerprint", "individual_name", "ip_address",
        "last4", "name", "owner", "phone", "receipt_email", "receipt_number", "receipt_url", "hosted_invoice_url",
        "invoice_pdf", "shipping", "tax_ids", "verification", "shipping_details", "collected_information",
        "previous_attributes", "hosted_verification_url", "client_secret", "url",
    }
)  # fmt: skip
# Objects that are no person's: their names are the shop's own.
NOT_A_PERSON = frozenset({"product", "price", "plan", "coupon", "promotion_code", "tax_rate"})
BATCH = 500


def redacted(value: Any) -> Any:
    """A copy of Stripe's object in which personal fields are empty."""
    if isinstance(value, list):
        return [redacted(inner) for inner in value]
    if not isinstance(value, dict) or str(value.get("object")) in NOT_A_PERSON:
        return value
    return {key: _emptied(inner) if key in PERSONAL else redacted(inner) for key, inner in value.items()}


def erase_at_stripe(account: Account, *, now: datetime) -> None:
    """Delete the account's customers at Stripe, which also ends what they may still be charged for.

    Stripe keeps invoices and payments, as the law wants; how to have it redact those: docs/billing.md. A second call
    changes nothing. Raises PaymentProviderUnavailableError.
    """
    for customer_id in djstripe_store.customers_of_account(account.pk):
        with suppress(NotAtStripeError):
            stripe_client.delete_customer(customer_id)
        djstripe_store.record_deleted_customer(customer_id, now=now)


def redact_stored(account: Account) -> None:
    """Take personal facts off everything that Stripe sent us about this account, and off its orders."""
    customer_ids = djstripe_store.all_customers_of_account(account.pk)
    for customer_id in customer_ids:
        djstripe_store.change_objects_of(customer_id, redacted)
    for row in InboxEvent.objects.filter(customer_id__in=customer_ids).iterator(BATCH):
        InboxEvent.objects.filter(pk=row.pk).update(payload=redacted(row.payload))
    StripeCustomer.objects.filter(account=account).update(email="", name="")
    Order.objects.filter(account=account).update(receipt_url="", checkout_url="", success_url="", cancel_url="")


def purge_payloads(*, now: datetime) -> int:
    """Empty the stored webhooks that are older than INBOX_PAYLOAD_DAYS; how many. Objects can be fetched again."""
    old = InboxEvent.objects.filter(received_at__lt=now - timedelta(days=settings.INBOX_PAYLOAD_DAYS))
    return old.exclude(payload={}).exclude(state__in=InboxEvent.UNFINISHED).update(payload={})


def _emptied(value: Any) -> Any:
    return "" if isinstance(value, str) else [] if isinstance(value, list) else None
