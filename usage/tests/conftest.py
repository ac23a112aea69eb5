"""An API client: an app's backend, which acts for Ada."""

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from django.test import Client

from accounts import keys
from accounts.models import Account
from common import clock
from credits import ledger
from credits.models import Source

Call = Callable[..., Any]


@pytest.fixture
def call(ada_account: Account, present: datetime, client: Client) -> Call:
    """Calls the API with an app's key, for Ada's account; every call is a new one."""
    ledger.grant(account_id=ada_account.pk, amount=100, source=Source.PURCHASE, source_key="t", now=present)
    secret = keys.create_key(
        account=None, name="t", scopes=keys.ACCOUNT_KEY_SCOPES, created_by=None, now=clock.now()
    ).secret
    adas = {"account": ada_account.public_id}
    calls = iter(range(1_000))

    def ask(
        method: str, path: str, body: Any = None, *, idempotency_key: str = "", bearer: str = secret, **query: Any
    ) -> Any:
        named = adas if bearer == secret else {}
        if body is None and "account" not in path:
            query = named | query
        headers = {"Authorization": f"Bearer {bearer}", "Idempotency-Key": idempotency_key or f"call-{next(calls)}"}
        return client.generic(
            method,
            f"/api/v1/{path}",
            json.dumps(named | body if isinstance(body, dict) else body) if body is not None else "",
            content_type="application/json",
            headers=headers | query.pop("headers", {}),
            query_params=query,
        )

    return ask
