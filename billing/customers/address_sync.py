"""Billing addresses that changed here: Stripe's customers get them too."""

from datetime import datetime
from typing import Any

import structlog
from django.db.models import F

from billing.errors import BillingError
from billing.models import StripeCustomer
from billing.stripe import djstripe_store, stripe_client
from billing.stripe.stripe_client import NotAtStripeError

logger = structlog.get_logger(__name__)

BATCH = 200


def update_customers(*, now: datetime) -> int:
    """Send Stripe the billing addresses that have changed here; how many were updated."""
    known = StripeCustomer.objects.filter(account__closed_at=None, deleted_at=None).exclude(account__email="")
    updated = 0
    for row in known.exclude(account__email=F("email")).select_related("account")[:BATCH]:
        account: Any = row.account
        try:
            djstripe_store.store("customer", stripe_client.update_customer(row.pk, email=account.email))
        except NotAtStripeError:
            djstripe_store.record_deleted_customer(row.pk, now=now)
            continue
        except BillingError as error:
            logger.warning("customer_not_updated", customer_id=row.pk, error=str(error))  # the next round asks again
            continue
        StripeCustomer.objects.filter(pk=row.pk).update(email=account.email)
        updated += 1
    return updated
