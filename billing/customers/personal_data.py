"""Everything that is kept of a customer, as a file to take along: facts as JSON, the ledger as CSV."""

import json
import tempfile
import zipfile
from collections.abc import Iterable
from typing import IO, Any

from allauth.usersessions.models import UserSession
from django.core.serializers.json import DjangoJSONEncoder

from accounts.models import Account, User
from billing.stripe import djstripe_store
from common import csv_export
from common.json_types import JsonObject
from credits import selectors
from credits.api.transactions import CSV_COLUMNS, csv_rows

MOST_INVOICES = 1_000
IN_MEMORY = 1_048_576  # bytes; a larger file is kept on disk while it is sent


def archive(account: Account, users: Iterable[User]) -> IO[bytes]:
    """A ZIP with account.json and transactions.csv, open at its beginning; whoever sends it closes it."""
    file: IO[bytes] = tempfile.SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as created:
        facts = json.dumps(about(account, users), cls=DjangoJSONEncoder, indent=2, ensure_ascii=False)
        created.writestr("account.json", facts)
        with created.open("transactions.csv", "w") as ledger:
            for line in csv_export.lines(CSV_COLUMNS, csv_rows(selectors.transactions(account.pk))):
                ledger.write(line.encode())
    file.seek(0)
    return file


def about(account: Account, users: Iterable[User]) -> JsonObject:
    """What is kept beside the ledger. Secrets are kept as hashes, or encrypted, and are not among it."""
    known = list(users)
    people = _rows(known, "email", "name", "date_joined", "last_login")
    return {
        "user": next(iter(people), None),
        "users": people,
        "account": _facts(account, "public_id", "kind", "name", "email", "time_zone", "language", "created_at"),
        "members": [{"user": row.user.email, "role": row.role} for row in account.memberships.select_related("user")],
        "identities": _rows(account.external_identities.all(), "issuer", "subject", "created_at"),
        "sessions": _rows(UserSession.objects.filter(user__in=known), "ip", "user_agent", "created_at", "last_seen_at"),
        "keys": _rows(account.api_keys.all(), "public_id", "name", "scopes", "created_at", "expires_at", "revoked_at"),
        "grants": _rows(
            selectors.grants(account.pk), "public_id", "source", "amount", "remaining", "effective_at", "expires_at"
        ),
        "orders": _rows(
            account.orders.all(), "public_id", "description", "status", "amount_minor", "currency", "created_at"
        ),
        "subscriptions": _rows(
            account.subscriptions.all(), "stripe_subscription_id", "status", "started_at", "current_period_end"
        ),
        "invoices": djstripe_store.invoices_of(account.pk, limit=MOST_INVOICES),
        "events": _rows(account.outbox_events.all(), "name", "data", "happened_at"),
        "webhook_endpoints": _rows(account.webhook_endpoints.all(), "public_id", "url", "events", "created_at"),
    }


def _rows(rows: Iterable[Any], *names: str) -> list[JsonObject]:
    return [_facts(row, *names) for row in rows]


def _facts(row: Any, *names: str) -> JsonObject:
    return {name: getattr(row, name) for name in names}
