"""Tokens of ours: made with a key, good for ten minutes, forged by nobody."""

import base64
import json
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import jwt
import pytest
from django.conf import settings as configured
from django.test import Client
from pytest_django import DjangoAssertNumQueries, Settings

from accounts import keys, tokens
from accounts.errors import TokenExpiredError, UnauthenticatedError
from accounts.models import Account, Scope, User
from common import clock
from credits import ledger
from credits.models import Source
from sandbox.clock import SandboxClock

Ask = Callable[..., Any]


@pytest.fixture
def ask(client: Client, ada_account: Account, present: datetime) -> Ask:
    """Calls the API with a key or a token."""
    ledger.grant(account_id=ada_account.pk, amount=10, source=Source.BONUS, source_key="t", now=present)

    def call(path: str, bearer: str, body: Any = None) -> Any:
        headers = {"Authorization": f"Bearer {bearer}", "Idempotency-Key": uuid.uuid4().hex}
        if body is None:
            return client.get(f"/api/v1/{path}", headers=headers)
        return client.post(f"/api/v1/{path}", body, content_type="application/json", headers=headers)

    return call


def post(client: Client, path: str, body: Any = None) -> Any:
    return client.post(f"/api/v1/{path}", body or {}, content_type="application/json")


def key_of(account: Account | None, *scopes: str) -> str:
    rights = scopes or (keys.ACCOUNT_KEY_SCOPES if account else keys.SERVICE_KEY_SCOPES)
    return keys.create_key(account=account, name="t", scopes=rights, created_by=None, now=clock.now()).secret


def forged(
    now: datetime, *, key: bytes = b"x" * 32, algorithm: str = "HS256", name: str | None = None, **said: Any
) -> str:
    kid = next(iter(tokens._keys())) if name is None else name
    claims = {
        "iss": configured.BASE_URL, "aud": "tegoed-api", "sub": "service", "scope": "credits:grant", "act": "key_x",
        "iat": now.timestamp(), "exp": now.timestamp() + 300, **said,
    }  # fmt: skip
    return jwt.encode(claims, key if algorithm != "none" else None, algorithm=algorithm, headers={"kid": kid})


