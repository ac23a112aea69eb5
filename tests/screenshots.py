"""python -m tests.screenshots: pictures of the pages, for docs/screenshots. Starts a demo of its own and lives in it.

Look at them before you commit them: that is what they are for.
"""

import argparse
import json
import tempfile
import urllib.request
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright
from tqdm import tqdm

from tests import tour
from tests.conftest import CHROMIUM, CHROMIUM_ARGUMENTS, ROOT, Demo, free_port, start_demo, stop_demo

FOLDER = ROOT / "docs" / "screenshots"
Picture = tuple[str, str, Any, Any, str]

PHONE, DESK = {"width": 390, "height": 844}, {"width": 1280, "height": 900}
# What each picture shows: the page, its window, theme and language.
PICTURES: list[Picture] = [
    ("dashboard", "/dashboard", DESK, "light", "en"),
    ("dashboard-phone", "/dashboard", PHONE, "dark", "nl"),
    ("credits", "/credits", DESK, "light", "en"),
    ("credits-phone", "/credits", PHONE, "light", "nl"),
    ("plan-preview", "/billing/plan/preview?item=studio&interval=month", DESK, "light", "en"),
    ("billing", "/billing", DESK, "dark", "en"),
    ("usage", "/usage", DESK, "light", "en"),
    ("transactions", "/transactions", DESK, "light", "en"),
    ("why", "/credits/why", DESK, "light", "en"),
    ("keys", "/keys", DESK, "light", "en"),
    ("pricing", "/pricing", DESK, "light", "en"),
    ("example-ai", "/example-ai", PHONE, "light", "en"),
    ("sign-up", "/accounts/signup/", PHONE, "light", "nl"),
]
CONSOLE = [
    ("console-dashboard", "/admin/"),
    ("console-customer", "/admin/accounts/account/{account}/change/"),
    ("console-simulator", "/admin/simulator/"),
]
DAYS = 9


def main() -> None:
    """Make all pictures, or those that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="which pictures; all by default")
    fields = parser.parse_args().names
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="tegoed-pictures-") as folder, sync_playwright() as playwright:
        demo = start_demo(Path(folder) / "data", free_port(), free_port())
        try:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_ARGUMENTS)
            lived = _live(demo, browser)
            for picture in tqdm(PICTURES, unit="picture"):
                if not fields or picture[0] in fields:
                    _customer(demo, browser, lived.email, picture)
            _console(demo, browser, lived.email, fields)
            browser.close()
        finally:
            stop_demo(demo)


def _live(demo: Demo, browser: Browser) -> tour.Lived:
    """Some days of use, so that there is something to see."""
    context = browser.new_context(locale="en")
    page = context.new_page()
    lived = tour.live(demo, page)
    for day in tqdm(range(DAYS), unit="day", desc="living"):
        _advance(demo)
        tour.spend(demo, lived.key, (3, 7, 2, 5, 9, 1, 6, 4, 8)[day % 9])
    context.close()
    return lived


def _advance(demo: Demo) -> None:
    body = json.dumps({"seconds": 86_400}).encode()
    request = urllib.request.Request(
        f"{demo.stripe_url}/_sandbox/clock/advance", body, {"Content-Type": "application/json"}
    )
    urllib.request.urlopen(request, timeout=60).close()


def _customer(demo: Demo, browser: Browser, email: str, picture: Picture) -> None:
    name, address, size, theme, language = picture
    context = browser.new_context(locale=language, color_scheme=theme, viewport=size)
    page = context.new_page()
    if not address.startswith(("/accounts", "/pricing")):
        tour.sign_in(demo, page, email)
        context.add_cookies([{"name": "django_language", "value": language, "url": demo.base_url}])
    page.goto(f"{demo.base_url}{address}")
    _shoot(page, name)
    context.close()


def _console(demo: Demo, browser: Browser, email: str, asked: list[str]) -> None:
    wanted = [picture for picture in CONSOLE if not asked or picture[0] in asked]
    if not wanted:
        return
    context = browser.new_context(locale="en", viewport={"width": 1440, "height": 900})
    page = context.new_page()
    tour.sign_in(demo, page, demo.told["operator"]["email"], demo.told["operator"]["password"])
    page.goto(f"{demo.base_url}/admin/accounts/account/?q={email}")
    link = page.locator("#result_list a[href*='/accounts/account/']").first.get_attribute("href") or ""
    account = link.partition("/accounts/account/")[2].partition("/")[0]
    for name, address in wanted:
        page.goto(f"{demo.base_url}{address.format(account=account)}")
        _shoot(page, name)
    context.close()


def _shoot(page: Page, name: str) -> None:
    page.screenshot(path=FOLDER / f"{name}.png", full_page=True, animations="disabled")


if __name__ == "__main__":
    main()
