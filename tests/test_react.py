"""React components in a browser, beside a real server: rendered there, and rendered on a server first."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import closing
from html import escape

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from common.version import VERSION
from tests.conftest import ROOT, Demo
from tests.test_embed import App
from tests.test_typescript import install_and_build, run

FOLDER = ROOT / "clients" / "react"
PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>An app</title>
<link rel="icon" href="data:,"></head><body><main><div id="root" data-props="{props}"{ssr}>{rendered}</div></main>
<script src="/app.js"></script></body></html>"""

pytestmark = [
    pytest.mark.browser,
    pytest.mark.xdist_group("demo"),
    pytest.mark.skipif(
        shutil.which("npm") is None and not os.environ.get("CI"), reason="Node is not installed (Debian: nodejs, npm)"
    ),
]


@pytest.fixture(scope="module")
def bundle() -> str:
    """The app of test/app.mjs, as its users bundle one."""
    install_and_build(FOLDER)
    made = FOLDER / "node_modules" / ".app.js"
    shown = '--define:process.env.NODE_ENV="development"'  # so that React says what differs
    run("npx", "esbuild", "test/page.mjs", "--bundle", f"--outfile={made}", shown, cwd=FOLDER)
    return made.read_text()


@pytest.fixture
def app(demo: Demo, bundle: str) -> Iterator[App]:
    made = App(demo, "ext:react")
    rendered = run("node", "test/server.mjs", cwd=FOLDER, SERVER=demo.base_url)
    props = escape(json.dumps({"server": demo.base_url}))
    made.pages = {
        "/app.js": (bundle, "text/javascript"),
        "/": (PAGE.format(props=props, ssr="", rendered=""), "text/html"),
        "/rendered": (PAGE.format(props=props, ssr=' data-ssr="1"', rendered=rendered), "text/html"),
    }
    with closing(made):
        yield made


def test_components_and_hooks_are_live_and_sell(demo: Demo, app: App, page: Page) -> None:
    page.goto(app.url)
    told = page.locator("#told")
    expect(told).to_have_text("8 by the hook")
    expect(page.locator("tegoed-credits")).to_contain_text("8 credits")
    expect(page.locator("tegoed-plans").get_by_role("button", name="Yearly")).to_have_attribute("aria-pressed", "true")

    app.spend(6, "react-1")
    expect(told).to_have_text("2 by the hook, low")
    expect(page.locator("tegoed-usage")).to_contain_text("6 credits in 7 days")
    assert [(row["id"], row["nodes"][0]["html"]) for row in Axe().run(page).response["violations"]] == []

    page.get_by_role("button", name="Fifty more").click()
    page.get_by_role("button", name="Pay").click()
    page.wait_for_url(f"{app.url}/")
    expect(told).to_have_text("52 by the hook")


def test_page_that_a_server_rendered_is_taken_over_without_a_difference(demo: Demo, app: App, page: Page) -> None:
    page.goto(f"{app.url}/rendered")  # (what React finds different is an error on the console, which fails a test)
    expect(page.locator("#told")).to_contain_text("by the hook")
    expect(page.locator("tegoed-packs")).to_contain_text("Buy 20 credits")
    expect(page.locator("tegoed-history")).not_to_contain_text("Loading")


def test_package_is_of_this_release_and_its_files_are_those_it_needs(bundle: str) -> None:
    package = json.loads((FOLDER / "package.json").read_text())

    assert package["version"] == VERSION
    assert "dependencies" not in package
    assert "resolved" not in (FOLDER / "package-lock.json").read_text()
    listed = json.loads(run("npm", "pack", "--dry-run", "--json", "--ignore-scripts", cwd=FOLDER))
    files = {row["path"] for row in listed[0]["files"]}
    assert files == {"dist/index.js", "dist/index.d.ts", "package.json", "README.md"}
    assert (FOLDER / "dist" / "index.js").read_text().split("*/")[1].strip().startswith('"use client"')
