"""Tokens and webhooks of other systems: Stack Auth, Supabase, any OpenID Connect provider."""

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import jwt
import pytest
import requests
from allauth.account.models import EmailAddress
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from django.core.checks import run_checks
from django.test import Client
from pytest_django import Settings

from accounts import issuers, keys
from accounts.models import Account, ExternalIdentity, User
from common import clock, webhook_signatures
from tests.threads import together

SECRET = "whsec_" + base64.b64encode(b"s" * 24).decode()
URL = "https://auth.example.com/project"


@dataclass
class Provider:
    """A provider with keys that it can exchange, and a count of how often they were asked for."""

    keys: dict[str, Any] = field(default_factory=dict)
    asked: int = 0
    is_away: bool = False

    def new_key(self, name: str) -> None:
        self.keys[name] = ec.generate_private_key(ec.SECP256R1())

    def answer(self, url: str) -> dict[str, Any]:
        self.asked += 1
        if self.is_away:
            raise requests.ConnectionError
        if url.endswith(issuers.DISCOVERY):
            return {"issuer": URL, "jwks_uri": f"{URL}/keys"}
        assert url == f"{URL}/keys"
        public = jwt.algorithms.ECAlgorithm.to_jwk
        return {
            "keys": [
                {**json.loads(public(key.public_key())), "kid": name, "alg": "ES256"} for name, key in self.keys.items()
            ]
        }

    def token(self, subject: str = "u1", *, key: str = "k1", **said: Any) -> str:
        now = clock.now()
        claims = {
            "iss": URL, "aud": "our-app", "sub": subject, "iat": now.timestamp(), "exp": now.timestamp() + 300, **said,
        }  # fmt: skip
        return jwt.encode(claims, self.keys[key], algorithm="ES256", headers={"kid": key})


@pytest.fixture
def provider(settings: Settings, monkeypatch: pytest.MonkeyPatch, clock_file: Any) -> Iterator[Provider]:
    settings.TOKEN_ISSUERS = [{"name": "stack", "issuer": URL, "audience": "our-app", "webhook_secrets": [SECRET]}]
    created = Provider()
    created.new_key("k1")
    monkeypatch.setattr(issuers, "_get", created.answer)
    issuers.forget_keys()
    yield created
    issuers.forget_keys()


def balance(client: Client, token: str) -> Any:
    return client.get("/api/v1/credits/balance", headers={"Authorization": f"Bearer {token}"})


def test_a_token_opens_a_user_and_an_account_on_first_sight(client: Client, db: None, provider: Provider) -> None:
    token = provider.token(email="Ada@Example.com", email_verified=True, name="Ada")

    first, second = balance(client, token), balance(client, token)

    assert (first.status_code, first.json()) == (200, second.json())
    user = User.objects.get()
    assert (user.email, user.name, user.has_usable_password()) == ("ada@example.com", "Ada", False)
    assert first.json()["account"] == Account.objects.get().public_id
    assert EmailAddress.objects.get().verified


