"""Usage, history, the reasons of a balance, the example of an AI page, and settings."""

import io
import json
import zipfile
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from allauth.usersessions.models import UserSession
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from accounts import keys
from accounts.models import Account, User
from common import clock
from common.charts import HEIGHT, WIDTH, bar_chart
from credits import ledger, limits, selectors
from credits.models import Source, Transaction
from usage.spending import Work, spend
from usage.tests.rate_card import put_on_the_card

MORE_PAGES = [
    "/credits", "/billing", "/billing/details", "/keys", "/team", "/pricing", "/settings/notifications",
    "/settings/data", "/settings/webhooks", "/settings/close", "/accounts/email/", "/accounts/2fa/",
    "/accounts/sessions/", "/accounts/password/change/",
]  # fmt: skip
PAGES = ["/dashboard", "/usage", "/transactions", "/credits/why", "/example-ai", "/settings"]


@pytest.fixture
def page(client: Client, ada: User, ada_account: Account, present: datetime) -> Callable[..., str]:
    """What a page of Ada's says; she has a hundred credits."""
    put_on_the_card("message", credits=1)
    put_on_the_card("image", credits=4)
    ledger.grant(account_id=ada_account.pk, amount=100, source=Source.PURCHASE, source_key="t", now=present)
    client.force_login(ada)

    def get(address: str, **query: Any) -> str:
        answer = client.get(address, query)
        body = b"".join(answer.streaming_content) if answer.streaming else answer.content
        assert answer.status_code == 200, answer.status_code
        return body.decode()

    return get


@pytest.fixture
def used(page: Callable[..., str], ada_account: Account, present: datetime) -> list[ledger.SpendResult]:
    """An image by a large model, and two messages, of which one was given back."""
    message = Work(feature="message")
    works = [Work(feature="image", usage={"model": "large", "input_tokens": 5}), message, message]
    created = [
        spend(account=ada_account, work=work, idempotency_key=f"k{number}", actor="key_x", now=present)
        for number, work in enumerate(works)
    ]
    ledger.reverse(
        account_id=ada_account.pk,
        transaction_id=created[2].transaction_id,
        idempotency_key="b",
        reason="Failed",
        now=present,
    )
    return created


def test_usage_shows_what_was_spent_on_what(page: Callable[..., str], used: list[ledger.SpendResult]) -> None:
    shown = page("/usage")

    assert "6 credits spent" in shown
    assert "1 of them given back" in shown
    assert "feature=image" in shown
    assert shown.count("<g>") == 30
    assert "model=large" in page("/usage", by="model")
    assert page("/usage", days=7).count("<g>") == 7
    lines = page("/usage", format="csv").splitlines()
    assert lines[0].startswith("day,feature,key,model,uses")
    assert len(lines) == 3


@pytest.mark.parametrize(
    "query", [{"from": "x"}, {"from": "2026-13-01"}, {"days": "1000"}, {"by": "password"}], ids=str
)
def test_a_period_that_makes_no_sense_is_the_usual_one(page: Callable[..., str], query: dict[str, str]) -> None:
    def main(shown: str) -> str:
        return shown.partition("<main")[2]

    assert main(page("/usage", **query)) == main(page("/usage"))


def test_history_is_narrowed_and_downloaded(page: Callable[..., str], used: list[ledger.SpendResult]) -> None:
    assert page("/transactions", each="1").count("<tr>") == 6
    assert page("/transactions", type="spend", each="1").count("<tr>") == 4
    assert page("/transactions", type="spend").count("<tr>") == 3  # two messages are one line
    assert page("/transactions", feature="image").count("<tr>") == 2
    assert page("/transactions", model="large").count("<tr>") == 2
    assert "Nothing fits that" in page("/transactions", feature="nothing")
    assert "Nothing fits that" in page("/transactions", **{"from": "2020-01-01", "to": "2020-01-02"})
    assert len(page("/transactions", type="spend", format="csv").splitlines()) == 4


def test_why_adds_up_to_the_balance(page: Callable[..., str], used: list[ledger.SpendResult]) -> None:
    shown = page("/credits/why")

    assert shown.count("<strong>95</strong>") == 2  # what is left of the lot, and the sum


def test_the_example_costs_a_credit_once(page: Callable[..., str], client: Client, ada_account: Account) -> None:
    assert "This costs 1 credit; you can spend 100." in page("/example-ai")
    shown = [client.post("/example-ai", {"prompt": "Hello <b>", "token": "a" * 32}).content.decode() for _ in range(2)]

    assert all("Used 1 credit; 99 left." in each for each in shown)
    assert "<b>" not in shown[0].partition("Its answer")[2].partition("</section>")[0]
    assert Transaction.objects.filter(kind="spend").count() == 1