def test_a_token_spends_as_its_key_would_and_needs_no_look_up(
    ask: Ask, ada_account: Account, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    created = ask(
        "auth/tokens", key_of(ada_account), {"scopes": ["credits:read", "credits:spend", "usage:read"]}
    ).json()

    with django_assert_num_queries(0):  # the spend itself is one statement, past Django's cursor
        answer = ask("credits/spend", created["token"], {"amount": 1})

    assert (answer.status_code, answer.json()["balance_after"]) == (201, 9)
    assert ask("credits/balance", created["token"]).json()["account"] == ada_account.public_id
    (event,) = ask("usage/events", created["token"]).json()["data"]
    assert event["key"].startswith("key_")


def test_a_token_has_no_more_rights_than_were_asked_for(ask: Ask, ada_account: Account) -> None:
    created = ask("auth/tokens", key_of(ada_account), {"scopes": ["credits:read"], "ttl": 60}).json()

    assert created["scopes"] == ["credits:read"]
    assert ask("credits/spend", created["token"], {"amount": 1}).json()["code"] == "insufficient_scope"


def test_a_token_has_no_more_rights_than_its_key(ask: Ask, ada_account: Account) -> None:
    answer = ask("auth/tokens", key_of(ada_account, "credits:read"), {"scopes": ["credits:spend"]})

    assert (answer.status_code, answer.json()["required_scope"]) == (403, "credits:spend")


def test_service_key_token_for_an_account_has_no_service_scopes(ask: Ask, ada_account: Account) -> None:
    service = key_of(None)
    created = ask("auth/tokens", service, {"account": "ext:42"}).json()

    assert created["scopes"] == ["credits:read", "usage:read"]
    assert ask("credits/balance", created["token"]).status_code == 200
    assert ask(f"credits/balance?account={ada_account.public_id}", created["token"]).status_code == 404
    grant = {"account": "ext:42", "amount": 5, "reason": "Gift"}
    assert ask("credits/grants", created["token"], grant).json()["code"] == "insufficient_scope"
    for scope in ("credits:grant", "accounts:write"):
        assert ask("auth/tokens", service, {"scopes": [scope]}).json()["required_scope"] == scope


def test_a_token_makes_no_token(ask: Ask, ada_account: Account) -> None:
    created = ask("auth/tokens", key_of(ada_account), {}).json()

    assert ask("auth/tokens", created["token"], {}).json()["code"] == "token_from_token"


@pytest.mark.parametrize("ttl", [0, 601, -1, "x"])
def test_a_token_lasts_ten_minutes_at_most(ask: Ask, ada_account: Account, ttl: object) -> None:
    assert ask("auth/tokens", key_of(ada_account), {"ttl": ttl}).status_code == 400


def test_a_token_expires(ask: Ask, ada_account: Account, clock_file: Any) -> None:
    created = ask("auth/tokens", key_of(ada_account), {"ttl": 60}).json()["token"]
    SandboxClock(clock_file).advance(95)

    answer = ask("credits/balance", created)

    assert (answer.status_code, answer.json()["code"]) == (401, "token_expired")


def test_clocks_may_differ_a_little(now: datetime) -> None:
    created = tokens.issue(
        account_id=None, scopes=["credits:read"], actor="key_x", lasts=timedelta(seconds=60), now=now
    )

    for seconds in (-29, 0, 89):
        assert tokens.read(created.text, now=now + timedelta(seconds=seconds)).actor == "key_x"
    with pytest.raises(TokenExpiredError):
        tokens.read(created.text, now=now + timedelta(seconds=90))
    with pytest.raises(UnauthenticatedError):
        tokens.read(created.text, now=now - timedelta(seconds=31))


def test_token_survives_a_rotated_secret_key_with_fallback(now: datetime, settings: Settings) -> None:
    created = tokens.issue(account_id=None, scopes=[], actor="key_x", lasts=timedelta(seconds=60), now=now)
    name = jwt.get_unverified_header(created.text)["kid"]
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "n" * 50, [settings.SECRET_KEY]

    assert tokens.read(created.text, now=now).actor == "key_x"
    newer = tokens.issue(account_id=None, scopes=[], actor="key_x", lasts=timedelta(seconds=60), now=now)
    assert jwt.get_unverified_header(newer.text)["kid"] != name
    settings.SECRET_KEY_FALLBACKS = []
    with pytest.raises(UnauthenticatedError):
        tokens.read(created.text, now=now)


def rubbish(now: datetime) -> dict[str, str]:
    """Tokens that are not ours, by what is wrong with them."""
    own = next(iter(tokens._keys().values()))
    good = forged(now, key=own)
    head, body, signature = good.split(".")
    reported = json.loads(base64.urlsafe_b64decode(body + "=="))
    other = base64.urlsafe_b64encode(json.dumps({**reported, "sub": "acc_" + "0" * 26}).encode()).rstrip(b"=").decode()
    nothing = base64.urlsafe_b64encode(b'{"alg":"none","typ":"JWT","kid":"x"}').rstrip(b"=").decode()
    return {
        "another key": forged(now),
        "alg none": forged(now, algorithm="none"),
        "alg none, signature kept": f"{nothing}.{body}.{signature}",
        "another algorithm of the same key": forged(now, key=own * 2, algorithm="HS512"),
        "another body": f"{head}.{other}.{signature}",
        "another audience": forged(now, key=own, aud="somebody"),
        "another issuer": forged(now, key=own, iss="https://evil.example"),
        "no key name": jwt.encode({"iss": configured.BASE_URL}, own, algorithm="HS256"),
        "a key name that is a list": forged(now, key=own, name=""),
        "no times": jwt.encode(
            {"iss": configured.BASE_URL, "aud": "tegoed-api", "sub": "service", "scope": "", "act": ""},
            own, algorithm="HS256", headers={"kid": next(iter(tokens._keys()))},
        ),
        "times that are text": forged(now, key=own, exp="tomorrow"),
        "times that are no numbers": forged(now, key=own, exp=True, iat=float("inf")),
        "a subject that is no account": forged(now, key=own, sub="acc_nobody"),
        "no scope": forged(now, key=own, scope=None, act=None, sub="acc_" + "0" * 26),
        "dots": "..",
        "words": "a.b.c",
        "deep": base64.urlsafe_b64encode(b"[" * 3_000).decode().rstrip("=") + ".e30.e30",
        "long": "a" * 9_000 + ".b.c",
    }  # fmt: skip


@pytest.mark.parametrize("which", list(rubbish(datetime.now().astimezone())))
def test_a_token_that_is_not_ours_opens_nothing(ask: Ask, which: str) -> None:
    answer = ask("credits/grants", rubbish(clock.now())[which], {"account": "ext:1", "amount": 5, "reason": "Mine"})

    assert answer.status_code in (401, 404), answer.content
    assert answer["Content-Type"] == "application/problem+json"
    assert not Account.objects.filter(external_identities__subject="1").exists()


def test_only_somebody_who_signed_in_makes_keys(ask: Ask, client: Client, ada: User, ada_account: Account) -> None:
    assert ask("api-keys", key_of(ada_account)).status_code == 403
    assert ask("api-keys", key_of(ada_account), {"name": "More"}).status_code == 403
    assert ask("api-keys", key_of(None), {"name": "For whom?"}).status_code == 400
    client.force_login(ada)

    created = client.post(
        "/api/v1/api-keys", {"name": "Mine", "scopes": ["credits:read"]}, content_type="application/json"
    )

    body = created.json()
    assert (created.status_code, body["scopes"], body["secret"][:12]) == (201, ["credits:read"], body["prefix"])
    assert created["Cache-Control"] == "no-store"
    assert ask("credits/balance", body["secret"]).status_code == 200
    listed = client.get("/api/v1/api-keys").json()["data"]
    assert body["id"] in [key["id"] for key in listed]
    assert "secret" not in listed[0]


def test_a_session_without_its_csrf_token_makes_no_keys(ada: User) -> None:
    visitor = Client(enforce_csrf_checks=True)
    visitor.force_login(ada)

    assert post(visitor, "api-keys", {"name": "Mine"}).status_code == 403


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": ""},
        {"name": "x" * 81},
        {"name": "t", "scopes": []},
        {"name": "t", "scopes": [Scope.CREDITS_GRANT]},
        {"name": "t", "expires_at": "2020-01-01T00:00:00Z"},
    ],
    ids=str,
)
def test_a_key_is_not_made_of_just_anything(client: Client, ada: User, ada_account: Account, body: Any) -> None:
    client.force_login(ada)

    answer = post(client, "api-keys", body)

    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")
    assert not ada_account.api_keys.exists()


