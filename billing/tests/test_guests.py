"""Users of an app on the hosted pages, as attackers: out of their pages, past their hour, into others' accounts."""

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.conf import settings
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from accounts import customer_sessions, opening
from accounts.models import Account, Scope, User
from billing.customers import merging
from billing.models import Order
from billing.tests.conftest import Shop
from billing.tests.test_accounts_api import ALL, Backend
from common import clock


@pytest.fixture
def account(shop: Shop) -> Account:
    return opening.external_account(subject="mallory", now=clock.now())


def link(account: Account) -> str:
    return urlsplit(customer_sessions.create_link(account, now=clock.now()).url).path


@pytest.fixture
def guest(account: Account) -> Client:
    browser = Client()
    assert browser.get(link(account)).status_code == 302
    return browser


def addresses(resolver: URLResolver | None = None, before: str = "/") -> list[str]:
    """Every address of the site, with something in the place of what it names."""
    result: list[str] = []
    for entry in (resolver or get_resolver()).url_patterns:
        here = before + re.sub(r"<\w+:\w+>", "1", str(entry.pattern)).lstrip("^").rstrip("$\\Z").replace("\\", "")
        if isinstance(entry, URLPattern):
            result.append(re.sub(r"\(\?P<\w+>[^)]*\)", "1", here))
        else:
            result += addresses(entry, here)
    return result


# What guests are for, and what every visitor sees. A page that is new is closed to them until it is named here.
THEIRS = {
    "/", "/robots.txt", "/favicon.ico", "/embed/v1.js", "/manifest.webmanifest", "/pricing", "/dashboard", "/credits",
    "/credits/why", "/transactions", "/transactions/1", "/usage", "/buy", "/leave", "/live", "/balance", "/enter/1",
    "/brand/1/colours.css", "/brand/1/1",
}  # fmt: skip


def test_guest_gets_the_pages_of_their_credits_and_no_others(guest: Client) -> None:
    open_to_them = {
        path for path in addresses() if not path.startswith("/api/") and guest.head(path).status_code != 403
    }

    assert open_to_them == THEIRS | {path for path in addresses() if path.startswith("/billing")}
    assert len(addresses()) > 150


@pytest.mark.parametrize("path", ["/accounts/password/set/", "/accounts/email/", "/keys", "/settings", "/admin/"])
def test_proxy_s_header_opens_no_other_page(guest: Client, path: str) -> None:
    """WSGI's SCRIPT_NAME is a header to gunicorn, from a proxy on its machine: it hid the path from every guard."""
    assert guest.get(path, SCRIPT_NAME="/x").status_code == 403


def test_header_that_names_a_path_is_nobody_s() -> None:
    assert 'forwarder_headers = ""' in Path(settings.BASE_DIR, "config", "gunicorn.py").read_text()


def test_no_guard_looks_at_another_path_than_is_served() -> None:
    root = Path(settings.BASE_DIR)
    code = [file for file in root.glob("*/**/*.py") if not {".venv", "node_modules", "tests"} & set(file.parts)]
    assert len(code) > 100
    assert [file.name for file in code if re.search(r"request\.path(\.|\[| [=!]=| in )", file.read_text())] == []


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("api-keys", {"name": "x"}),
        ("webhook-endpoints", {"url": "https://mallory.example/hook", "events": []}),
        ("credits/spend", {"amount": 1}),
        ("billing/checkouts", {"item": "credits-20"}),
        ("auth/tokens", {}),
    ],
)
def test_guest_s_session_is_no_key_of_the_api(guest: Client, path: str, body: Any) -> None:
    answer = guest.post(f"/api/v1/{path}", body, content_type="application/json", headers={"Idempotency-Key": "k"})

    assert answer.status_code in (401, 403)
    assert guest.get("/api/v1/credits/balance").status_code == 401


def test_guest_who_got_a_password_does_not_sign_in_with_it(guest: Client) -> None:
    user = User.objects.get(is_guest=True)
    user.set_password("a long one, for once")
    user.save()

    Client().post("/accounts/login/", {"login": user.email, "password": "a long one, for once"})
    browser = Client()
    answer = browser.post("/accounts/login/", {"login": user.email, "password": "a long one, for once"})

    assert answer.status_code != 302
    assert browser.get("/dashboard").status_code == 302


def test_nobody_takes_a_guest_s_address_first(account: Account) -> None:
    taken = f"{account.public_id}@guest.invalid"
    form = {"email": taken, "password1": "a long one, for once", "password2": "a long one, for once"}

    refused = Client().post("/accounts/signup/", form)
    User.objects.create_user(taken)  # however it came there

    assert refused.status_code == 200
    assert Client().get(link(account)).status_code == 302