def test_the_example_takes_no_harm_from_rubbish(page: Callable[..., str], client: Client) -> None:
    for token, prompt in (("\x1b" * 32, "a\x1bb"), ("é" * 32, "x" * 5_000), ("", "\u202eabc"), ("x" * 500, "a\nb")):
        answer = client.post("/example-ai", {"prompt": prompt, "token": token})
        assert (answer.status_code, "Used 1 credit" in answer.content.decode()) == (200, True)


def test_a_service_s_key_is_not_named_to_customers(
    page: Callable[..., str], ada_account: Account, present: datetime
) -> None:
    def spend_with(account: Account | None, name: str) -> None:
        key = keys.create_key(account=account, name=name, scopes=["credits:spend"], created_by=None, now=present).key
        ledger.spend(account_id=ada_account.pk, amount=1, idempotency_key=name, actor=key.public_id, now=present)

    spend_with(ada_account, "Mine")
    spend_with(None, "Backend of the shop")

    shown = page("/usage", by="key")

    assert "Mine (tg_test_" in shown
    assert "Backend of the shop" not in shown
    assert "The app" in shown


def test_the_example_gives_back_what_failed(page: Callable[..., str], client: Client) -> None:
    shown = client.post("/example-ai", {"prompt": "fail", "token": "t1"}).content.decode()

    assert "Your credit is back" in shown
    assert "you can spend 100" in shown


def test_the_example_without_credits_leads_to_the_purchase(
    page: Callable[..., str], client: Client, ada_account: Account, present: datetime
) -> None:
    ledger.spend(account_id=ada_account.pk, amount=100, idempotency_key="all", now=present)

    shown = client.post("/example-ai", {"prompt": "Hi", "token": "t1"}).content.decode()

    assert "You are out of credits." in shown
    assert 'class="button" href="/credits"' in shown


def test_the_example_with_a_daily_cap_says_that_it_is_one(
    page: Callable[..., str], client: Client, ada_account: Account
) -> None:
    limits.set_daily_cap(account_id=ada_account.pk, cap=0)

    shown = client.post("/example-ai", {"prompt": "Hi", "token": "t1"}).content.decode()

    assert "a limit of your plan" in shown
    assert 'class="button" href="/credits"' not in shown


def test_settings_change_the_language_from_that_page_on(
    page: Callable[..., str], client: Client, ada_account: Account, present: datetime
) -> None:
    assert "Settings" in page("/settings")
    fields = {"name": "Ada L.", "language": "nl", "time_zone": "America/New_York"}

    answer = client.post("/settings", fields, follow=True)

    assert "Instellingen" in answer.content.decode()
    assert "Opgeslagen." in answer.content.decode()
    ada_account.refresh_from_db()
    assert (ada_account.name, ada_account.language, ada_account.time_zone) == ("Ada L.", "nl", "America/New_York")


def test_notifications_are_chosen(
    page: Callable[..., str], client: Client, ada_account: Account, present: datetime
) -> None:
    assert page("/settings/notifications").count(" checked") == 4

    client.post("/settings/notifications", {"notices": ["receipts"], "low_threshold": "40"})

    ada_account.refresh_from_db()
    assert ada_account.muted == ["credits", "plan"]
    assert 'value="40"' in page("/settings/notifications")
    ledger.spend(account_id=ada_account.pk, amount=61, idempotency_key="k", now=present)
    assert selectors.balance(account_id=ada_account.pk, now=present).is_low


@pytest.mark.parametrize("change", [{"time_zone": "Mars/Olympus"}, {"language": "xx"}, {"name": "x" * 151}], ids=str)
def test_settings_that_make_no_sense_are_refused(
    page: Callable[..., str], client: Client, ada_account: Account, change: dict[str, str]
) -> None:
    fields = {"name": "Ada", "language": "en", "time_zone": "Europe/Amsterdam"}

    assert client.post("/settings", fields | change).status_code == 200
    before = Account.objects.get(pk=ada_account.pk)
    assert (before.language, before.time_zone) == ("en", "Europe/Amsterdam")


@pytest.mark.parametrize("language", ["en", "nl"])
@pytest.mark.parametrize("address", [*PAGES, *MORE_PAGES])
def test_a_page_is_in_the_reader_s_language_and_small(
    page: Callable[..., str], client: Client, used: list[ledger.SpendResult], address: str, language: str
) -> None:
    client.cookies["django_language"] = language

    shown = page(address)

    assert f'<html lang="{language}">' in shown
    assert ("Uitloggen" in shown) == (language == "nl")
    assert len(shown.encode()) < 100_000


def test_a_new_account_speaks_the_language_of_its_browser(client: Client, db: None) -> None:
    client.post(
        "/accounts/signup/",
        {"email": "new@example.com", "password1": "correct horse battery"},
        headers={"Accept-Language": "nl-NL,nl;q=0.9,en;q=0.5"},
    )

    assert Account.objects.get().language == "nl"
    assert client.cookies["django_language"].value == "nl"


