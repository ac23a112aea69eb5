"""The main job, end to end: sign up, spend until it is refused, buy, go on; subscribe; and staff sees it all."""

import json
import re
import secrets
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests import tour
from tests.conftest import Demo

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("demo")]


def call(
    demo: Demo, method: str, path: str, key: str, body: dict[str, Any] | None = None, **headers: str
) -> tuple[int, dict[str, Any]]:
    """One API call: the status and the JSON."""
    request = urllib.request.Request(
        f"{demo.base_url}/api/v1{path}",
        json.dumps(body).encode() if body is not None else None,
        {"Authorization": f"Bearer {key}", "Content-Type": "application/json", **headers},
        method=method,
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refusal:
        return refusal.code, json.load(refusal)


def spend(demo: Demo, key: str, amount: int = 1, account: str = "") -> tuple[int, dict[str, Any]]:
    body = {"amount": amount} | ({"account": account} if account else {})
    return call(demo, "POST", "/credits/spend", key, body, **{"Idempotency-Key": secrets.token_hex(8)})


def sign_up(demo: Demo, page: Page, email: str) -> None:
    page.goto(f"{demo.base_url}/")
    page.get_by_role("link", name="Start for free").first.click()
    page.get_by_label("E-mail address").fill(email)
    page.get_by_label("Password").fill("correct horse battery")
    page.get_by_role("button", name="Sign Up").click()
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()


def wait_until_completed(demo: Demo, key: str, account: str, checkout_id: str) -> None:
    deadline = time.monotonic() + 20
    while (
        state := call(demo, "GET", f"/billing/checkouts/{checkout_id}?account={account}", key)[1]["status"]
    ) != "completed":
        assert time.monotonic() < deadline, state
        time.sleep(0.1)


def mails(demo: Demo) -> str:
    """Every e-mail that the demo has sent so far."""
    return "\n".join(path.read_text() for path in sorted((demo.data / "mail").glob("*")))


def make_key(demo: Demo, page: Page) -> str:
    page.goto(f"{demo.base_url}/keys")
    page.get_by_role("button", name="Make a key").click()
    return page.get_by_label("API key", exact=True).input_value()


def test_a_customer_signs_up_spends_buys_and_subscribes(demo: Demo, page: Page) -> None:
    email = f"{secrets.token_hex(4)}@example.com"
    sign_up(demo, page, email)
    expect(page.locator(".balance .figure")).to_contain_text("8")  # 3 a day and 5 a month
    expect(page.locator("#header-balance")).to_contain_text("3/3 free today")

    key = make_key(demo, page)
    for left in range(7, -1, -1):
        status, spent = spend(demo, key)
        assert (status, spent["balance_after"]) == (201, left)
    status, refusal = spend(demo, key)
    assert (status, refusal["code"], refusal["available"]) == (402, "insufficient_credits", 0)

    page.goto(refusal["buy_url"])
    page.get_by_role("button", name="Buy 20 credits").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("€ 5.00")
    page.get_by_role("button", name="Pay € 5.00").click()
    # Back on our page, which waits for the webhook and changes by itself.
    expect(page.get_by_role("heading", name="Thank you, it is paid")).to_be_visible(timeout=20_000)
    expect(page.locator("#checkout-status")).to_contain_text("20")
    page.goto(f"{demo.base_url}/dashboard")
    expect(page.locator(".balance .figure")).to_contain_text("20")
    assert spend(demo, key)[0] == 201

    page.goto(f"{demo.base_url}/credits")
    page.get_by_role("button", name="Subscribe to Pro").click()
    page.get_by_role("button", name="Subscribe for € 20.00").click()
    expect(page.get_by_role("heading", name="Thank you, it is paid")).to_be_visible(timeout=20_000)
    page.goto(f"{demo.base_url}/dashboard")
    # One paid credit was spent: of the day's hundred, 99 are left.
    expect(page.locator(".balance .figure")).to_contain_text("99")
    expect(page.locator(".balance")).to_contain_text("You have 119 credits in all")
    expect(page.locator("main")).to_contain_text("Renews on")

    page.goto(f"{demo.base_url}/billing")
    expect(page.locator("main")).to_contain_text("€20.00")
    page.get_by_role("button", name="open the billing portal").click()
    expect(page.locator("main")).to_contain_text("Pro, € 20.00 per month")

    sent = mails(demo)
    for subject in ("Welcome to Tegoed", "Your credits are here: 20 credits", "Your plan has started: Pro"):
        assert f"Subject: {subject}" in sent
    assert f"To: {email}" in sent

    check = demo.manage("audit_ledger")
    assert check.returncode == 0, check.stdout + check.stderr


def test_open_page_changes_by_itself(demo: Demo, page: Page) -> None:
    """Somebody's app spends while they look at their overview: nothing is reloaded or clicked."""
    sign_up(demo, page, "watching@example.com")
    key = tour.make_key(demo, page)
    page.goto(f"{demo.base_url}/dashboard")
    expect(page.locator("#header-balance")).to_contain_text("Credits: 8")

    assert spend(demo, key, 3)[0] == 201

    expect(page.locator("#header-balance")).to_contain_text("Credits: 5", timeout=10_000)
    expect(page.locator("#live")).to_contain_text("5", timeout=10_000)
    expect(page.get_by_role("cell", name="−3")).to_be_visible()


def test_a_declined_card_charges_nothing_and_leads_back(demo: Demo, page: Page) -> None:
    sign_up(demo, page, f"{secrets.token_hex(4)}@example.com")
    page.goto(f"{demo.base_url}/credits")
    page.get_by_role("button", name="Buy 20 credits").click()
    page.get_by_label("Card 4000 0000 0000 0002").check()
    page.get_by_role("button", name="Pay").click()
    expect(page.get_by_role("alert")).to_contain_text("declined")

    page.get_by_role("button", name="Back to the shop").click()

    expect(page.locator("main")).to_contain_text("Nothing was charged")
    expect(page.locator("#header-balance")).to_contain_text("Credits: 8")


def test_a_delayed_payment_is_explained_and_then_there(demo: Demo, page: Page) -> None:
    sign_up(demo, page, f"{secrets.token_hex(4)}@example.com")
    page.goto(f"{demo.base_url}/credits")
    page.get_by_role("button", name="Buy 20 credits").click()
    page.locator("input[value='delayed_success']").check()
    page.get_by_role("button", name="Pay").click()

    expect(page.get_by_role("heading", name="Your payment is on its way")).to_be_visible(timeout=20_000)
    expect(page.get_by_role("heading", name="Thank you, it is paid")).to_be_visible(timeout=30_000)
    expect(page.locator("#checkout-status")).to_contain_text("28")


def pay_by(demo: Demo, page: Page, name: str) -> None:
    """Buy the first pack in another way than the usual one."""
    page.goto(f"{demo.base_url}/credits")
    page.get_by_text("More of them, or another way to pay").first.click()
    page.get_by_role("button", name=name).first.click()


def test_the_other_ways_to_pay(demo: Demo, page: Page) -> None:
    """On a phone by QR code, by card on our own page, and in Payconiq's app (which a page stands in for)."""
    sign_up(demo, page, f"{secrets.token_hex(4)}@example.com")
    pay_by(demo, page, "Pay on your phone")
    expect(page.get_by_role("img", name="QR code")).to_be_visible()
    for _ in range(100):  # (a page's security policy lets nobody wait by script)
        if page.locator("img.qr").evaluate("image => image.naturalWidth"):
            break
        page.wait_for_timeout(100)
    assert page.locator("img.qr").evaluate("image => image.naturalWidth") > 0
    phone = page.context.new_page()
    phone.goto(page.get_by_role("link", name="Or pay on this device").get_attribute("href") or "")
    phone.get_by_role("button", name="Pay").click()
    expect(page.get_by_role("heading", name="Thank you, it is paid")).to_be_visible(timeout=20_000)

    pay_by(demo, page, "Pay by card here")
    page.get_by_label("Card 4000 0000 0000 0002").check()
    page.get_by_role("button", name="Pay").click()
    page.get_by_role("link", name="Not paid yet?").click(timeout=30_000)
    page.get_by_label("Card 4242 4242 4242 4242").check()
    page.get_by_role("button", name="Pay").click()
    expect(page.get_by_role("heading", name="Thank you, it is paid")).to_be_visible(timeout=20_000)

    pay_by(demo, page, "Payconiq")
    page.get_by_role("button", name="Confirm").click()
    expect(page.get_by_role("heading", name="Thank you, it is paid")).to_be_visible(timeout=20_000)
    expect(page.locator("#checkout-status")).to_contain_text("68")


def test_a_plan_is_changed_stopped_and_kept(demo: Demo, page: Page) -> None:
    sign_up(demo, page, f"{secrets.token_hex(4)}@example.com")
    page.goto(f"{demo.base_url}/credits")
    page.get_by_role("button", name="Subscribe to Pro").click()
    page.get_by_role("button", name="Subscribe for € 20.00").click()
    expect(page.get_by_role("heading", name="Thank you, it is paid")).to_be_visible(timeout=20_000)

    page.goto(f"{demo.base_url}/billing")
    page.get_by_role("link", name="Stop the plan").click()
    page.get_by_role("button", name="Stop at the end of the period").click()
    expect(page.locator("main")).to_contain_text("Your plan ends on")
    page.get_by_role("button", name="Keep it after all").click()
    expect(page.locator("main")).to_contain_text("Your plan goes on")

    page.goto(f"{demo.base_url}/credits")
    page.get_by_label("Below this many credits").fill("200")
    page.get_by_role("button", name="I agree: switch it on").click()
    expect(page.locator("main")).to_contain_text("Below 200 credits we buy 20 credits")
    page.goto(f"{demo.base_url}/example-ai")  # only use buys
    page.get_by_label("Your question").fill("What is a credit?")
    page.get_by_role("button", name="Ask for 1 credit").click()
    expect(page.locator("main")).to_contain_text("Used 1 credit")
    page.goto(f"{demo.base_url}/transactions")
    deadline = time.monotonic() + 40
    while "Credits bought" not in page.content():  # beat looks every 15 s
        assert time.monotonic() < deadline
        page.wait_for_timeout(1_000)
        page.reload()


def test_a_purchase_needs_no_javascript(demo: Demo, browser: Any) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    sign_up(demo, page, f"{secrets.token_hex(4)}@example.com")
    page.goto(f"{demo.base_url}/credits")
    page.get_by_role("button", name="Buy 20 credits").click()
    page.get_by_role("button", name="Pay").click()
    thanks, again = (
        page.get_by_role("heading", name="Thank you, it is paid"),
        page.get_by_role("link", name="Look again"),
    )
    while not thanks.is_visible():
        # One of the two is there once the page after the payment has arrived.
        expect(thanks.or_(again)).to_be_visible()
        if again.is_visible():
            again.click()
    context.close()


def test_staff_sees_customer_order_ledger_and_webhook(demo: Demo, page: Page) -> None:
    customer = demo.told["customer"]
    operator = demo.told["operator"]
    service = demo.told["service_api_key"]
    _, checkout = call(
        demo,
        "POST",
        "/billing/checkouts",
        service,
        {"item": "credits-50", "account": customer["account"]},
        **{"Idempotency-Key": secrets.token_hex(8)},
    )
    page.goto(checkout["url"])
    page.get_by_role("button", name="Pay").click()
    page.wait_for_url(re.compile(re.escape(demo.base_url)))
    wait_until_completed(demo, service, customer["account"], checkout["id"])

    page.goto(f"{demo.base_url}/admin/")
    page.get_by_label("E-mail address").fill(operator["email"])
    page.get_by_label("Password").fill(operator["password"])
    page.get_by_role("button", name="Sign In").click()
    page.goto(f"{demo.base_url}/admin/accounts/account/?q={customer['email']}")
    page.get_by_role("link", name=customer["account"]).click()

    body = page.locator("body")
    expect(body).to_contain_text(checkout["id"])  # the order
    expect(body).to_contain_text("+50 →")  # the ledger
    expect(body).to_contain_text("checkout.session.completed")  # the webhook


def test_200_concurrent_spends_on_100_credits_leave_zero(demo: Demo) -> None:
    service, account = demo.told["service_api_key"], f"ext:{secrets.token_hex(6)}"
    _, balance = call(demo, "GET", f"/credits/balance?account={account}", service)
    grant = {"account": account, "amount": 100 - balance["available"], "reason": "A round hundred"}
    assert call(demo, "POST", "/credits/grants", service, grant, **{"Idempotency-Key": "round"})[0] == 201

    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda _: spend(demo, service, account=account)[0], range(200)))

    assert (answers.count(201), answers.count(402)) == (100, 100)
    assert call(demo, "GET", f"/credits/balance?account={account}", service)[1]["available"] == 0