def test_stranger_s_link_asks_who_is_signed_in(account: Account, customer: Account, ada: User, shop: Shop) -> None:
    """With a link of one's own, somebody else is made to buy for one's account: they are asked first."""
    browser = Client()
    browser.force_login(ada)
    path = link(account)

    asked = browser.get(path)

    assert (asked.status_code, b"mallory" in asked.content) == (200, True)
    assert browser.get("/settings").status_code == 200
    assert browser.post(path).status_code == 302
    assert browser.get("/settings").status_code == 403


def test_own_link_asks_nothing(guest: Client, account: Account) -> None:
    assert guest.get(link(account)).status_code == 302


def test_merged_account_s_guest_is_let_into_the_one_that_stays(shop: Shop, account: Account, guest: Client) -> None:
    stays = opening.external_account(subject="stays", now=clock.now())
    merging.merge(source=account, target=stays, key="m", actor="test", now=clock.now())

    assert guest.get("/dashboard").status_code == 302  # let in no more
    browser = Client()
    browser.get(link(stays))
    bought = browser.post("/buy", {"item": "credits-20", "key": "k", "currency": "eur"})

    assert bought.status_code == 302
    assert Order.objects.get().account == stays


def test_nothing_is_bought_for_a_closed_account(shop: Shop, customer: Account, client: Client, ada: User) -> None:
    Account.objects.filter(pk=customer.pk).update(closed_at=clock.now())
    client.force_login(ada)

    client.post("/buy", {"item": "credits-20", "key": "k", "currency": "eur"})

    assert not Order.objects.exists()


class TestNames:
    """Another system's ids are its own: one letter more is somebody else."""

    @pytest.fixture
    def backend(self, shop: Shop) -> Backend:
        return Backend(ALL)

    def open(self, backend: Backend, name: str) -> str:
        answer = backend.call("post", "accounts", {"external_id": name})
        assert answer.status_code == 201, answer.json()
        return str(answer.json()["id"])

    @pytest.mark.parametrize(
        ("ours", "theirs"), [("victim", "victim/"), ("victim", "victim//"), ("victim", "victim/x")]
    )
    def test_slash_belongs_to_the_name(self, backend: Backend, ours: str, theirs: str) -> None:
        kept, erased = self.open(backend, ours), self.open(backend, theirs)

        backend.call(
            "patch",
            f"accounts/ext:{theirs}".replace("/", "%2F").replace("accounts%2F", "accounts/"),
            {"email": "m@x.example"},
        )
        backend.call("delete", f"accounts/ext:{theirs.replace('/', '%2F')}")

        rows = {row.public_id: row for row in Account.objects.filter(kind="external")}
        assert (rows[kept].closed_at, rows[kept].email) == (None, "")
        assert rows[erased].closed_at is not None

    @pytest.mark.parametrize("name", [" bib", "bib ", "BIB", "b\u200bib"])
    def test_nearly_the_same_is_somebody_else(self, backend: Backend, name: str) -> None:
        first = self.open(backend, "bib")
        if not name.isprintable():
            assert backend.call("post", "accounts", {"external_id": name}).status_code == 400
            return
        second = self.open(backend, name)

        assert first != second
        assert backend.call("get", f"accounts/ext:{name}").json()["id"] == second
        (found,) = backend.call("get", f"accounts?external_id={name}").json()["data"]
        assert found["id"] == second
        backend.call("post", "credits/spend", {"amount": 1, "account": f"ext:{name}"}, key="k")
        assert backend.call("get", "credits/balance?account=ext:bib").json()["available"] == 8


class TestKeys:
    """Nobody gives what they do not have."""

    def test_key_for_accounts_alone_makes_none_that_spends(self, shop: Shop, account: Account) -> None:
        backend = Backend([Scope.ACCOUNTS_WRITE, Scope.CREDITS_READ])
        named = {"name": "x", "account": "ext:mallory"}

        asked = backend.call("post", "api-keys?account=ext:mallory", {"name": "x", "scopes": ["credits:spend"]})
        made = backend.call("post", "api-keys?account=ext:mallory", {"name": "x"})

        assert (asked.status_code, asked.json()["code"]) == (403, "insufficient_scope"), named
        assert (made.status_code, made.json()["scopes"]) == (201, ["credits:read"])

    def test_key_with_more_rights_is_not_rotated(self, shop: Shop, account: Account) -> None:
        made = Backend(ALL).call("post", "api-keys?account=ext:mallory", {"name": "x"}).json()

        rotated = Backend([Scope.ACCOUNTS_WRITE]).call("post", f"api-keys/{made['id']}/rotate?account=ext:mallory", {})

        assert (rotated.status_code, rotated.json()["code"]) == (403, "insufficient_scope")

    @pytest.mark.parametrize(("method", "path"), [("get", "api-keys"), ("post", "api-keys")])
    def test_keys_of_those_with_a_login_are_theirs(self, shop: Shop, customer: Account, method: str, path: str) -> None:
        body = {"name": "x"} if method == "post" else None

        refused = Backend(ALL).call(method, f"{path}?account={customer.public_id}", body)

        assert (refused.status_code, refused.json()["code"]) == (409, "account_has_login")
