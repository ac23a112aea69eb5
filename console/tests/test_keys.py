"""Keys in the console: made and rotated by those who may, shown once."""

import re
from datetime import datetime
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.test import Client

from accounts import keys
from accounts.models import Account, ApiKey, User
from common import clock

ADD = "/admin/accounts/apikey/add/"


@pytest.fixture
def operator(client: Client, admin_user: User, present: datetime) -> Client:
    client.force_login(admin_user)
    return client


def secret_on(page: Any) -> str:
    result = re.search(r"<code>(tg_test_[A-Za-z0-9]+)</code>", page.content.decode())
    assert result is not None, page.content.decode()[-3000:]
    return result[1]


def test_an_operator_makes_a_service_key_and_sees_it_once(operator: Client, ada_account: Account) -> None:
    assert operator.get(ADD).status_code == 200
    page = operator.post(ADD, {"name": "Our app", "scopes": ["credits:read", "accounts:write"]})

    secret, key = secret_on(page), ApiKey.objects.get()
    assert (key.is_service_key, key.scopes, key.expires_at) == (True, ["accounts:write", "credits:read"], None)
    assert "no-store" in page["Cache-Control"]
    listed = operator.get("/admin/accounts/apikey/").content.decode()
    assert "Our app" in listed
    assert secret not in listed + str(operator.session.items())
    answer = Client().get("/api/v1/credits/balance?account=ext:1", headers={"Authorization": f"Bearer {secret}"})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "form",
    [
        {"name": "", "scopes": ["credits:read"]},
        {"name": "x", "scopes": []},
        {"name": "x", "scopes": ["everything"]},
        {"name": "x", "scopes": ["credits:read"], "account": "acc_nobody"},
        {"name": "x", "scopes": ["credits:read"], "expires_at_0": "2020-01-01", "expires_at_1": "00:00"},
    ],
    ids=str,
)
def test_a_key_that_makes_no_sense_is_not_made(operator: Client, form: dict[str, Any]) -> None:
    assert operator.post(ADD, form).status_code == 200
    assert not ApiKey.objects.exists()


def test_the_key_of_one_account_grants_nothing(operator: Client, ada_account: Account) -> None:
    named = {"name": "x", "account": ada_account.public_id}

    assert "grants nothing" in operator.post(ADD, {**named, "scopes": ["credits:grant"]}).content.decode()
    secret_on(operator.post(ADD, {**named, "scopes": ["credits:read"]}))
    assert ApiKey.objects.get().account == ada_account


def test_a_key_is_rotated_with_a_look_before(operator: Client, ada_account: Account) -> None:
    old = keys.create_key(account=None, name="s", scopes=["credits:read"], created_by=None, now=clock.now())
    address = f"/admin/accounts/apikey/{old.key.pk}/rotate/"

    assert "another 24 hours" in operator.get(address).content.decode()
    assert ApiKey.objects.count() == 1
    new = secret_on(operator.post(address))

    for secret in (old.secret, new):
        headers = {"Authorization": f"Bearer {secret}"}
        query = {"account": ada_account.public_id}
        assert Client().get("/api/v1/credits/balance", query, headers=headers).status_code == 200


def test_staff_without_the_right_makes_no_key(client: Client, ada_account: Account, present: datetime) -> None:
    support = User.objects.create_user("support@example.com", "x" * 12, is_staff=True)
    support.user_permissions.add(Permission.objects.get(content_type__app_label="accounts", codename="view_apikey"))
    key = keys.create_key(account=None, name="s", scopes=["credits:read"], created_by=None, now=clock.now()).key
    client.force_login(support)

    assert client.get(ADD).status_code == 403
    assert client.post(ADD, {"name": "x", "scopes": ["credits:grant"]}).status_code == 403
    assert client.post(f"/admin/accounts/apikey/{key.pk}/rotate/").status_code == 403
    assert ApiKey.objects.count() == 1
