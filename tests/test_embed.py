"""Custom elements on a page of another origin: what a Flask or plain HTML app has with one script and no build."""

import json
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.conftest import Demo
from tests.test_flow import call

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("demo")]

PAGE = """<!doctype html><html lang="{language}"><head><meta charset="utf-8"><title>An app</title>
<link rel="icon" href="data:,"><meta http-equiv="Content-Security-Policy"
 content="default-src 'self'; script-src {server}; connect-src 'self' {server}; img-src data:">
<script type="module" src="{server}/embed/v1.js"></script></head><body><main><h1>An app</h1>
<tegoed-provider token-url="/token" checkout-url="/checkout" manage-url="/manage">
<tegoed-credits></tegoed-credits> <button data-tegoed-open>More</button><tegoed-warning></tegoed-warning>
<h2>Plan</h2><tegoed-subscription></tegoed-subscription><h2>Packs</h2><tegoed-packs></tegoed-packs><h2>Plans</h2><tegoed-plans></tegoed-plans>
<h2>Paid</h2><tegoed-history></tegoed-history><h2>Used</h2><tegoed-usage days="7"></tegoed-usage>
<tegoed-buy item="credits-50">Fifty</tegoed-buy></tegoed-provider></main></body></html>"""


class App:
    """A server of an app: it serves a page, and for who is signed in a token and a checkout."""

    def __init__(self, demo: Demo, account: str) -> None:
        self.demo, self.account = demo, account
        self.key = demo.told["service_api_key"]
        self.asked: list[str] = []
        self.refuses = ""
        self.pages: dict[str, tuple[str, str]] = {}  # by path: what is there, and its type
        app = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                app.asked.append(self.path)
                if self.path == "/token":
                    _, made = call(demo, "POST", "/auth/tokens", app.key, {"account": account})
                    return self._answer(json.dumps({"token": made["token"]}), "application/json")
                if self.path in app.pages:
                    return self._answer(*app.pages[self.path])
                language = "nl" if self.path == "/nl" else "en"
                return self._answer(PAGE.format(server=demo.base_url, language=language), "text/html")

            def do_POST(self) -> None:
                wanted = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if app.refuses:
                    self._answer(json.dumps({"detail": app.refuses}), "application/json", 409)
                    return
                if self.path == "/manage":
                    _, made = call(demo, "POST", "/customer-sessions", app.key, {**wanted, "account": account})
                    self._answer(json.dumps(made), "application/json")
                    return
                back = wanted.pop("return_url")
                body = {**wanted, "account": account, "success_url": back, "cancel_url": back}
                _, made = call(
                    demo, "POST", "/billing/checkouts", app.key, body, **{"Idempotency-Key": str(id(wanted))}
                )
                self._answer(json.dumps(made), "application/json")

            def _answer(self, text: str, kind: str, status: int = 200) -> None:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_arguments: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://localhost:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def spend(self, amount: int, key: str) -> None:
        body = {"amount": amount, "account": self.account}
        status, _ = call(self.demo, "POST", "/credits/spend", self.key, body, **{"Idempotency-Key": key})
        assert status == 201


@pytest.fixture
def app(demo: Demo) -> Iterator[App]:
    with closing(App(demo, "ext:embedded")) as made:
        yield made


@pytest.fixture
def other_app(demo: Demo) -> Iterator[App]:
    with closing(App(demo, "ext:planned")) as made:
        yield made


def test_credits_are_live_and_bought_on_another_site(demo: Demo, app: App, page: Page) -> None:
    page.goto(app.url)
    credits = page.locator("tegoed-credits")
    expect(credits).to_contain_text("8 credits")
    expect(credits).to_contain_text("3/3 today")
    expect(page.locator("tegoed-warning")).to_be_hidden()
    expect(page.locator("tegoed-packs")).to_contain_text("Buy 20 credits")
    assert app.asked.count("/token") == 1  # ten elements, one token

    credits.get_by_text("8 credits").click()
    expect(credits).to_contain_text("Free today: 3")

    app.spend(2, "embedded-1")
    expect(credits).to_contain_text("6 credits")
    expect(credits).to_contain_text("1/3 today")
    app.spend(5, "embedded-2")
    expect(page.locator("tegoed-warning")).to_contain_text("Only 1 credit left.")
    expect(page.locator("tegoed-usage")).to_contain_text("7 credits in 7 days")

    page.get_by_role("button", name="More").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("button", name="Buy 20 credits")).to_be_visible()
    dialog.get_by_role("button", name="Close").click()
    page.get_by_role("button", name="Buy 20 credits").click()
    page.get_by_role("button", name="Pay").click()
    page.wait_for_url(f"{app.url}/")
    expect(credits).to_contain_text("21 credits")
    expect(page.locator("tegoed-history")).to_contain_text("20 credits")


def test_what_the_app_refuses_is_told_as_it_says_it(demo: Demo, app: App, browser: Browser) -> None:
    app.refuses = "Only on weekdays."
    page = browser.new_page()  # the refusal is on its console
    page.goto(app.url)
    for _ in range(2):
        page.get_by_role("button", name="Buy 20 credits").click()
        expect(page.locator("tegoed-packs").get_by_role("alert")).to_have_text("Only on weekdays.")
    page.close()


def test_plan_is_sold_as_clicked_and_changed_where_its_price_is_shown(demo: Demo, other_app: App, page: Page) -> None:
    page.goto(other_app.url)
    plans = page.locator("tegoed-plans")
    plans.get_by_role("button", name="Yearly").click()
    plans.get_by_role("button", name="Choose Pro").click()
    page.get_by_role("button", name="Subscribe for € 200.00").click()
    page.wait_for_url(f"{other_app.url}/")
    expect(page.locator("tegoed-subscription")).to_contain_text("Pro")

    page.reload()
    expect(plans.get_by_role("button", name="Choose")).to_have_count(0)  # a second plan would be refused
    plans.get_by_role("button", name="Yearly").click()
    expect(plans.get_by_role("region", name="Pro")).to_contain_text("Your plan")
    plans.get_by_role("button", name="Monthly").click()
    plans.get_by_role("button", name="Change to Pro").click()
    page.wait_for_url(f"{demo.base_url}/billing")


def test_elements_pass_axe_in_dutch(demo: Demo, app: App, page: Page) -> None:
    page.goto(f"{app.url}/nl")
    expect(page.locator("tegoed-plans")).to_contain_text("Kies Pro")
    expect(page.locator("tegoed-plans")).to_contain_text("Elke dag 3 gratis credits")  # what the server says as well
    expect(page.locator("tegoed-packs")).to_contain_text("Koop 20 credits")
    expect(page.locator("tegoed-history")).not_to_contain_text("Laden")

    found = Axe().run(page).response["violations"]

    assert [(row["id"], [hit["html"] for hit in row["nodes"]]) for row in found] == []


def test_script_may_be_loaded_by_any_site_and_says_how_long_it_is_kept(demo: Demo) -> None:
    with urllib.request.urlopen(f"{demo.base_url}/embed/v1.js") as answer:
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert answer.headers["Content-Type"].startswith("text/javascript")
        assert "max-age=3600" in answer.headers["Cache-Control"]
        assert b"innerHTML" not in answer.read()  # what the server says cannot become a tag
