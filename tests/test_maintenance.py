"""While the site is looked after: customers and API clients see that, what must get through does."""

from typing import Any

import pytest
from django.test import Client

from accounts.models import User


@pytest.fixture
def away(settings: Any) -> None:
    settings.MAINTENANCE = True


@pytest.mark.parametrize("address", ["/", "/dashboard", "/pricing", "/nowhere"])
def test_pages_say_that_we_are_back_soon(client: Client, db: None, away: None, address: str) -> None:
    answer = client.get(address)

    assert (answer.status_code, answer["Retry-After"]) == (503, "120")
    assert "We are working on it" in answer.content.decode()


def test_api_calls_are_told_when_to_try_again(client: Client, db: None, away: None) -> None:
    answer = client.get("/api/v1/credits/balance")

    assert (answer.status_code, answer.json()["code"], answer["Retry-After"]) == (503, "busy", "120")


def test_the_console_probes_and_webhooks_get_through(client: Client, db: None, away: None, ada: User) -> None:
    assert client.get("/healthz").status_code == 200
    assert client.post("/api/webhooks/stripe", "{}", content_type="application/json").status_code == 400
    User.objects.update(is_staff=True, is_superuser=True)
    client.force_login(ada)
    assert client.get("/admin/").status_code == 200