def test_a_key_is_rotated_with_an_overlap_and_revoked_at_once(
    client: Client, ask: Ask, ada: User, ada_account: Account, clock_file: Any
) -> None:
    client.force_login(ada)
    first = post(client, "api-keys", {"name": "Mine"}).json()
    second = post(client, f"api-keys/{first['id']}/rotate").json()

    assert [ask("credits/balance", key["secret"]).status_code for key in (first, second)] == [200, 200]
    SandboxClock(clock_file).advance(int(keys.ROTATION_OVERLAP.total_seconds()))
    assert [ask("credits/balance", key["secret"]).status_code for key in (first, second)] == [401, 200]
    assert post(client, f"api-keys/{first['id']}/rotate").json()["code"] == "key_not_working"
    assert client.delete(f"/api/v1/api-keys/{second['id']}").status_code == 204
    assert ask("credits/balance", second["secret"]).json()["code"] == "key_revoked"


def test_somebody_else_s_key_is_not_there(client: Client, ada_account: Account, db: None) -> None:
    client.force_login(User.objects.create_user("bob@example.com", "correct horse battery"))
    key = keys.create_key(account=ada_account, name="t", scopes=["credits:read"], created_by=None, now=clock.now()).key

    assert client.delete(f"/api/v1/api-keys/{key.public_id}").status_code == 404
    assert post(client, f"api-keys/{key.public_id}/rotate").status_code == 404
    key.refresh_from_db()
    assert key.revoked_at is None
