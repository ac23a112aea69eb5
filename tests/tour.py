"""A customer who has lived a little, and the pages that customers see: for checks and pictures of all of them."""

import json
import re
import secrets
import urllib.request
from dataclasses import dataclass
from typing import Any

from playwright.sync_api import Page, expect

from tests.conftest import Demo

PASSWORD = "correct horse battery"

# Before signing in.
PUBLIC = {
    "home": "/",
    "pricing": "/pricing",
    "sign-up": "/accounts/signup/",
    "sign-in": "/accounts/login/",
    "sign-in-by-code": "/accounts/login/code/",
    "password-reset": "/accounts/password/reset/",
    "not-found": "/nothing-here",
}
# After it.
PRIVATE = {
    "dashboard": "/dashboard",
    "credits": "/credits",
    "credits-yearly": "/credits?interval=year",
    "why": "/credits/why",
    "transactions": "/transactions",
    "transactions-none": "/transactions?feature=nothing",
    "usage": "/usage",
    "usage-by-member": "/usage?by=member",
    "billing": "/billing",
    "billing-details": "/billing/details",
    "plan-preview": "/billing/plan/preview?item=studio&interval=month",
    "plan-stop": "/billing/plan/cancel",
    "keys": "/keys",
    "example-ai": "/example-ai",
    "settings": "/settings",
    "notifications": "/settings/notifications",
    "webhooks": "/settings/webhooks",
    "your-data": "/settings/data",
    "close-account": "/settings/close",
    "e-mail-addresses": "/accounts/email/",
    "password": "/accounts/password/change/",
    "second-factor": "/accounts/2fa/",
    "second-factor-app": "/accounts/2fa/totp/activate/",
    "sessions": "/accounts/sessions/",
    "team": "/team",
}


@dataclass
class Lived:
    """Somebody who bought, subscribed, spent, and works with others."""

    email: str
    key: str
    order: str = ""
    invitation: str = ""


def sign_up(demo: Demo, page: Page, email: str = "") -> str:
    """A new customer, signed in; answers the address."""
    email = email or f"{secrets.token_hex(4)}@example.com"
    page.goto(f"{demo.base_url}/accounts/signup/")
    page.locator("[name=email]").fill(email)
    page.locator("[name=password1]").fill(PASSWORD)
    page.locator("main form button").click()
    expect(page.locator(".balance .figure")).to_be_visible()
    return email


def sign_in(demo: Demo, page: Page, email: str, password: str = PASSWORD) -> None:
    page.goto(f"{demo.base_url}/accounts/login/")
    page.locator("[name=login]").fill(email)
    page.locator("[name=password]").fill(password)
    page.locator("main form button[type=submit]").first.click()
    page.wait_for_url(re.compile("dashboard|admin|2fa"))


def call(demo: Demo, path: str, key: str, body: dict[str, Any]) -> dict[str, Any]:
    """One write of the API, with a key of its own."""
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    headers["Idempotency-Key"] = secrets.token_hex(8)
    request = urllib.request.Request(f"{demo.base_url}/api/v1{path}", json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        result: dict[str, Any] = json.load(answer)
        return result


def make_key(demo: Demo, page: Page) -> str:
    page.goto(f"{demo.base_url}/keys")
    page.locator("[name=name]").fill("Letters, in production")
    page.locator("form[action='/keys'] button").click()
    return page.locator("#new-key").input_value()


def pay(page: Page) -> None:
    """Finish the hosted payment page, and wait until the credits are there."""
    page.locator("button.pay").click()
    expect(page.locator("#checkout-status .figure")).to_be_visible(timeout=20_000)


def buy_pack(demo: Demo, page: Page, item: str = "credits-50") -> str:
    """Buy a pack; answers the address of the page after it."""
    page.goto(f"{demo.base_url}/credits")
    page.locator(f"form:has([name=item][value={item}]) button:not(.link)").click()
    pay(page)
    return page.url


def subscribe(demo: Demo, page: Page, plan: str = "pro") -> None:
    page.goto(f"{demo.base_url}/credits")
    page.locator(f"form:has([name=item][value={plan}]) button").click()
    pay(page)


def spend(demo: Demo, key: str, times: int = 1) -> None:
    """Messages and pictures, by two models."""
    for number in range(times):
        usage = {"model": ["large", "small"][number % 2], "input_tokens": 420, "output_tokens": 180}
        work = {"feature": "image" if number % 4 == 3 else "message", "usage": usage}
        call(demo, "/credits/spend", key, work)


def live(demo: Demo, page: Page) -> Lived:
    """Somebody new, with one of everything on their pages."""
    lived = Lived(email=sign_up(demo, page), key="")
    lived.order = buy_pack(demo, page)
    subscribe(demo, page)
    lived.key = make_key(demo, page)
    spend(demo, lived.key, 8)
    page.goto(f"{demo.base_url}/settings/webhooks")
    page.locator("[name=url]").fill("http://127.0.0.1:9/hook")
    page.locator("main form button").last.click()
    return lived


def make_team(demo: Demo, page: Page) -> None:
    """A team with a plan and an invitation, in which the page goes on."""
    page.goto(f"{demo.base_url}/team")
    page.locator("[name=name]").fill("Engines")
    page.locator("form[action='/team/new'] button").click()
    subscribe(demo, page, "studio")
    page.goto(f"{demo.base_url}/team")
    page.locator("[name=email]").fill("bob@example.com")
    page.locator("form[action='/team/invite'] button").click()
    expect(page.get_by_text("bob@example.com").first).to_be_visible()
