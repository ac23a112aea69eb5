"""Spending limits over the API and on the pages of keys and team."""

from datetime import datetime
from typing import Any

import pytest
from django.test import Client

from accounts import keys, teams
from accounts.models import Account, Membership, User
from billing.models import Plan
from billing.tests.test_mails import post
from common import clock
from credits import ledger, spending_limits
from credits.models import SpendingLimit
from credits.tests.test_spending import give
from outbox.models import OutboxEvent


@pytest.fixture
def key(ada_account: Account, ada: User, present: datetime) -> keys.NewKey:
    give(ada_account, 1_000, present)
    return keys.create_key(
        account=ada_account, name="My app", scopes=keys.ACCOUNT_KEY_SCOPES, created_by=ada, now=present
    )


@pytest.fixture
def page(client: Client, ada: User) -> Client:
    client.force_login(ada)
    return client


def spend(secret: str, amount: int, key: str) -> Any:
    return Client().post(
        "/api/v1/credits/spend",
        {"amount": amount},
        content_type="application/json",
        headers={"Authorization": f"Bearer {secret}", "Idempotency-Key": key},
    )


def put(client: Client, key: keys.NewKey, body: dict[str, Any], **headers: str) -> Any:
    return client.put(
        f"/api/v1/api-keys/{key.key.public_id}/spending-limit",
        body,
        content_type="application/json",
        headers=headers or None,
    )


def test_key_beyond_its_limit_is_refused_with_429(page: Client, key: keys.NewKey) -> None:
    answer = put(page, key, {"per_day": 10, "per_month": 50})
    assert (answer.status_code, answer.json()["day"]["remaining"]) == (200, 10)
    assert spend(key.secret, 8, "a").status_code == 201

    refused = spend(key.secret, 3, "b")

    problem = refused.json()
    assert (refused.status_code, problem["code"]) == (429, "spending_limit_reached")
    assert (problem["period"], problem["limit"], problem["used"]) == ("day", 10, 8)
    assert int(refused["Retry-After"]) > 0
    listed = page.get("/api/v1/spending-limits").json()["data"]
    assert [(row["subject"], row["day"]["used"], row["month"]["used"]) for row in listed] == [(key.key.public_id, 8, 8)]


def test_key_cannot_change_its_own_limit(page: Client, key: keys.NewKey, ada_account: Account) -> None:
    put(page, key, {"per_day": 10})

    bearer = {"Authorization": f"Bearer {key.secret}"}
    raised = put(Client(), key, {"per_day": 1_000}, **bearer)
    removed = Client().delete(f"/api/v1/api-keys/{key.key.public_id}/spending-limit", headers=bearer)
    token = (
        Client().post("/api/v1/auth/tokens", {}, content_type="application/json", headers=bearer).json().get("token")
    )
    by_token = put(Client(), key, {"per_day": 1_000}, Authorization=f"Bearer {token}")

    assert (raised.status_code, removed.status_code) == (403, 403)
    assert by_token.status_code == 403
    assert SpendingLimit.objects.get().per_day == 10


def test_limit_holds_for_tokens_of_a_key(page: Client, key: keys.NewKey) -> None:
    put(page, key, {"per_day": 10})
    bearer = {"Authorization": f"Bearer {key.secret}"}
    body = {"scopes": ["credits:spend"]}
    token = Client().post("/api/v1/auth/tokens", body, content_type="application/json", headers=bearer).json()["token"]

    assert spend(token, 10, "a").status_code == 201
    assert spend(token, 1, "b").status_code == 429


def test_seller_sets_limits_of_an_accounts_key(key: keys.NewKey, ada_account: Account, present: datetime) -> None:
    service = keys.create_key(account=None, name="App", scopes=["accounts:write"], created_by=None, now=present)
    body = {"per_day": 5, "account": ada_account.public_id}

    answer = put(Client(), key, body, Authorization=f"Bearer {service.secret}")

    assert answer.status_code == 200, answer.content
    assert spend(key.secret, 6, "a").status_code == 429


def test_nobody_sets_the_limit_of_anothers_key(key: keys.NewKey, client: Client, present: datetime) -> None:
    client.force_login(User.objects.create_user("eve@example.com"))

    assert put(client, key, {"per_day": 5}).status_code == 404
    assert client.post(f"/keys/{key.key.public_id}/limit", {"per_day": "5", "is_hard": "yes"}).status_code == 404
    assert not SpendingLimit.objects.exists()


