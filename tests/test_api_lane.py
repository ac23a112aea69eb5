"""What the server does with a call of the API that brings no cookie: fewer middlewares, the same answers."""

import io
import json
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import pytest
from django.core.signals import request_finished, request_started
from django.db import close_old_connections
from structlog.testing import capture_logs

from accounts import keys
from accounts.models import Account
from common import clock
from config.wsgi import application
from credits import ledger
from credits.models import Source

Answer = tuple[int, dict[str, str], Any]
Call = Callable[..., Answer]


@pytest.fixture
def call(ada_account: Account, present: datetime) -> Iterator[Call]:
    """A request as gunicorn hands it over."""
    ledger.grant(account_id=ada_account.pk, amount=10, source=Source.BONUS, source_key="t", now=present)
    secret = keys.create_key(
        account=ada_account, name="t", scopes=keys.ACCOUNT_KEY_SCOPES, created_by=None, now=clock.now()
    ).secret

    def ask(method: str, path: str, body: bytes = b"", **headers: str) -> Answer:
        reported: list[Any] = []
        environ = {
            "REQUEST_METHOD": method, "PATH_INFO": path, "SERVER_NAME": "127.0.0.1", "SERVER_PORT": "80",
            "CONTENT_LENGTH": str(len(body)), "CONTENT_TYPE": "application/json", "wsgi.input": io.BytesIO(body),
            "wsgi.url_scheme": "http", "HTTP_HOST": "127.0.0.1", "HTTP_AUTHORIZATION": f"Bearer {secret}",
            "HTTP_IDEMPOTENCY_KEY": "k", **headers,
        }  # fmt: skip
        answer = application(environ, lambda status, sent, *_: reported.extend((status, sent)))
        whole = b"".join(answer)
        answer.close()  # type: ignore[attr-defined]
        return int(reported[0][:3]), dict(reported[1]), json.loads(whole) if whole.startswith((b"{", b"[")) else whole

    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield ask
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


def test_spend_answers_with_headers_and_logs_one_line(call: Call) -> None:
    with capture_logs() as lines:
        status, headers, body = call("POST", "/api/v1/credits/spend", b'{"amount": 3}')

    assert (status, body["balance_after"]) == (201, 7)
    assert headers["Content-Type"] == "application/json"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Credits-Available"] == "7"
    assert "key" in headers["RateLimit"]
    assert int(headers["Content-Length"]) > 100
    (line,) = lines
    assert (line["event"], line["code"], line["request"]) == ("request_finished", 201, "POST /api/v1/credits/spend")


def test_a_problem_names_its_request_by_the_proxy_s_id(call: Call) -> None:
    status, headers, body = call("POST", "/api/v1/credits/spend", b"{", HTTP_X_REQUEST_ID="from-proxy-1")

    assert (status, headers["Request-Id"], body["request_id"]) == (400, "from-proxy-1", "from-proxy-1")
    _, headers, _ = call("GET", "/api/v1/nothing", HTTP_X_REQUEST_ID="a\x00b" * 50)
    assert len(headers["Request-Id"]) == 32


def test_trailing_slash_is_ignored_and_unknown_path_is_a_problem(call: Call) -> None:
    assert call("GET", "/api/v1/credits/balance/")[2]["available"] == 10
    assert call("GET", "/api/v1/nothing")[2]["code"] == "not_found"


def test_a_host_that_is_not_ours_is_refused(call: Call) -> None:
    assert call("GET", "/api/v1/credits/balance", HTTP_HOST="evil.example")[0] == 400


def test_a_defect_is_a_problem(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_about: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(ledger, "spend", fail)

    status, headers, body = call("POST", "/api/v1/credits/spend", b'{"amount": 3}')

    assert (status, body["code"], headers["Content-Type"]) == (500, "internal_error", "application/problem+json")


def test_who_brings_a_cookie_gets_the_whole_of_it(call: Call) -> None:
    _, headers, body = call("GET", "/api/v1/credits/balance", HTTP_COOKIE="theme=dark")

    assert body["available"] == 10
    assert "Content-Security-Policy" in headers


def test_browser_of_an_app_is_answered_before_it_has_a_key(call: Call) -> None:
    """A preflight has no Authorization (fetch.spec.whatwg.org): whoever answers it 401 refuses the app."""
    status, headers, _ = call(
        "OPTIONS", "/api/v1/credits/spend", HTTP_ORIGIN="http://localhost:5173", HTTP_AUTHORIZATION="",
        HTTP_ACCESS_CONTROL_REQUEST_METHOD="POST", HTTP_ACCESS_CONTROL_REQUEST_HEADERS="authorization",
    )  # fmt: skip
    assert (status, headers["access-control-allow-origin"]) == (200, "http://localhost:5173")

    status, headers, _ = call("POST", "/api/v1/credits/spend", b'{"amount": 3}', HTTP_ORIGIN="http://localhost:5173")
    assert (status, headers["access-control-allow-origin"]) == (201, "http://localhost:5173")
    assert "credits-available" in headers["access-control-expose-headers"]
