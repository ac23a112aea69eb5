"""The proxy: each answer costs what its tokens do, whoever goes away in the middle."""

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from django.conf import settings
from starlette.testclient import TestClient
from tegoed import NotAllowed, Tegoed, calls

from accounts import keys
from accounts.models import Account
from accounts.opening import external_account
from credits import selectors
from credits.models import Hold, Transaction
from examples.openai_proxy import app as proxy
from examples.tests.conftest import Server

ASK = {"model": "gpt", "messages": [{"role": "user", "content": "Tell me of credits"}]}


@pytest.fixture
def account(serve: Callable[[str], Server]) -> Callable[..., Any]:
    """A customer with the demo's eight free credits, and the proxy before a model."""
    from common import clock

    server = serve("demo")
    customer = external_account(subject="c", now=clock.now())

    def connect(upstream: proxy.Upstream | None = None) -> tuple[Account, TestClient]:
        headers = {"Authorization": f"Bearer {server.key_of(customer)}"}
        app = proxy.create_app(server.url, server.service_key, upstream or proxy.PretendUpstream())
        return customer, TestClient(app, headers=headers, raise_server_exceptions=False)

    return connect


def left(account: Account) -> int:
    from common import clock

    return selectors.balance(account_id=account.pk, now=clock.now()).available


def test_an_answer_costs_its_tokens(account: Callable[..., Any]) -> None:
    customer, client = account()

    reported = client.post("/v1/chat/completions", json=ASK).json()

    assert reported["object"] == "chat.completion"
    assert "You wrote 4 words" in reported["choices"][0]["message"]["content"]
    spent = Transaction.objects.get(kind="spend")
    assert spent.usage["input_tokens"] == reported["usage"]["prompt_tokens"]
    assert spent.usage["output_tokens"] == reported["usage"]["completion_tokens"]
    assert (spent.amount, left(customer)) == (-1, 7)  # at least one


def test_a_stream_is_passed_on_and_settled_at_its_end(account: Callable[..., Any]) -> None:
    customer, client = account()

    with client.stream("POST", "/v1/chat/completions", json={**ASK, "stream": True}) as answer:
        lines = [line.removeprefix("data: ") for line in answer.iter_lines() if line]

    assert lines[-1] == "[DONE]"
    chunks = [json.loads(line) for line in lines[:-1]]
    assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks).startswith("You wrote 4")
    assert Hold.objects.get().status == "captured"
    assert left(customer) == 7


def test_too_few_credits_is_an_openai_style_error(account: Callable[..., Any]) -> None:
    customer, client = account()

    answer = client.post("/v1/chat/completions", json={**ASK, "max_tokens": 50_000})

    error = answer.json()["error"]
    assert (answer.status_code, error["type"], error["code"]) == (402, "insufficient_quota", "insufficient_credits")
    assert "/enter/" in error["message"]  # a link that lets them in
    assert left(customer) == 8


class Breaking:
    """A model that breaks off after so many words."""

    def __init__(self, words: int) -> None:
        self._words = words

    async def stream(self, body: dict[str, Any]) -> AsyncIterator[proxy.Chunk]:
        for _ in range(self._words):
            yield proxy._chunk(body, {"content": "word "})
        raise proxy.UpstreamError("gone")


def test_a_model_that_does_not_begin_costs_nothing(account: Callable[..., Any]) -> None:
    customer, client = account(Breaking(0))

    assert client.post("/v1/chat/completions", json=ASK).status_code == 502
    assert (Hold.objects.get().status, left(customer)) == ("released", 8)


def test_what_was_written_before_it_broke_off_is_paid(account: Callable[..., Any]) -> None:
    customer, client = account(Breaking(600))

    with client.stream("POST", "/v1/chat/completions", json={**ASK, "stream": True}) as answer:
        text = "".join(answer.iter_text())

    assert '"gone"' in text
    spent = Transaction.objects.get(kind="spend")
    assert (spent.usage["output_tokens"], spent.amount) == (750, -3)  # 3,000 letters
    assert left(customer) == 5


@pytest.mark.parametrize(
    "body", ["[]", "{}", '{"messages": 7}', '{"messages": [7]}', "x", '{"messages": [], "max_tokens": "x"}']
)
def test_what_is_no_question_is_400(account: Callable[..., Any], body: str) -> None:
    _, client = account()

    assert client.post("/v1/chat/completions", content=body).status_code == 400


def test_a_customer_cannot_undo_what_an_answer_cost(account: Callable[..., Any], serve: Any) -> None:
    customer, client = account()
    client.post("/v1/chat/completions", json=ASK)
    spent = Transaction.objects.get(kind="spend")
    hold = Hold.objects.get()

    own = Tegoed(client.headers["Authorization"].removeprefix("Bearer "), base_url=settings.BASE_URL)
    for undo in (
        lambda: own.reverse(spent.public_id, reason="Mine"),
        lambda: own._run(calls.release(hold.public_id, None)),
        lambda: own._run(calls.capture(hold.public_id, amount=1, quantity=None, usage=None, account=None)),
    ):
        with pytest.raises(NotAllowed, match="service key"):
            undo()
    own.close()

    assert left(customer) == 7


def test_a_key_that_only_reads_is_served_nothing(account: Callable[..., Any]) -> None:
    from common import clock

    customer, client = account()
    created = keys.create_key(account=customer, name="r", scopes=["credits:read"], created_by=None, now=clock.now())

    answer = client.post("/v1/chat/completions", json=ASK, headers={"Authorization": f"Bearer {created.secret}"})

    assert (answer.status_code, left(customer)) == (403, 8)


def test_a_stranger_is_401(account: Callable[..., Any]) -> None:
    _, client = account()

    answer = client.post("/v1/chat/completions", json=ASK, headers={"Authorization": "Bearer tg_test_nobody"})

    assert answer.status_code == 401
