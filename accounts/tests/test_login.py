"""Signing up and in: verification, reset, a second factor, sessions, and not by guessing."""

import re
from typing import Any

import pytest
from allauth.mfa.adapter import get_adapter
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret, hotp_value, yield_hotp_counters_from_time
from django.core import mail
from django.core.cache import cache
from django.test import Client
from pytest_django import Settings

from accounts.mailboxes import mailbox_of
from accounts.models import User

PASSWORD = "correct horse battery"


@pytest.fixture(autouse=True)
def no_limits_of_another_test(settings: Settings) -> None:
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    cache.clear()


def sign_in(client: Client, email: str = "ada@example.com", password: str = PASSWORD) -> Any:
    return client.post("/accounts/login/", {"login": email, "password": password})


def is_signed_in(client: Client) -> bool:
    return client.get("/dashboard").status_code == 200


def test_an_address_is_verified_before_it_opens_anything(client: Client, db: None, settings: Settings) -> None:
    settings.ACCOUNT_EMAIL_VERIFICATION = "mandatory"
    client.post("/accounts/signup/", {"email": "new@example.com", "password1": PASSWORD})
    assert not is_signed_in(client)
    (message,) = mail.outbox
    (link,) = re.findall(r"https?://[^/]+(/accounts/confirm-email/\S+)", str(message.body))

    client.post(link)

    sign_in(client, "new@example.com")
    assert is_signed_in(client)


def test_a_password_is_reset_by_mail_once(client: Client, ada: User) -> None:
    client.post("/accounts/password/reset/", {"email": ada.email})
    (link,) = re.findall(r"https?://[^/]+(/accounts/password/reset/key/\S+)", str(mail.outbox[0].body))
    form = client.get(link, follow=True).redirect_chain[-1][0]
    new = "another fine horse"
    client.post(form, {"password1": new, "password2": new})
    other = Client()
    sign_in(other, password=new)

    assert is_signed_in(other)
    assert client.get(link, follow=True).status_code == 200
    assert "password1" not in client.get(link, follow=True).content.decode()


def test_a_code_by_mail_does_instead_of_a_password(client: Client, ada: User) -> None:
    client.post("/accounts/login/code/", {"email": ada.email})
    (code,) = re.findall(r"^\s*([A-Z0-9]{3,4}-?[A-Z0-9]{3,4})\s*$", str(mail.outbox[0].body), re.M)
    client.post("/accounts/login/code/confirm/", {"code": "WRONG1"})
    assert not is_signed_in(client)

    client.post("/accounts/login/code/confirm/", {"code": code})

    assert is_signed_in(client)


def test_nobody_learns_who_has_an_account(client: Client, ada: User) -> None:
    known = client.post("/accounts/password/reset/", {"email": ada.email})
    unknown = client.post("/accounts/password/reset/", {"email": "nobody@example.com"})
    wrong = [sign_in(client, email, "wrong").content for email in (ada.email, "nobody@example.com")]

    assert (known.status_code, known["Location"]) == (unknown.status_code, unknown["Location"])
    texts = [re.sub(rb'value="[^"]*"', b"", page) for page in wrong]
    assert texts[0] == texts[1]


def test_guessing_a_password_ends_after_ten_tries(client: Client, ada: User) -> None:
    for _ in range(10):
        sign_in(client, password="wrong")

    answer = sign_in(client)

    assert answer.status_code in (200, 429)
    assert not is_signed_in(client)
    assert not is_signed_in(Client())


def test_a_second_factor_is_asked_for(client: Client, ada: User) -> None:
    secret = generate_totp_secret()
    TOTP.activate(ada, secret)
    sign_in(client)
    assert not is_signed_in(client)

    counter = next(iter(yield_hotp_counters_from_time()))
    kept = Authenticator.objects.get().data["secret"]
    assert secret not in kept
    code = get_adapter().decrypt(kept)
    client.post("/accounts/2fa/authenticate/", {"code": f"{hotp_value(code, counter):06d}"})

    assert is_signed_in(client)


def test_a_person_sees_their_sessions_and_ends_the_others(client: Client, ada: User) -> None:
    other = Client()
    sign_in(client)
    sign_in(other)
    assert is_signed_in(other)
    assert client.get("/accounts/sessions/").status_code == 200

    client.post("/accounts/sessions/")

    assert is_signed_in(client)
    assert not is_signed_in(other)


def test_a_crowd_behind_one_address_is_stopped(client: Client, db: None, settings: Settings) -> None:
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "farm"}}
    settings.ACCOUNT_RATE_LIMITS = {"signup": "100/m/ip,20/d/ip"}
    cache.clear()

    for number in range(100):
        form = {"email": f"farm{number}@example.com", "password1": "correct horse battery"}
        Client().post("/accounts/signup/", form)

    assert User.objects.count() == 20


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("ada@example.com", "Ada+1@example.com"),
        ("a.da@gmail.com", "ad.a+x@googlemail.com"),
        ("a@x.org", "a@x.org"),
        # Spellings that Django's validator takes, and that mail is delivered for to the same mailbox.
        ("vic@gmail.com", "vic@\uff47mail.com"),
        ("vic@gmail.com", "vic@g\u24dcail.com"),
        ("vic@gmail.com", "vic@gma\u2148l.com"),
        ("vic@gmail.com", '"v\\ic"@gmail.com'),
        ("vic@x.org", '"vic"@X.ORG'),
        ("a@b\u00fccher.example", "a@xn--bcher-kva.example"),
    ],
)
def test_addresses_of_one_mailbox_are_known(first: str, second: str) -> None:
    assert mailbox_of(first) == mailbox_of(second) != ""
    assert first not in mailbox_of(first)


@pytest.mark.parametrize(
    ("first", "second"), [("ada@x.org", "adb@x.org"), ("a.da@x.org", "ada@x.org"), ("+@x.org", "a@x.org")]
)
def test_other_mailboxes_are_others(first: str, second: str) -> None:
    assert mailbox_of(first) != mailbox_of(second)
