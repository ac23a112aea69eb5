"""Names and billing addresses that changed here: Stripe's customers get them too."""

from datetime import datetime
from typing import Any

import structlog
from django.db.models import F, Q

from billing.errors import BillingError
from billing.models import StripeCustomer
from billing.stripe import djstripe_store, stripe_client
from billing.stripe.stripe_client import NotAtStripeError

logger = structlog.get_logger(__name__)

BATCH = 200


def update_customers(*, now: datetime) -> int:
    """Send Stripe the names and addresses that have changed here; how many customers were updated."""
    known = StripeCustomer.objects.filter(account__closed_at=None, deleted_at=None)
    email_differs = ~Q(account__email="") & ~Q(account__email=F("email"))
    name_differs = ~Q(name="") & ~Q(account__name="") & ~Q(account__name=F("name"))
    updated = 0
    for row in known.filter(email_differs | name_differs).select_related("account")[:BATCH]:
        account: Any = row.account
        changes = {"email": account.email or row.email}
        if row.name and account.name:
            changes["name"] = account.name
        try:
            djstripe_store.store("customer", stripe_client.update_customer(row.pk, **changes))
        except NotAtStripeError:
            djstripe_store.record_deleted_customer(row.pk, now=now)
            continue
        except BillingError as error:
            logger.warning("customer_not_updated", customer_id=row.pk, error=str(error))  # the next round asks again
            continue
        StripeCustomer.objects.filter(pk=row.pk).update(**changes)
        updated += 1
    return updated