def test_issuer_keys_are_fetched_once_and_again_for_a_new_key(
    client: Client, db: None, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    moment = 1_000.0
    monkeypatch.setattr(issuers.time, "monotonic", lambda: moment)
    for _ in range(3):
        assert balance(client, provider.token()).status_code == 200
    assert provider.asked == 2  # the discovery, and the keys
    provider.new_key("k2")
    assert balance(client, provider.token(key="k2")).status_code == 401  # asked a moment ago
    moment += issuers.ASK_AGAIN_S + 1

    assert balance(client, provider.token(key="k2")).status_code == 200
    assert provider.asked == 4


def test_rubbish_does_not_make_us_ask_again_and_again(client: Client, db: None, provider: Provider) -> None:
    for number in range(50):
        provider.new_key(f"rubbish-{number}")
        token = provider.token(key=f"rubbish-{number}")
        del provider.keys[f"rubbish-{number}"]
        assert balance(client, token).status_code == 401

    assert provider.asked == 2


def test_issuer_away_is_503_only_while_its_keys_are_unknown(
    client: Client, db: None, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    moment = 1_000.0
    monkeypatch.setattr(issuers.time, "monotonic", lambda: moment)
    provider.is_away = True
    answer = balance(client, provider.token())
    assert (answer.status_code, answer["Retry-After"], answer.json()["code"]) == (503, "5", "unavailable")
    provider.is_away = False
    moment += issuers.ASK_AGAIN_S + 1
    assert balance(client, provider.token()).status_code == 200
    provider.is_away = True
    moment += issuers.KEEP_S + 1

    assert balance(client, provider.token()).status_code == 200


@pytest.mark.parametrize(
    "said",
    [
        {"aud": "another-app"},
        {"iss": "https://evil.example"},
        {"exp": 1_000},
        {"iat": 9_999_999_999},
        {"nbf": 9_999_999_999},
        {"sub": ""},
        {"sub": "x" * 256},
        {"sub": "a\nb"},
    ],
    ids=str,
)
def test_a_token_that_is_not_for_us_opens_nothing(
    client: Client, db: None, provider: Provider, said: dict[str, Any]
) -> None:
    answer = balance(client, provider.token(**said))

    assert answer.status_code == 401
    assert not Account.objects.exists()


def test_a_token_signed_by_others_opens_nothing(client: Client, db: None, provider: Provider) -> None:
    assert balance(client, provider.token()).status_code == 200  # so that the keys are known
    claims = jwt.decode(provider.token("u2"), options={"verify_signature": False})
    public = provider.keys["k1"].public_key()
    pem = public.public_bytes(*_PEM)
    forged = [
        jwt.encode(claims, ec.generate_private_key(ec.SECP256R1()), algorithm="ES256", headers={"kid": "k1"}),
        jwt.encode(claims, rsa.generate_private_key(65_537, 2_048), algorithm="RS256", headers={"kid": "k1"}),
        jwt.encode(claims, None, algorithm="none", headers={"kid": "k1"}),
        _signed_with_text(claims, pem),  # the public key taken for a shared secret
    ]

    assert [balance(client, token).status_code for token in forged] == [401] * 4
    assert Account.objects.count() == 1


def test_known_address_is_linked_only_if_both_sides_verified(
    client: Client, ada: User, ada_account: Account, provider: Provider
) -> None:
    reported = {"email": ada.email, "email_verified": True}
    stranger = balance(client, provider.token("u1", **reported)).json()["account"]
    EmailAddress.objects.create(user=ada, email=ada.email, verified=True, primary=True)
    unsure = balance(client, provider.token("u2", email=ada.email)).json()["account"]
    same = balance(client, provider.token("u3", **reported)).json()["account"]

    assert same == ada_account.public_id
    assert len({stranger, unsure, same}) == 3


@pytest.mark.django_db(transaction=True)
def test_a_first_sight_by_many_at_once_opens_one_account(client: Client, provider: Provider) -> None:
    token = provider.token(email="ada@example.com", email_verified=True)
    balance(client, provider.token("warm-up"))

    answers = together(8, lambda _: balance(Client(), token).json()["account"])

    assert len(set(answers)) == 1
    assert User.objects.count() == 1
    assert Account.objects.count() == 2


def tell(client: Client, kind: str, at: datetime | None = None, *, secret: str = SECRET, **data: Any) -> int:
    """Send a webhook as Stack Auth does, through Svix."""
    now = at or clock.now()
    body = json.dumps({"type": kind, "data": {"id": "u1", **data}}).encode()
    seconds = int(now.timestamp())
    signature = webhook_signatures.sign(secret=secret, message_id="msg_1", timestamp=seconds, body=body)
    headers = {"svix-id": "msg_1", "svix-timestamp": str(seconds), "svix-signature": f"v1,x {signature}"}
    return client.post(
        "/api/webhooks/identity/stack", body, content_type="application/json", headers=headers
    ).status_code


def test_a_provider_s_webhooks_keep_users_in_step(client: Client, db: None, provider: Provider) -> None:
    ada = {"primary_email": "ada@example.com", "primary_email_verified": True, "display_name": "Ada"}
    start = clock.now() - timedelta(minutes=2)
    assert tell(client, "user.created", start, **ada) == 200
    assert tell(client, "user.updated", start + timedelta(seconds=20), **{**ada, "display_name": "Ada L."}) == 200
    assert tell(client, "user.updated", start + timedelta(seconds=10), **{**ada, "display_name": "Late"}) == 200
    assert (User.objects.get().name, Account.objects.get().name) == ("Ada L.", "Ada L.")
    moved = {**ada, "primary_email": "ada@new.example"}
    assert tell(client, "user.updated", start + timedelta(seconds=30), **moved) == 200
    assert (User.objects.get().email, Account.objects.get().email) == ("ada@new.example", "ada@new.example")
    key = keys.create_key(
        account=Account.objects.get(), name="t", scopes=["credits:read"], created_by=None, now=clock.now()
    )

    assert tell(client, "user.deleted", start + timedelta(seconds=40)) == 200

    assert not User.objects.get().is_active
    assert balance(client, key.secret).status_code == 401
    assert balance(client, provider.token()).status_code == 401
    assert tell(client, "user.created", start, **ada) == 200  # late
    assert balance(client, provider.token()).status_code == 401
    assert (User.objects.count(), Account.objects.count()) == (1, 1)


def test_identity_deleted_before_its_creation_arrives_is_gone(client: Client, db: None, provider: Provider) -> None:
    assert tell(client, "user.deleted") == 200
    assert tell(client, "user.created", clock.now() - timedelta(seconds=30), primary_email="ada@example.com") == 200

    assert balance(client, provider.token()).status_code == 401
    assert not User.objects.filter(is_active=True).exists()


def test_a_webhook_that_is_not_theirs_changes_nothing(client: Client, db: None, provider: Provider) -> None:
    other = "whsec_" + base64.b64encode(b"o" * 24).decode()

    assert tell(client, "user.created", secret=other) == 400
    assert tell(client, "user.created", clock.now() - timedelta(minutes=10)) == 400
    assert tell(client, "user.created", clock.now() + timedelta(minutes=10)) == 400
    assert tell(client, "user.created", id=7) == 400
    assert tell(client, "user.created", id="a\x00b") == 400
    assert tell(client, "team.created") == 200  # none of ours
    assert client.post("/api/webhooks/identity/nobody", b"{}", content_type="application/json").status_code == 404
    assert not ExternalIdentity.objects.exists()


@pytest.mark.parametrize(
    ("entry", "named"),
    [
        ({"name": "x"}, "E001"),
        ({"name": "x", "issuer": "https://x", "audience": "a", "colour": "red"}, "E001"),
        ({"name": "x", "issuer": "https://x", "audience": "a", "scopes": ["credits:grant"]}, "E001"),
        ({"name": "x", "issuer": "https://x", "audience": "a", "webhook_secrets": ["plain"]}, "E001"),
        ({"name": "x", "issuer": "http://x", "audience": "a"}, "E002"),
        ("x", "E001"),
    ],
    ids=str,
)
def test_an_issuer_that_cannot_be_used_is_told_at_the_start(
    db: None, settings: Settings, entry: Any, named: str
) -> None:
    settings.TOKEN_ISSUERS = [entry]

    assert [problem.id for problem in run_checks() if str(problem.id).startswith("accounts")] == [f"accounts.{named}"]


def _signed_with_text(claims: dict[str, Any], secret: bytes) -> str:
    """HS256 by hand: PyJWT itself refuses a public key for it."""
    import hashlib
    import hmac

    def part(told: Any) -> bytes:
        return base64.urlsafe_b64encode(json.dumps(told).encode()).rstrip(b"=")

    signed = part({"alg": "HS256", "typ": "JWT", "kid": "k1"}) + b"." + part(claims)
    return (signed + b"." + base64.urlsafe_b64encode(hmac.digest(secret, signed, hashlib.sha256)).rstrip(b"=")).decode()


def _pem() -> tuple[Any, Any]:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return Encoding.PEM, PublicFormat.SubjectPublicKeyInfo


_PEM = _pem()