def test_limit_goes_on_with_the_rotated_key(page: Client, key: keys.NewKey, ada: User) -> None:
    put(page, key, {"per_day": 10})
    spend(key.secret, 8, "a")

    new = keys.rotate_key(key=key.key, created_by=ada, now=clock.now())

    assert spend(new.secret, 3, "b").status_code == 429
    assert put(page, new, {"per_day": 20}).json()["day"]["used"] == 8
    assert SpendingLimit.objects.count() == 1


@pytest.mark.parametrize("which", [0, 1])
def test_limit_set_after_a_rotation_covers_both_keys(page: Client, key: keys.NewKey, ada: User, which: int) -> None:
    """Whoever rotates a key that leaked, and then limits it, means the leaked one as well."""
    both = [key, keys.rotate_key(key=key.key, created_by=ada, now=clock.now())]

    put(page, both[which], {"per_day": 10})

    assert spend(both[0].secret, 6, "a").status_code == 201
    assert [spend(each.secret, 5, f"b{number}").status_code for number, each in enumerate(both)] == [429, 429]


def test_pages_show_set_and_remove_a_limit(page: Client, key: keys.NewKey) -> None:
    address = f"/keys/{key.key.public_id}/limit"
    assert "Set a spending limit" in page.get("/keys").content.decode()

    bad = page.post(address, {"per_day": "0", "is_hard": "yes"})
    page.post(address, {"per_day": "100", "per_month": "", "is_hard": "yes"})
    spend(key.secret, 30, "a")
    body = page.get("/keys").content.decode()
    assert bad.status_code == 400
    assert "30 of 100 today" in body
    assert 'value="100"' in page.get(address).content.decode()

    page.post(address, {"per_day": "", "per_month": "", "is_hard": "yes"})

    assert "Set a spending limit" in page.get("/keys").content.decode()
    assert spend(key.secret, 500, "b").status_code == 201


def test_member_limit_counts_their_keys_too(ada: User, client: Client, present: datetime) -> None:
    Plan.objects.create(code="free", name="Free", is_default=True, seats=4)
    team = teams.create_team(name="Engines", owner=ada, language="en", time_zone="UTC", now=present)
    give(team, 1_000, present)
    bob = User.objects.create_user("bob@example.com", name="Bob")
    member = Membership.objects.create(account=team, user=bob, role=Membership.Role.ADMIN, created_at=present)
    client.force_login(ada)
    client.post("/team/switch", {"account": team.public_id})

    client.post(f"/team/members/{member.pk}/limit", {"per_day": "10", "is_hard": "yes"})
    his = keys.create_key(account=team, name="His", scopes=["credits:spend"], created_by=bob, now=clock.now())
    ledger.spend(account_id=team.pk, amount=6, idempotency_key="x", actor=f"user:{bob.pk}", now=clock.now())

    assert spend(his.secret, 5, "a").status_code == 429
    assert "6 of 10 today" in client.get("/team").content.decode()


def test_members_do_not_set_limits(ada: User, client: Client, present: datetime) -> None:
    Plan.objects.create(code="free", name="Free", is_default=True, seats=4)
    team = teams.create_team(name="Engines", owner=ada, language="en", time_zone="UTC", now=present)
    bob = User.objects.create_user("bob@example.com", name="Bob")
    member = Membership.objects.create(account=team, user=bob, role=Membership.Role.MEMBER, created_at=present)
    client.force_login(bob)
    client.post("/team/switch", {"account": team.public_id})

    assert client.post(f"/team/members/{member.pk}/limit", {"per_day": "10"}).status_code == 403
    assert not SpendingLimit.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_owner_is_mailed_once_for_each_warning(key: keys.NewKey, ada_account: Account) -> None:
    now = clock.now()
    spending_limits.set_key_limit(key.key, per_day=100, per_month=None, is_hard=True, now=now)
    for number, amount in enumerate((50, 29, 1, 20)):
        spend(key.secret, amount, str(number))

    subjects = post()

    events = OutboxEvent.objects.filter(name="spending_limit.reached").order_by("pk")
    assert [(row.data["percent"], row.data["whose"], row.data["used"]) for row in events] == [
        (50, "My app", 50),
        (80, "My app", 80),
        (100, "My app", 100),
    ]
    assert [subject for subject in subjects if "limit" in subject] == [
        "My app has used 50% of its spending limit",
        "My app has used 80% of its spending limit",
        "My app has reached its spending limit",
    ]
