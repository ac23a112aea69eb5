"""Apps in browsers: which origins may call the API, as the Fetch standard has it (fetch.spec.whatwg.org, 3.3)."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from accounts import app_origins
from accounts.models import AppOrigin
from accounts.origins import validate_origin

APP, STRANGER = "https://app.example.com", "https://evil.example.com"

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def no_sandbox(settings: Settings) -> Iterator[None]:
    settings.CORS_ALLOWED_ORIGIN_REGEXES = []
    settings.CORS_ALLOWED_ORIGINS = [APP]
    app_origins.forget()
    yield
    app_origins.forget()


def preflight(origin: str, path: str = "/api/v1/credits/balance", method: str = "GET") -> Any:
    """What a browser asks before a call with a token."""
    headers = {
        "Origin": origin, "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": "authorization,content-type,idempotency-key",
    }  # fmt: skip
    return Client().options(path, headers=headers)


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
def test_preflight_of_a_named_origin_is_allowed(method: str) -> None:
    answer = preflight(APP, method=method)

    assert answer.status_code == 200
    assert answer.headers["Access-Control-Allow-Origin"] == APP
    assert method in answer.headers["Access-Control-Allow-Methods"]
    for header in ("authorization", "content-type", "idempotency-key"):
        assert header in answer.headers["Access-Control-Allow-Headers"]
    assert "Access-Control-Allow-Credentials" not in answer.headers
    assert "origin" in answer.headers["Vary"].lower()


@pytest.mark.parametrize(
    "origin",
    [
        STRANGER, "null", "https://app.example.com.evil.com", "http://app.example.com", "https://APP.example.com.",
        "https://app.example.com:8443", "https://xapp.example.com", "", "http://localhost:3000",
    ],
)  # fmt: skip
def test_no_other_origin_may_read(origin: str) -> None:
    answer = preflight(origin)
    called = Client().get("/api/v1/billing/catalogue", headers={"Origin": origin})

    for got in (answer, called):
        assert "Access-Control-Allow-Origin" not in got.headers


def test_refusals_can_be_read_too() -> None:
    """A 401 or 429 that the app cannot read is a network error to it."""
    answer = Client().get("/api/v1/credits/balance", headers={"Origin": APP})

    assert answer.status_code == 401
    assert answer.headers["Access-Control-Allow-Origin"] == APP
    exposed = answer.headers["Access-Control-Expose-Headers"]
    for header in ("request-id", "retry-after", "ratelimit", "credits-available", "idempotent-replayed"):
        assert header in exposed


@pytest.mark.parametrize(
    "path", ["/dashboard", "/admin/", "/accounts/login/", "/api/webhooks/stripe", "/api/credits/use"]
)
def test_pages_and_webhooks_are_for_no_other_origin(path: str) -> None:
    assert "Access-Control-Allow-Origin" not in preflight(APP, path).headers


def test_console_names_origins(admin_client: Client) -> None:
    assert "Access-Control-Allow-Origin" not in preflight("https://two.example.com").headers

    # As it is copied from an address bar: kept as browsers write it.
    copied = "https://Two.example.com/"
    admin_client.post(reverse("admin:accounts_apporigin_add"), {"origin": copied, "may_call": "on"})

    assert preflight("https://two.example.com").headers["Access-Control-Allow-Origin"] == "https://two.example.com"
    assert not app_origins.may_return("https://two.example.com")
    row = AppOrigin.objects.get()
    admin_client.post(
        reverse("admin:accounts_apporigin_change", args=[row.pk]), {"origin": row.origin, "may_return": "on"}
    )
    assert "Access-Control-Allow-Origin" not in preflight("https://two.example.com").headers
    assert app_origins.may_return("https://two.example.com")
    admin_client.post(reverse("admin:accounts_apporigin_delete", args=[row.pk]), {"post": "yes"})
    assert not app_origins.may_return("https://two.example.com")


@pytest.mark.parametrize(
    "text",
    [
        "*", "https://*", "https://*.example.com", "app.example.com", "https://app.example.com/", "HTTPS://app.example.com",
        "https://app.example.com/path", "https://user@app.example.com", "https://app.example.com:443", "null",
        "http://app.example.com", "javascript:alert(1)", "https://", "https://app.example.com:x", "https://app.example.com\n",
        "http://localhost:80", "https://app .example.com", "https://app.example.com?x",
    ],
)  # fmt: skip
def test_what_no_browser_sends_is_no_origin(text: str) -> None:
    with pytest.raises(ValidationError):
        validate_origin(text)


@pytest.mark.parametrize(
    "text", ["https://app.example.com", "https://app.example.com:8443", "http://localhost:3000", "http://127.0.0.1:5173",
             "https://xn--bcher-kva.example", "http://[::1]:3000", "http://localhost"],
)  # fmt: skip
def test_origins_of_browsers_are_taken(text: str) -> None:
    validate_origin(text)


def test_cookies_of_other_sites_are_never_asked_for() -> None:
    answer = Client().get("/api/v1/credits/balance", headers={"Origin": APP, "Cookie": "sessionid=x"})

    assert "Access-Control-Allow-Credentials" not in answer.headers
