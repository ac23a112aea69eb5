"""The letters: by e-mail, five for a euro, written once they are paid."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from billing.models import Order
from examples.tests.conftest import Server

APP = Path(__file__).resolve().parent.parent / "streamlit_letter" / "app.py"


@pytest.fixture
def server(serve: Callable[[str], Server], monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    import streamlit

    started = serve("pay-per-use")
    monkeypatch.setenv("TEGOED_URL", started.url)
    monkeypatch.setenv("TEGOED_API_KEY", started.service_key)
    yield started
    streamlit.cache_resource.clear()


def test_somebody_buys_five_letters_with_a_phone_and_writes_one(server: Server) -> None:
    app = AppTest.from_file(str(APP), default_timeout=30).run()
    app.text_input[0].input("Ada@Example.com").run()
    assert app.metric[0].value == "0"
    app.button[0].click().run()  # write: there are none
    assert "no letters left" in app.warning[0].value
    app.button[1].click().run()  # buy
    order = Order.objects.get()
    assert (order.amount_minor, order.ui) == (100, "qr")

    server.pay(order.stripe_session_id or "")
    app.run()
    assert app.metric[0].value == "5"

    app.text_input[1].input("Bob")
    app.text_area[0].input("credits")
    app.button[0].click().run()
    assert "Dear Bob" in app.text_area[1].value
    assert "4 left." in app.caption[0].value
    assert not app.exception
