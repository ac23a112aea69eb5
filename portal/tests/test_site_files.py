"""What browsers and search engines ask of a site, and what the foot of a page leads to."""

import re
from urllib import robotparser

import pytest
from django.core import mail
from django.test import Client
from pytest_django import Settings

from accounts.models import Account, User
from billing.notifications import domain_events
from billing.tests.test_mails import post
from branding import brand
from common import clock


def test_search_engines_see_the_first_page_and_the_prices(db: None) -> None:
    answer = Client().get("/robots.txt")
    rules = robotparser.RobotFileParser()
    rules.parse(answer.content.decode().splitlines())

    assert answer["Content-Type"] == "text/plain"
    assert [rules.can_fetch("any", path) for path in ("/", "/pricing")] == [True, True]
    assert [rules.can_fetch("any", path) for path in ("/admin/", "/api/v1/docs", "/accounts/login/")] == [False] * 3


def test_a_browser_finds_its_icon_and_its_manifest(db: None) -> None:
    page = Client().get("/").content.decode()
    (address,) = re.findall(r'<link rel="manifest" href="([^"]+)">', page)

    about = Client().get(address).json()

    assert about["icons"][0]["src"].endswith("icon.svg")
    assert about["start_url"] == "http://127.0.0.1:8000/"
    assert Client().get("/favicon.ico")["Location"] == about["icons"][0]["src"]


def test_a_customer_s_pages_are_in_no_search_engine(ada: User) -> None:
    browser = Client()
    assert "noindex" not in browser.get("/pricing").content.decode()
    browser.force_login(ada)

    assert '<meta name="robots" content="noindex">' in browser.get("/pricing").content.decode()


@pytest.fixture
def named(settings: Settings) -> None:
    settings.SITE_DESCRIPTION = "Credits for <letters>"
    settings.SUPPORT_EMAIL = "help@example.com"
    settings.TERMS_URL, settings.PRIVACY_URL = "https://example.com/terms", "https://example.com/privacy"
    settings.IMPRINT_URL = "https://example.com/imprint"
    brand.forget()


def test_the_foot_leads_to_terms_privacy_imprint_and_help(named: None, db: None) -> None:
    page = Client().get("/pricing").content.decode()
    foot = page.partition("<footer")[2]

    for address in ("https://example.com/terms", "https://example.com/privacy", "https://example.com/imprint"):
        assert f'href="{address}"' in foot
    assert 'href="mailto:help@example.com"' in foot
    assert '<meta name="description" content="Credits for &lt;letters&gt;">' in page
    assert "https://example.com/terms" in Client().get("/accounts/signup/").content.decode().partition("<footer")[0]


def test_mails_say_where_to_write_to(named: None, ada_account: Account) -> None:
    domain_events.credits_exhausted(ada_account.pk, now=clock.now())
    post()

    assert "mailto:help@example.com" in str(mail.outbox[-1].alternatives[0][0])
