"""The customer's page of keys."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from accounts import keys
from accounts.models import Account, ApiKey, User
from common import clock


@pytest.fixture
def browser(client: Client, ada: User, ada_account: Account, clock_file: Any) -> Client:
    client.force_login(ada)
    return client


def secret_on(page: Any) -> str:
    result = re.search(r'class="secret" readonly value="(tg_test_[A-Za-z0-9]+)"', page.content.decode())
    assert result is not None
    return result[1]


def works(secret: str) -> bool:
    return Client().get("/api/v1/credits/balance", headers={"Authorization": f"Bearer {secret}"}).status_code == 200


def test_new_key_has_chosen_scopes_and_expiry_and_is_shown_once(browser: Client) -> None:
    page = browser.post("/keys", {"name": "Mine", "scopes": ["credits:read", "credits:grant"], "days": "30"})

    key = ApiKey.objects.get()
    assert (key.name, key.scopes) == ("Mine", ["credits:read"])  # nobody grants to themselves
    assert key.expires_at is not None
    assert timedelta(days=29) < key.expires_at - clock.now() < timedelta(days=31)
    assert works(secret_on(page))
    assert page["Cache-Control"].startswith("max-age=0, no-cache, no-store")
    again = browser.get("/keys").content.decode()
    assert secret_on(page) not in again
    assert "credits:read" in again


def test_a_name_keeps_what_can_be_printed(browser: Client) -> None:
    browser.post("/keys", {"name": "a\x1bb\x1b" + "c" * 200, "scopes": ["credits:read"]})

    assert ApiKey.objects.get().name == "ab" + "c" * 78


def test_a_key_without_any_right_is_not_made(browser: Client) -> None:
    page = browser.post("/keys", {"name": "Mine"})

    assert "Choose at least one" in page.content.decode()
    assert not ApiKey.objects.exists()


def test_revoking_asks_first(browser: Client) -> None:
    secret = secret_on(browser.post("/keys", {"name": "Mine", "scopes": ["credits:read"]}))
    address = f"/keys/{ApiKey.objects.get().public_id}/revoke"

    asked = browser.get(address).content.decode()

    assert f'href="{address}"' in browser.get("/keys").content.decode()
    assert "Revoke Mine?" in asked
    assert works(secret)
    browser.post(address)
    assert not works(secret)


def test_a_key_is_rotated_and_revoked(browser: Client) -> None:
    first = secret_on(browser.post("/keys", {"scopes": ["credits:read"]}))
    old = ApiKey.objects.get()
    second = secret_on(browser.post(f"/keys/{old.public_id}/rotate"))

    assert works(first)
    assert works(second)
    browser.post(f"/keys/{ApiKey.objects.latest('created_at').public_id}/revoke")
    assert not works(second)
    page = browser.post(f"/keys/{ApiKey.objects.latest('created_at').public_id}/rotate", follow=True)
    assert "revoked or has expired" in page.content.decode()


def test_number_of_keys_per_account_is_limited(browser: Client, settings: Any) -> None:
    settings.MAX_API_KEYS_PER_ACCOUNT = 1
    browser.post("/keys", {"scopes": ["credits:read"]})

    assert "at most 1 keys" in browser.post("/keys", {"scopes": ["credits:read"]}).content.decode()


def test_somebody_else_s_key_is_not_there(browser: Client, db: None) -> None:
    bob = Account.objects.create(name="Bob")
    key = keys.create_key(account=bob, name="t", scopes=["credits:read"], created_by=None, now=clock.now()).key

    for verb in ("rotate", "revoke"):
        assert browser.post(f"/keys/{key.public_id}/{verb}").status_code == 404
        assert browser.post(f"/keys/nonsense/{verb}").status_code == 404
    key.refresh_from_db()
    assert key.revoked_at is None
