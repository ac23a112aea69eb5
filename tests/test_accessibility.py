"""axe finds nothing on any customer page: in English and light on a desk, in Dutch and dark on a phone."""

import itertools
import json
import os
from collections.abc import Iterator
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests import tour
from tests.conftest import Demo

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("axe")]

PHONE, DESK = {"width": 390, "height": 844}, {"width": 1280, "height": 900}
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}


def problems(page: Page) -> list[str]:
    """What axe has against the page as it stands, and whether it is wider than its window."""
    result = Axe().run(page, options=RULES).response["violations"]
    reported = [f"{row['id']}: {node['html'][:160]}" for row in result for node in row["nodes"]]
    if page.evaluate("document.documentElement.scrollWidth > window.innerWidth + 1"):
        reported.append(f"wider than {page.viewport_size}")
    return reported


# By night every page in all four ways; in `make test` each page is looked at in one of two, turn by turn.
IS_WHOLE = bool(os.environ.get("AXE_ALL"))
WAYS = [("en", "light", DESK), ("nl", "dark", PHONE)]
if IS_WHOLE:
    WAYS += [("en", "dark", PHONE), ("nl", "light", DESK)]


@pytest.fixture(params=WAYS, ids=lambda way: "-".join(way[:2]))
def seen(request: pytest.FixtureRequest, browser: Browser) -> Iterator[Page]:
    language, theme, size = request.param
    context = browser.new_context(locale=language, color_scheme=theme, viewport=size)
    page = context.new_page()
    yield page
    context.close()


def test_pages_pass_axe(demo: Demo, seen: Page, request: pytest.FixtureRequest) -> None:
    violations: dict[str, Any] = {}
    turns = itertools.count(1 if "nl" in request.node.name else 0)

    def look(name: str) -> None:
        if (next(turns) % 2 == 0 or IS_WHOLE) and (result := problems(seen)):
            violations[name] = result

    for name, address in tour.PUBLIC.items():
        seen.goto(f"{demo.base_url}{address}")
        look(name)
    tour.sign_up(demo, seen)
    for name in ("dashboard", "credits", "usage", "billing", "keys", "team", "transactions"):
        seen.goto(f"{demo.base_url}{tour.PRIVATE[name]}")
        look(f"{name}, empty")
    seen.context.clear_cookies()
    lived = tour.live(demo, seen)
    expect(seen.locator("#new-secret")).to_be_visible()  # the page that the last click asked for is here
    look("webhooks, with a new secret")
    for name, address in tour.PRIVATE.items():
        seen.goto(f"{demo.base_url}{address}")
        look(name)
    seen.goto(lived.order)
    look("paid")
    seen.goto(f"{demo.base_url}/keys")
    seen.locator("form[action='/keys'] button").click()
    expect(seen.locator("main .secret").first).to_be_visible()
    look("keys, with a new one")
    seen.goto(f"{demo.base_url}/example-ai")
    seen.locator("textarea").fill("Hello")
    seen.locator("main form button").click()
    expect(seen.locator("#answer-title")).to_be_visible()
    look("example-ai, answered")
    seen.locator("details.menu > summary").click()
    look("the menu")
    tour.make_team(demo, seen)
    look("team, with members")
    if seen.viewport_size == DESK:  # a phone shows no code for itself to read
        seen.goto(f"{demo.base_url}/credits")
        form = seen.locator("form:has([name=item][value=credits-20])")
        form.locator("summary").click()
        look("other ways to pay")
        form.locator("button[value=qr]").click()
        expect(seen.locator("img.qr")).to_be_visible()
        look("qr")
    assert not violations, json.dumps(violations, indent=1)
