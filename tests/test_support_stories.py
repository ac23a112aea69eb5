"""The ten commonest questions, solved by a person of the staff in a real browser: each in a few clicks."""

import re

import pytest
from playwright.sync_api import Browser, Page, expect

from tests import tour
from tests.conftest import Demo

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("demo")]

MOST_CLICKS = 8


class Desk:
    """An operator's browser, that counts clicks."""

    def __init__(self, demo: Demo, page: Page, customer: str) -> None:
        self.demo, self.page, self.customer, self.clicks = demo, page, customer, 0

    def open(self) -> None:
        """Find the customer by the address that they write from."""
        self.clicks = 1
        self.page.goto(f"{self.demo.base_url}/admin/accounts/account/?q={self.customer}")
        self.page.locator("#result_list a[href*='/accounts/account/']").first.click()

    def link(self, name: str) -> None:
        self.clicks += 1
        self.page.locator(".tg").get_by_role("link", name=name).first.click()

    def press(self, name: str) -> None:
        self.clicks += 1
        self.page.locator(".tg").get_by_role("button", name=name).first.click()

    def operate(self, name: str, **fields: str) -> None:
        """An operation, from its button to its confirmation."""
        self.link(name)
        for field, value in {**fields, "reason": "As they asked"}.items():
            box = self.page.locator(f".tg [name={field}]").first
            if box.evaluate("box => box.tagName") == "SELECT":
                box.select_option(index=int(value)) if value.isdigit() else box.select_option(value)
            else:
                box.fill(value)
        self.press("Show what it would do")
        self.clicks += 1
        self.page.locator(".tg form button.button").first.click()

    def sees(self, text: str) -> None:
        expect(self.page.locator("body")).to_contain_text(text)
        assert self.clicks <= MOST_CLICKS, f"{self.clicks} clicks for {text!r}"


@pytest.fixture
def desk(demo: Demo, browser: Browser, page: Page) -> Desk:
    """An operator, and a customer who has lived a little."""
    visitor = browser.new_context()
    lived = tour.live(demo, visitor.new_page())
    visitor.close()
    tour.sign_in(demo, page, demo.told["operator"]["email"], demo.told["operator"]["password"])
    return Desk(demo, page, lived.email)


def test_questions_about_credits_and_money(desk: Desk) -> None:
    page = desk.page
    desk.open()  # 1. "Why is my balance 144?"
    desk.link("Why is it this?")
    desk.sees("every check of the audit passes")

    desk.open()  # 2. "Your outage cost me credits."
    desk.operate("Grant credits", amount="10")
    desk.sees("10 credits are granted.")

    desk.press("Undo")  # 3. "That was the wrong customer."
    desk.sees("10 credits are taken back.")

    desk.open()  # 4. "The AI gave me rubbish: I want that credit back."
    spend = page.locator("ol.timeline a[href*='transaction']").filter(has_text="message").first
    spend.click()
    expect(page.locator("body")).to_contain_text(re.compile(r"txn_\w+"))
    identifier = re.search(r"txn_\w+", page.content())
    assert identifier
    desk.open()
    desk.operate("Give back a spend", transaction=identifier[0])
    desk.sees("are given back.")

    desk.open()  # 5. "I bought the wrong pack: my money back, please."
    desk.operate("Refund", order="0", amount="5")
    desk.sees("5.00 EUR is on its way back.")


def test_questions_about_plans_and_people(desk: Desk) -> None:
    page = desk.page
    desk.open()  # 6. "I want the bigger plan, and cannot find the button."
    page.locator(".tg").get_by_role("link", name="Change the plan").click()
    page.locator("[name=price] option").first.wait_for(state="attached")
    options = page.locator("[name=price] option").all_inner_texts()
    wanted = next(text for text in options if "Studio" in text and "month" in text)
    page.locator("[name=price]").select_option(label=wanted)
    page.locator("[name=reason]").fill("On the phone")
    desk.press("Show what it would do")
    desk.press("Change the plan")
    desk.sees("The plan is Studio.")

    desk.open()  # 7. "Stop my subscription."
    desk.operate("Stop the plan")
    desk.sees("The plan ends on")

    desk.open()  # 8. "I never got the e-mail."
    desk.operate("Resend an e-mail", event="0")
    desk.sees(f"Sent to {desk.customer[0]}…@example.com.")  # as the audit log may keep it

    desk.open()  # 9. "Somebody has my key!"
    page.locator("a[href*='/accounts/apikey/']").first.click()
    desk.open()
    desk.operate("Stop spending")
    desk.sees("Spending is stopped.")
    desk.operate("Allow spending")

    desk.open()  # 10. "The page looks odd here."
    desk.operate("View as customer")
    desk.sees("as its owner sees it")
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    page.get_by_role("button", name="Stop looking").click()
    expect(page.locator("ol.timeline")).to_contain_text("view-as")


def test_new_logo_changes_nothing_else_of_the_brand(demo: Demo, page: Page) -> None:
    """A script of the console's theme wrote a chosen file's name into the first text field: the shop's name."""
    tour.sign_in(demo, page, demo.told["operator"]["email"], demo.told["operator"]["password"])
    page.goto(f"{demo.base_url}/admin/branding/brand/add/")
    before = page.locator("[name=name]").input_value()
    image = b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'></svg>"
    for name in ("logo", "dark_logo", "icon"):
        page.locator(f"[name={name}]").set_input_files(
            {"name": f"{name}.svg", "mimeType": "image/svg+xml", "buffer": image}
        )

    assert page.locator("[name=name]").input_value() == before
    page.get_by_role("button", name="Show what it looks like").click()
    expect(page.get_by_role("heading", name=before).first).to_be_visible()
    expect(page.locator("body")).to_contain_text("an image")
    page.get_by_role("link", name="Discard the draft").click()
    page.get_by_role("button", name="Yes").click()
