"""The page: asks for a credit, and when there are none, sells some."""

from collections.abc import Callable

import pytest
from starlette.testclient import TestClient
from tegoed import AsyncTegoed

from billing.models import Order
from credits.models import Transaction
from examples import pretend_ai
from examples.ai_page.app import create_app
from examples.tests.conftest import Server


def test_a_visitor_asks_runs_out_buys_and_asks_on(
    serve: Callable[[str], Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve("demo")
    with TestClient(create_app(AsyncTegoed(server.service_key, base_url=server.url))) as visitor:
        assert "you have 8" in visitor.get("/").text  # three for today, five for the month
        for left in range(7, -1, -1):
            page = visitor.post("/ask", content="prompt=What+is+a+<credit>?")
            assert f"{left} left" in page.text
            assert "<credit>" not in page.text
        page = visitor.post("/ask", content="prompt=More")
        assert page.status_code == 402
        assert "Buy 20 credits" in page.text

        bought = [visitor.post("/buy", content="key=k1", follow_redirects=False) for _ in range(2)]
        assert {answer.status_code for answer in bought} == {303}
        order = Order.objects.get()
        assert bought[0].headers["Location"] == order.checkout_url
        server.pay(order.stripe_session_id or "")
        assert "You have 20 credits" in visitor.get("/bought").text

        def fail(_prompt: str) -> str:
            raise TimeoutError

        monkeypatch.setattr(pretend_ai, "answer", fail)
        with pytest.raises(TimeoutError):
            visitor.post("/ask", content="prompt=Fail")
        assert "you have 20" in visitor.get("/").text
    assert Transaction.objects.filter(kind="reverse").count() == 1


def test_two_visitors_have_their_own_credits(serve: Callable[[str], Server]) -> None:
    server = serve("demo")
    with TestClient(create_app(AsyncTegoed(server.service_key, base_url=server.url))) as visitor:
        visitor.post("/ask", content="prompt=Hello")
        visitor.cookies.clear()
        assert "you have 8" in visitor.get("/").text
        visitor.cookies.set("visitor", "../acc_1")
        assert "you have 8" in visitor.get("/").text
