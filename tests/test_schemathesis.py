"""The API against its own description: whatever is sent, the answer is one that is described, and none is a 5xx.

In `make test`, by the key that the operation is for; with SCHEMATHESIS_EXAMPLES=200, as nightly, at length and by every
way in.
"""

import os
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import hypothesis
import pytest
import schemathesis
from django.core.signals import request_finished, request_started
from django.db import close_old_connections
from django.test import Client
from hypothesis import HealthCheck
from schemathesis.specs.openapi.checks import positive_data_acceptance

from accounts import keys
from accounts.models import Account, User
from billing.tests.conftest import stock
from common import clock
from config.wsgi import application
from credits import ledger
from credits.models import Source
from sandbox.local_stripe.core import LocalStripe

EXAMPLES = int(os.environ.get("SCHEMATHESIS_EXAMPLES", "0"))

schema = schemathesis.openapi.from_path("docs/openapi.yaml").exclude(path_regex="/(schema|docs)$")
schema.app = application
# In `make test` a few examples of each operation; at length, every corner of each field as well.
schema.config.phases.coverage.enabled = bool(EXAMPLES)


@pytest.fixture(autouse=True)
def one_connection() -> Iterator[None]:
    """A request's end closes the database connection, and with it this test's transaction; not here."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


@pytest.fixture
def ways_in(ada: User, ada_account: Account, present: datetime, local_stripe: LocalStripe) -> list[dict[str, str]]:
    """The headers of a customer's key, of a service's, and of a browser."""
    stock(local_stripe)
    ledger.grant(account_id=ada_account.pk, amount=1_000_000, source=Source.PURCHASE, source_key="s", now=present)
    own = keys.create_key(
        account=ada_account, name="t", scopes=keys.ACCOUNT_KEY_SCOPES, created_by=None, now=clock.now()
    )
    service = keys.create_key(account=None, name="s", scopes=keys.SERVICE_KEY_SCOPES, created_by=None, now=clock.now())
    browser = Client()
    browser.force_login(ada)
    session, csrf = browser.cookies["sessionid"].value, "c" * 32
    return [
        {"Authorization": f"Bearer {own.secret}"},
        {"Authorization": f"Bearer {service.secret}"},
        {"Cookie": f"sessionid={session}; csrftoken={csrf}", "X-CSRFToken": csrf},
    ]


@schema.parametrize()
@hypothesis.settings(
    max_examples=EXAMPLES or 3,
    deadline=None,
    derandomize=not EXAMPLES,
    suppress_health_check=list(HealthCheck),
)
def test_every_answer_is_as_described(case: Any, ways_in: list[dict[str, str]]) -> None:
    own, service, browser = ways_in
    usual = browser if "/api-keys" in case.path else service if "grant" in case.operation.label else own
    for headers in ways_in if EXAMPLES else [usual]:
        # (Whether a good request is done depends on who asks, and on what there is; the description cannot say.)
        case.call_and_validate(headers=headers, excluded_checks=[positive_data_acceptance])
