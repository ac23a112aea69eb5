"""What an app's backend asks beside one account: the rate card, holds, usage of all, keys of its users, the version."""

import tomllib
import uuid
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from accounts import keys, opening
from accounts.models import Account
from common import clock
from common.version import VERSION
from credits import ledger
from credits.models import Source
from usage import rate_card, rollup
from usage.models import Feature

EVERYTHING = uuid.UUID(int=2**128 - 1)
ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.django_db


def call(method: str, path: str, secret: str = "", body: Any = None) -> Any:
    headers = {"Authorization": f"Bearer {secret}"} if secret else {}
    sent = {"data": body, "content_type": "application/json"} if body is not None else {}
    return getattr(Client(), method)(f"/api/v1/{path}", headers=headers, **sent)


@pytest.fixture
def service() -> str:
    return keys.create_key(
        account=None, name="s", scopes=keys.SERVICE_KEY_SCOPES, created_by=None, now=clock.now()
    ).secret


def own_key(account: Account) -> str:
    return keys.create_key(
        account=account, name="k", scopes=keys.ACCOUNT_KEY_SCOPES, created_by=None, now=clock.now()
    ).secret


def test_rate_card_says_what_counts_now(present: datetime) -> None:
    chat = Feature.objects.create(code="chat", name="Chat", unit="token")
    rate_card.set_price(
        feature=chat, credits=1, output_credits=3, basis="1k_tokens", effective_from=present, now=present
    )
    rate_card.set_price(feature=chat, model="big", credits=9, effective_from=present, now=present - timedelta(hours=1))
    later = present + timedelta(days=1)
    rate_card.set_price(feature=chat, credits=2, basis="1k_tokens", effective_from=later, now=present)
    gone = Feature.objects.create(code="gone", name="Gone", is_active=False)
    rate_card.set_price(feature=gone, credits=1, effective_from=present, now=present)

    (feature,) = call("get", "rate-card").json()["data"]

    assert feature == {
        "code": "chat", "name": "Chat", "unit": "token",
        "prices": [
            {"model": None, "basis": "1k_tokens", "credits": 1, "output_credits": 3},
            {"model": "big", "basis": "unit", "credits": 9, "output_credits": 9},
        ],
    }  # fmt: skip


def test_holds_are_listed_by_what_became_of_them(ada_account: Account, present: datetime) -> None:
    ledger.grant(account_id=ada_account.pk, amount=10, source=Source.BONUS, source_key="t", now=present)
    held = [
        ledger.hold(account_id=ada_account.pk, amount=1, idempotency_key=f"h{number}", now=present,
                    expires_at=present + timedelta(hours=1)).hold_id
        for number in range(3)
    ]  # fmt: skip
    ledger.release(account_id=ada_account.pk, hold_id=held[0], now=present)
    secret = own_key(ada_account)

    assert len(call("get", "credits/holds", secret).json()["data"]) == 3
    assert len(call("get", "credits/holds?status=open", secret).json()["data"]) == 2
    assert call("get", "credits/holds?status=oepn", secret).status_code == 400
    assert call("get", "credits/holds", own_key(Account.objects.create(name="Eve"))).json()["data"] == []


@pytest.mark.parametrize("is_rolled_up", [False, True])
def test_service_s_usage_is_the_sum_of_its_accounts(service: str, is_rolled_up: bool) -> None:
    zones = ["Europe/Amsterdam", "Asia/Kolkata", "Pacific/Chatham"]
    for number, zone in enumerate(zones):
        account = Account.objects.create(name=f"a{number}", time_zone=zone)
        ledger.grant(account_id=account.pk, amount=100, source=Source.BONUS, source_key="t", now=clock.now())
        spent = [
            ledger.spend(
                account_id=account.pk, amount=number + 1, idempotency_key=f"s{n}", feature="chat", now=clock.now()
            )
            for n in range(5)
        ]
        ledger.reverse(
            account_id=account.pk, transaction_id=spent[0].transaction_id, idempotency_key="r", reason="t",
            now=clock.now(),
        )  # fmt: skip
        if is_rolled_up and number != 1:
            rollup.roll_up(account.pk, upto=EVERYTHING)
    summed = [
        call("get", f"usage/summary?tz=UTC&account={account.public_id}", service).json()["total"]
        for account in Account.objects.filter(name__startswith="a")
    ]

    for zone in ("UTC", *zones):
        whole = call("get", f"usage/summary?tz={zone}&group_by=day,feature", service).json()
        for name in ("uses", "credits", "returned"):
            assert whole["total"][name] == sum(row[name] for row in summed), (zone, name)
            assert sum(row[name] for row in whole["data"]) == whole["total"][name]


def test_account_s_own_key_sums_its_own_use_alone(ada_account: Account, service: str) -> None:
    for account in (ada_account, Account.objects.create(name="Eve")):
        ledger.grant(account_id=account.pk, amount=100, source=Source.BONUS, source_key="t", now=clock.now())
        ledger.spend(account_id=account.pk, amount=3, idempotency_key="s", now=clock.now())

    assert call("get", "usage/summary", own_key(ada_account)).json()["total"]["credits"] == 3
    assert call("get", "usage/summary", service).json()["total"]["credits"] == 6


def test_backend_makes_and_revokes_keys_of_its_users(service: str) -> None:
    account = opening.external_account(subject="u1", now=clock.now())

    made = call("post", "api-keys", service, {"account": "ext:u1", "name": "Theirs", "scopes": ["credits:spend"]})
    assert made.status_code == 201
    assert made.headers["Cache-Control"] == "no-store"
    listed = call("get", "api-keys?account=ext:u1", service).json()["data"]
    assert [row["name"] for row in listed] == ["Theirs"]
    rotated = call("post", f"api-keys/{made.json()['id']}/rotate", service, {"account": "ext:u1"})
    assert rotated.status_code == 201
    assert call("delete", f"api-keys/{rotated.json()['id']}?account=ext:u1", service).status_code == 204
    assert account.api_keys.filter(revoked_at=None).count() == 1
    other = opening.external_account(subject="u2", now=clock.now())
    assert call("delete", f"api-keys/{made.json()['id']}?account={other.public_id}", service).status_code == 404


def test_leaked_key_makes_no_other_keys(ada_account: Account) -> None:
    no_accounts = keys.create_key(
        account=None, name="s", scopes=["credits:read", "credits:spend"], created_by=None, now=clock.now()
    ).secret

    for secret in (own_key(ada_account), no_accounts):
        answer = call("post", "api-keys", secret, {"account": ada_account.public_id, "name": "x"})
        assert (answer.status_code, answer.json()["code"]) == (403, "insufficient_scope")
    assert ada_account.api_keys.count() == 1


def test_version_is_one_everywhere() -> None:
    assert call("get", "version").json() == {"version": VERSION, "api": "v1"}
    assert Client().get("/healthz").json()["version"] == VERSION
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == VERSION
    assert f'VERSION = "{VERSION}"' in (ROOT / "common" / "version.py").read_text()
