"""Finding a customer by whatever is at hand: an address, a name, an id of ours or of Stripe's, the start of a key."""

import re
import uuid

from django.db.models import Q, QuerySet

from accounts.models import Account, ApiKey, Invitation
from billing.models import InboxEvent, Order, PaidInvoice, Subscription
from billing.stripe import djstripe_store
from common.json_types import JsonObject
from common.public_ids import MalformedIdError, parse_id
from console.models import AuditEvent
from credits import selectors
from outbox.models import OutboxEvent

STRIPE_ID = re.compile(r"^(cus|sub|pi|in|ch|py|re|dp|du|cs|evt|pm|seti|si|il)_[A-Za-z0-9_]+$")
MOST = 200
LEDGER = ("txn", "hold", "grt")
MODELS: JsonObject = {"co": Order, "key": ApiKey, "inv": Invitation, "evt": OutboxEvent, "aud": AuditEvent}


def accounts(rows: QuerySet[Account], term: str) -> QuerySet[Account]:
    """The accounts that a search is about. One id finds one account, however many there are."""
    term = term.strip()
    if (owners := _by_own_id(term)) is not None:
        return rows.filter(pk__in=owners)
    if STRIPE_ID.match(term):
        return rows.filter(pk__in=_by_stripe_id(term))
    if term.startswith(("tg_live_", "tg_test_")):
        return rows.filter(pk__in=ApiKey.objects.filter(prefix=term[:12]).values("account"))
    named = Q(email__istartswith=term) | Q(name__istartswith=term)
    # Each way has an index of its own; joined in one query, a million accounts would be read through.
    result = set(rows.filter(named).values_list("pk", flat=True)[:MOST])
    result |= set(Account.objects.filter(external_identities__subject=term).values_list("pk", flat=True)[:MOST])
    result |= set(
        Account.objects.filter(memberships__user__email__istartswith=term).values_list("pk", flat=True)[:MOST]
    )
    if len(term) == 4:  # noqa: PLR2004 - the last letters of a key, as lists show them
        result |= set(ApiKey.objects.filter(last4=term).values_list("account_id", flat=True)[:MOST]) - {None}
    return rows.filter(pk__in=result)


def _by_own_id(term: str) -> list[uuid.UUID] | None:
    """Whose one of our own ids is; None when it is none of ours."""
    prefix, _, letters = term.partition("_")
    try:
        identifier = parse_id(prefix, term) if letters else None
    except MalformedIdError:
        identifier = None
    if identifier is None or prefix not in ("acc", *LEDGER, *MODELS):
        return None
    if prefix == "acc":
        return [identifier]
    if prefix in LEDGER:
        result = selectors.account_of(prefix, identifier)
        return [result] if result else []
    rows = MODELS[prefix].objects.filter(pk=identifier, account__isnull=False)
    return list(rows.values_list("account_id", flat=True))


def _by_stripe_id(term: str) -> set[uuid.UUID]:
    """Whose an object of Stripe's is: by what we keep of it, else by the customer that dj-stripe knows."""
    result: set[uuid.UUID] = set()
    result |= set(Subscription.objects.filter(stripe_subscription_id=term).values_list("account_id", flat=True))
    result |= set(PaidInvoice.objects.filter(stripe_invoice_id=term).values_list("account_id", flat=True))
    result |= set(
        Order.objects.filter(Q(stripe_session_id=term) | Q(payment_id=term)).values_list("account_id", flat=True)
    )
    events = InboxEvent.objects.filter(Q(event_id=term) | Q(object_id=term)).exclude(customer_id="")
    customers = {term, *events.values_list("customer_id", flat=True)[:MOST], *djstripe_store.customers_of(term)}
    return result | djstripe_store.accounts_of_customers(customers)