@pytest.mark.parametrize("address", [*PAGES, "/team", "/keys"])
def test_queries_do_not_grow_with_rows(
    page: Callable[..., str],
    ada_account: Account,
    present: datetime,
    django_assert_max_num_queries: DjangoAssertNumQueries,
    address: str,
) -> None:
    for number in range(60):
        ledger.spend(
            account_id=ada_account.pk,
            amount=1,
            idempotency_key=f"q{number}",
            feature=f"f{number}",
            quantity=1,
            now=present,
        )

    with django_assert_max_num_queries(24):
        page(address)


def test_bars_stand_inside_the_picture() -> None:
    chart = bar_chart([("a", 0), ("b", 5), ("c", 10)])

    assert [bar.height for bar in chart.bars] == [0, HEIGHT / 2, HEIGHT]
    assert all(bar.x >= 0 and bar.x + bar.width <= WIDTH and bar.y + bar.height == HEIGHT for bar in chart.bars)
    assert bar_chart([]).bars == ()
    assert bar_chart([("a", 0)]).most == 0


def test_a_form_that_was_open_for_too_long_is_explained(ada: User) -> None:
    visitor = Client(enforce_csrf_checks=True)
    visitor.force_login(ada)

    answer = visitor.post("/settings", {}, headers={"Accept-Language": "nl"})

    assert (answer.status_code, "Verstuur het nog eens" in answer.content.decode()) == (403, True)


def test_too_many_tries_are_explained(client: Client, ada: User, settings: Any) -> None:
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "429"}}
    settings.ACCOUNT_RATE_LIMITS = {"reset_password": "1/m/ip"}

    answers = [client.post("/accounts/password/reset/", {"email": ada.email}) for _ in range(2)]

    assert (answers[1].status_code, "Too many tries" in answers[1].content.decode()) == (429, True)


def test_everything_that_is_kept_can_be_taken_along(
    page: Callable[..., str], client: Client, used: list[ledger.SpendResult], ada: User, ada_account: Account
) -> None:
    created = keys.create_key(
        account=ada_account, name="Mine", scopes=["credits:read"], created_by=ada, now=clock.now()
    )
    for user, ip in ((ada, "192.0.2.1"), (User.objects.create_user("eve@example.com"), "192.0.2.66")):
        UserSession.objects.create(user=user, ip=ip, user_agent="x", session_key=ip, data={})

    answer = client.post("/settings/export")

    with zipfile.ZipFile(io.BytesIO(b"".join(answer.streaming_content))) as archive:
        reported = json.loads(archive.read("account.json"))
        lines = archive.read("transactions.csv").decode().splitlines()
    assert (reported["user"]["email"], reported["account"]["public_id"]) == (ada.email, ada_account.public_id)
    assert [key["name"] for key in reported["keys"]] == ["Mine"]
    assert len(lines) == 1 + Transaction.objects.count()
    assert "192.0.2.1" in [session["ip"] for session in reported["sessions"]]
    assert "192.0.2.66" not in json.dumps(reported)
    assert created.secret not in json.dumps(reported)
    assert client.get("/settings/export").status_code == 405


RUBBISH = [
    "\x00",
    "a\x00b",
    "../../etc/passwd",
    "9" * 5_000,
    "-1",
    "1e9",
    "é💥",
    "{{7*7}}",
    "%s%n",
    "' OR 1=1 --",
    "a/b",
]


FIELDS = [
    "name", "language", "time_zone", "low_threshold", "prompt", "token", "item", "interval", "ui", "provider", "key",
    "quantity", "below", "max_per_month", "scopes", "days", "email", "action", "role", "account", "notices", "url",
    "events", "description",
]  # fmt: skip


@pytest.mark.parametrize("rubbish", RUBBISH, ids=ascii)
def test_rubbish_in_addresses_and_forms_breaks_no_page(page: Callable[..., str], client: Client, rubbish: str) -> None:
    query = dict.fromkeys(
        ("left", "before", "from", "to", "days", "by", "type", "feature", "key", "model", "waited"), rubbish
    )
    for address in [*PAGES, *MORE_PAGES, "/billing/plan/preview"]:
        assert client.get(address, query).status_code in {200, 302, 400, 404}, address
    form = dict.fromkeys(FIELDS, rubbish)
    for address in (
        "/settings", "/example-ai", "/buy", "/billing/plan", "/billing/top-up", "/keys", "/settings/close",
        "/settings/notifications", "/settings/webhooks", "/team/new", "/team/switch", "/team/invite",
        "/team/members/1/role", "/team/members/1/remove", "/team/invitations/inv_1/withdraw", "/billing/plan/cancel",
    ):  # fmt: skip
        assert client.post(address, form).status_code in {200, 302, 400, 404}, address
