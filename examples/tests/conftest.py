"""A running server with the demo's rate card, and a key of a service."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from pytest_django.live_server_helper import LiveServer
from tegoed import Tegoed

from accounts import keys
from accounts.models import Account
from billing.checkout import purchases
from billing.models import Order
from billing.setup import bootstrap, presets
from common import clock
from sandbox.local_stripe import checkout as hosted
from sandbox.local_stripe.core import LocalStripe


@dataclass
class Server:
    """Where it is, and what opens it."""

    url: str
    service_key: str
    stripe: LocalStripe

    def key_of(self, account: Account) -> str:
        created = keys.create_key(
            account=account, name="t", scopes=keys.ACCOUNT_KEY_SCOPES, created_by=None, now=clock.now()
        )
        return created.secret

    def client(self) -> Tegoed:
        return Tegoed(self.service_key, base_url=self.url)

    def pay(self, session_id: str) -> None:
        """Finish the hosted page, and send the server its webhook, as Stripe does."""
        hosted.complete(self.stripe, session_id, hosted.Outcome.SUCCESS)
        purchases.refresh(Order.objects.get(stripe_session_id=session_id), now=clock.now())


@pytest.fixture
def serve(
    transactional_db: None, live_server: LiveServer, local_stripe: LocalStripe, settings: Any
) -> Callable[[str], Server]:
    """A server that sells what a preset has."""

    def start(preset: str) -> Server:
        settings.BASE_URL = live_server.url
        settings.RETURN_ORIGINS = ["http://testserver"]
        bootstrap.push(presets.load(preset), say=lambda _line: None)
        created = keys.create_key(
            account=None, name="s", scopes=keys.SERVICE_KEY_SCOPES, created_by=None, now=clock.now()
        )
        return Server(live_server.url, created.secret, local_stripe)

    return start
