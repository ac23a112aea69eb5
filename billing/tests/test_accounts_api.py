"""Accounts of an app over the API: opened, described, found, mailed, let in, and erased."""

from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
import stripe
from django.core import mail
from django.test import Client
from pytest_django import Settings

from accounts import app_origins, keys
from accounts.models import Account, Scope, User
from billing.customers import address_sync
from billing.models import Order, StripeCustomer
from billing.notifications import domain_events
from billing.tests.conftest import Shop
from billing.tests.test_mails import post as send_mails
from common import clock
from credits import ledger
from credits.models import Source
from outbox.models import OutboxEvent
from sandbox.clock import SandboxClock

ALL = [Scope.ACCOUNTS_WRITE, Scope.BILLING_WRITE, Scope.CREDITS_READ, Scope.CREDITS_SPEND, Scope.USAGE_READ]


class Backend:
    """An app's server, which calls with its service key."""

    def __init__(self, scopes: list[Scope]) -> None:
        made = keys.create_key(account=None, name="Backend", scopes=scopes, created_by=None, now=clock.now())
        self.headers = {"Authorization": f"Bearer {made.secret}"}

    def call(self, method: str, path: str, body: Any = None, key: str = "") -> Any:
        headers = {**self.headers, **({"Idempotency-Key": key} if key else {})}
        sent = {"data": body, "content_type": "application/json"} if body is not None else {}
        return getattr(Client(), method)(f"/api/v1/{path}", headers=headers, **sent)


@pytest.fixture
def backend(shop: Shop) -> Backend:
    return Backend(ALL)


def opened(backend: Backend, external_id: str = "u1", **fields: Any) -> Any:
    answer = backend.call("post", "accounts", {"external_id": external_id, **fields})
    assert answer.status_code == 201, answer.json()
    return answer.json()


class TestAccounts:
    def test_account_has_what_the_app_knows_of_its_user(self, backend: Backend) -> None:
        made = opened(
            backend, name="Ada L.", email="ada@app.example", language="nl", time_zone="Asia/Tokyo", metadata={"tier": 3}
        )

        found = backend.call("get", "accounts/ext:u1").json()
        assert found == made == backend.call("get", f"accounts/{made['id']}").json()
        assert (found["external_id"], found["kind"], found["name"], found["email"]) == (
            "u1", "external", "Ada L.", "ada@app.example",
        )  # fmt: skip
        assert (found["language"], found["time_zone"], found["metadata"]) == ("nl", "Asia/Tokyo", {"tier": 3})

    def test_second_account_of_one_id_is_refused_with_the_first(self, backend: Backend) -> None:
        made = opened(backend, name="Ada")

        answer = backend.call("post", "accounts", {"external_id": "u1", "name": "Eve"})

        assert (answer.status_code, answer.json()["code"], answer.json()["account"]) == (
            409, "account_exists", made["id"],
        )  # fmt: skip
        assert backend.call("get", "accounts/ext:u1").json()["name"] == "Ada"

    def test_what_is_not_sent_stays(self, backend: Backend) -> None:
        opened(backend, name="Ada", email="ada@app.example")

        changed = backend.call("patch", "accounts/ext:u1", {"email": "new@app.example"}).json()

        assert (changed["name"], changed["email"]) == ("Ada", "new@app.example")

    def test_change_opens_an_account_that_is_new(self, backend: Backend) -> None:
        assert backend.call("patch", "accounts/ext:u9", {"name": "Nine"}).json()["external_id"] == "u9"

    def test_look_opens_none(self, backend: Backend) -> None:
        assert backend.call("get", "accounts/ext:nobody").status_code == 404
        assert not Account.objects.filter(kind="external").exists()

    @pytest.mark.parametrize(
        ("query", "found"),
        [("q=ad", ["u1"]), ("q=BEA@", ["u2"]), ("email=BEA@app.example", ["u2"]), ("external_id=u1", ["u1"]),
         ("external_id=zz", []), ("kind=team", []), ("kind=external", ["u2", "u1"]), ("limit=1", ["u2"])],
    )  # fmt: skip
    def test_accounts_are_found(self, backend: Backend, query: str, found: list[str]) -> None:
        opened(backend, "u1", name="Ada")
        opened(backend, "u2", name="Bea", email="bea@app.example")

        data = backend.call("get", f"accounts?{query}").json()["data"]

        assert [row["external_id"] for row in data] == found

    @pytest.mark.parametrize(
        ("field", "value"),
        [("email", "no address"), ("language", "xx"), ("time_zone", "Mars/Base"), ("name", "x" * 151), ("name", "a\nb"),
         ("metadata", {"x": "y" * 5000}), ("metadata", [1]), ("nmae", "Ada"), ("email", "a@b.example\nBcc: c@d")],
    )  # fmt: skip
    def test_what_cannot_be_is_refused(self, backend: Backend, field: str, value: Any) -> None:
        opened(backend)

        answer = backend.call("patch", "accounts/ext:u1", {field: value})

        assert answer.status_code == 400
        assert answer.json()["errors"][0]["pointer"].startswith(f"/{field}")

    def test_somebody_who_signs_in_says_who_they_are(self, backend: Backend, customer: Account) -> None:
        answer = backend.call("patch", f"accounts/{customer.public_id}", {"email": "thief@app.example"})
        assert (answer.status_code, answer.json()["code"]) == (409, "account_has_login")
        assert backend.call("delete", f"accounts/{customer.public_id}").status_code == 409
        kept = backend.call("patch", f"accounts/{customer.public_id}", {"metadata": {"crm": "7"}})
        assert kept.json()["metadata"] == {"crm": "7"}

    def test_keys_of_customers_see_no_accounts(self, backend: Backend, customer: Account, client: Client) -> None:
        own = keys.create_key(
            account=customer, name="t", scopes=keys.ACCOUNT_KEY_SCOPES, created_by=None, now=clock.now()
        ).secret

        for path in ("accounts", f"accounts/{customer.public_id}"):
            assert client.get(f"/api/v1/{path}", headers={"Authorization": f"Bearer {own}"}).status_code == 403
        assert Backend([Scope.CREDITS_READ]).call("get", "accounts").status_code == 403

    def test_receipt_reaches_a_user_of_the_app(self, backend: Backend, shop: Shop) -> None:
        made = opened(backend, name="Ada", email="ada@app.example")
        started = backend.call("post", "billing/checkouts", {"item": "credits-20", "account": "ext:u1"}, key="k").json()
        shop.pay(Order.objects.get(stripe_session_id=started["session_id"]))
        shop.deliver()
        send_mails()

        assert [message.to for message in mail.outbox] == [["ada@app.example"]]
        assert "20 credits" in mail.outbox[0].subject + mail.outbox[0].body
        theirs = shop.stripe.get("customer", StripeCustomer.objects.get(account__name="Ada").pk)
        assert (theirs["name"], theirs["email"]) == ("Ada", "ada@app.example")
        assert "127.0.0.1:8000" not in mail.outbox[0].body  # where they could not sign in
        assert made["id"]

    def test_mail_leads_users_of_an_app_to_the_app(self, backend: Backend, settings: Settings) -> None:
        settings.APP_URL = "https://app.example.com/credits"
        opened(backend, email="ada@app.example")
        domain_events.credits_exhausted(Account.objects.get(kind="external").pk, now=clock.now())
        send_mails()

        assert "Open the app: https://app.example.com/credits" in mail.outbox[-1].body
        assert "127.0.0.1" not in mail.outbox[-1].body

    def test_language_of_the_account_is_that_of_its_pages(self, backend: Backend) -> None:
        opened(backend, language="nl")
        path = urlsplit(backend.call("post", "customer-sessions", {"account": "ext:u1"}).json()["url"]).path
        browser = Client()
        browser.get(path)

        assert '<html lang="nl">' in browser.get("/dashboard").content.decode()

    def test_stripe_follows_a_new_name_and_not_one_of_an_invoice(self, backend: Backend, shop: Shop) -> None:
        opened(backend, name="Ada", email="ada@app.example")
        backend.call("post", "billing/checkouts", {"item": "credits-20", "account": "ext:u1"}, key="k")
        row = StripeCustomer.objects.get(account__name="Ada")

        backend.call("patch", "accounts/ext:u1", {"name": "Ada Lovelace"})
        assert address_sync.update_customers(now=clock.now()) == 1
        assert shop.stripe.get("customer", row.pk)["name"] == "Ada Lovelace"
        assert address_sync.update_customers(now=clock.now()) == 0

        StripeCustomer.objects.update(name="")  # a billing profile has given it another name
        backend.call("patch", "accounts/ext:u1", {"name": "Countess"})
        assert address_sync.update_customers(now=clock.now()) == 0

    def test_erased_user_is_nobody(self, backend: Backend) -> None:
        made = opened(backend, name="Ada", email="ada@app.example", metadata={"phone": "123"})
        backend.call("post", "customer-sessions", {"account": "ext:u1"})

        assert backend.call("delete", "accounts/ext:u1").status_code == 204
        assert backend.call("delete", "accounts/ext:u1").status_code == 204

        left = backend.call("get", f"accounts/{made['id']}").json()
        assert (left["name"], left["email"], left["metadata"]) == ("", "", {})
        assert left["closed"]
        assert "u1" not in str(left["external_id"])
        spend = backend.call("post", "credits/spend", {"amount": 1, "account": "ext:u1"}, key="s")
        assert (spend.status_code, spend.json()["code"]) == (403, "account_closed")


class TestCustomerSessions:
    def link(self, backend: Backend, **fields: Any) -> str:
        answer = backend.call("post", "customer-sessions", {"account": "ext:u1", **fields})
        assert answer.status_code == 201, answer.json()
        assert answer.headers["Cache-Control"] == "no-store"
        return urlsplit(answer.json()["url"]).path

    def test_user_of_an_app_sees_and_buys_on_the_hosted_pages(
        self, backend: Backend, shop: Shop, settings: Settings
    ) -> None:
        settings.RETURN_ORIGINS = ["https://app.example.com"]
        app_origins.forget()
        opened(backend, name="Ada", email="ada@app.example")
        browser = Client()

        answer = browser.get(self.link(backend, page="credits", return_url="https://app.example.com/account"))
        assert (answer.status_code, answer.headers["Location"]) == (302, "/credits")
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        page = browser.get("/credits").content.decode()
        assert "Buy 20 credits" in page
        assert "guest.invalid" not in page
        assert "Back to the app" in page
        bought = browser.post("/buy", {"item": "credits-20", "key": "k", "currency": "eur"})
        assert bought.status_code == 302
        order = Order.objects.get()
        shop.pay(order)
        shop.deliver()
        thanks = browser.get(f"/billing/checkout/{order.public_id}").content.decode()
        assert 'class="button" href="https://app.example.com/account"' in thanks
        assert "Try the example" not in thanks
        for path in ("/dashboard", "/usage", "/transactions", "/billing", "/credits/why"):
            assert browser.get(path).status_code == 200, path
            assert "guest.invalid" not in browser.get(path).content.decode()
        left = browser.post("/leave")
        assert left.headers["Location"] == "https://app.example.com/account"
        assert browser.get("/dashboard").status_code == 302

    def test_link_opens_once(self, backend: Backend) -> None:
        path = self.link(backend)

        assert Client().get(path).status_code == 302
        again = Client().get(path)

        assert again.status_code == 410
        assert "This link is over" in again.content.decode()

    def test_fetching_ahead_uses_up_no_link(self, backend: Backend) -> None:
        path = self.link(backend)

        Client().head(path)
        Client().get(path, headers={"Sec-Purpose": "prefetch;prerender"})

        assert Client().get(path).status_code == 302

    def test_link_is_over_after_a_quarter_of_an_hour(self, backend: Backend, clock_file: Any) -> None:
        path = self.link(backend)
        SandboxClock(clock_file).advance(15 * 60 + 1)

        assert Client().get(path).status_code == 410

    @pytest.mark.parametrize("change", ["x", "", ":"])
    def test_made_up_link_opens_nothing(self, backend: Backend, change: str) -> None:
        path = self.link(backend)

        assert Client().get(f"/enter/{change}{path.removeprefix('/enter/')[:-1]}").status_code == 410

    @pytest.mark.parametrize(
        "path",
        ["/settings", "/keys", "/team", "/team/new", "/settings/close", "/accounts/email/",
         "/accounts/password/change/",
         "/admin/", "/accounts/2fa/", "/settings/webhooks"],
    )  # fmt: skip
    def test_guest_gets_no_login_and_no_keys(self, backend: Backend, path: str) -> None:
        browser = Client()
        browser.get(self.link(backend))

        for answer in (browser.get(path), browser.post(path)):
            assert answer.status_code == 403
        made = browser.post("/api/v1/api-keys", {"name": "x"}, content_type="application/json")
        assert made.status_code == 401
        assert not keys.working_keys(Account.objects.get(kind="external"), now=clock.now()).exists()

    def test_guest_cannot_have_a_password_sent(self, backend: Backend) -> None:
        Client().get(self.link(backend))
        guest = User.objects.get(is_guest=True)
        before = len(mail.outbox)

        Client().post("/accounts/password/reset/", {"email": guest.email})

        assert [message.to for message in mail.outbox[before:]] in ([], [[guest.email]])  # to an address nobody has
        assert guest.email.endswith(".invalid")
        assert not guest.has_usable_password()

    def test_account_with_a_login_gets_no_link(self, backend: Backend, customer: Account) -> None:
        answer = backend.call("post", "customer-sessions", {"account": customer.public_id})

        assert (answer.status_code, answer.json()["code"]) == (409, "account_has_login")

    def test_customers_cannot_make_links(self, backend: Backend, customer: Account) -> None:
        own = keys.create_key(
            account=customer, name="t", scopes=keys.ACCOUNT_KEY_SCOPES, created_by=None, now=clock.now()
        ).secret

        answer = Client().post(
            "/api/v1/customer-sessions", {"account": customer.public_id}, content_type="application/json",
            headers={"Authorization": f"Bearer {own}"},
        )  # fmt: skip

        assert (answer.status_code, answer.json()["code"]) == (403, "seller_only")

    @pytest.mark.parametrize(
        "url", ["https://evil.example", "javascript:alert(1)", "//evil.example", "https://a@b.example"]
    )
    def test_nobody_is_led_elsewhere(self, backend: Backend, url: str) -> None:
        opened(backend)

        answer = backend.call("post", "customer-sessions", {"account": "ext:u1", "return_url": url})

        assert (answer.status_code, answer.json()["errors"][0]["code"]) == (400, "foreign_url")

    def test_visit_ends_with_the_account(self, backend: Backend) -> None:
        browser = Client()
        browser.get(self.link(backend))
        backend.call("delete", "accounts/ext:u1")

        assert browser.get("/dashboard").status_code == 302
        assert not User.objects.filter(is_guest=True, is_active=True).exists()

    def test_refusal_says_where_the_user_can_buy(self, backend: Backend) -> None:
        opened(backend)
        ledger.grant(
            account_id=Account.objects.get(kind="external").pk, amount=1, source=Source.BONUS, source_key="t",
            now=clock.now(),
        )  # fmt: skip

        refused = backend.call("post", "credits/spend", {"amount": 500, "account": "ext:u1"}, key="s").json()

        assert refused["code"] == "insufficient_credits"
        browser = Client()
        assert browser.get(urlsplit(refused["buy_url"]).path).headers["Location"] == "/credits"
        assert "Buy 20 credits" in browser.get("/credits").content.decode()

    def test_refusal_leads_a_key_without_the_right_to_the_sign_in(self, backend: Backend) -> None:
        opened(backend)
        spender = Backend([Scope.CREDITS_SPEND])

        refused = spender.call("post", "credits/spend", {"amount": 500, "account": "ext:u1"}, key="s").json()

        assert urlsplit(refused["buy_url"]).path == "/credits"

    def test_visit_lasts_an_hour(self, backend: Backend) -> None:
        browser = Client()
        browser.get(self.link(backend))

        assert timedelta(0) < timedelta(seconds=browser.session.get_expiry_age()) <= timedelta(hours=1)


class TestTelling:
    def told(self, name: str) -> list[dict[str, Any]]:
        return [row.data for row in OutboxEvent.objects.filter(name=name).order_by("happened_at")]

    def test_opening_tells_who_it_is(self, backend: Backend) -> None:
        opened(backend, name="Piet Klaassen", email="piet@app.example")

        assert [row["name"] for row in self.told("account.opened")] == ["Piet Klaassen"]

    @pytest.fixture
    def spend(self, backend: Backend, django_capture_on_commit_callbacks: Any) -> Any:
        def spend(amount: int, key: str) -> Any:
            with django_capture_on_commit_callbacks(execute=True):
                return backend.call("post", "credits/spend", {"amount": amount, "account": "ext:u1"}, key=key).json()

        return spend

    def test_call_that_fails_and_is_made_again_tells_nothing_twice(self, backend: Backend, spend: Any) -> None:
        """An app gives back what a failed call had cost; its user is not mailed at each try."""
        opened(backend)
        for number in range(3):
            spent = spend(8, f"s{number}")
            reversal = {"reason": "Failed", "account": "ext:u1"}
            backend.call("post", f"credits/transactions/{spent['id']}/reverse", reversal, key=f"r{number}")

        assert (len(self.told("credits.low")), len(self.told("credits.exhausted"))) == (1, 1)

    def test_new_credits_that_are_used_up_are_told_of(self, backend: Backend, spend: Any, clock_file: Any) -> None:
        opened(backend)
        account = Account.objects.get(kind="external")
        for number in range(2):
            SandboxClock(clock_file).advance(60)
            ledger.grant(
                account_id=account.pk, amount=20, source=Source.PURCHASE, source_key=f"t{number}", now=clock.now()
            )
            SandboxClock(clock_file).advance(60)
            has = backend.call("get", "credits/balance?account=ext:u1").json()["available"]
            spend(has, f"s{number}")

        assert len(self.told("credits.exhausted")) == 2


class TestPaying:
    """A user of an app pays, and has no login here to come back with."""

    def bought(self, backend: Backend, **fields: Any) -> Order:
        opened(backend, name="Ada")
        wanted = {"item": "credits-20", "account": "ext:u1", **fields}
        answer = backend.call("post", "billing/checkouts", wanted, key="k")
        assert answer.status_code == 201, answer.json()
        return Order.objects.get()

    def test_page_after_paying_opens_without_a_login(self, backend: Backend, shop: Shop) -> None:
        order = self.bought(backend)
        session = stripe.checkout.Session.retrieve(order.stripe_session_id or "")
        shop.pay(order)

        waiting = Client().get(urlsplit(session.success_url or "").path)
        shop.deliver()
        paid = Client().get(urlsplit(session.success_url or "").path)

        assert (waiting.status_code, paid.status_code) == (200, 200)
        shown = paid.content.decode()
        assert "Thank you, it is paid" in shown
        assert "go back to the app that sent you here" in shown
        assert "credits to spend now" not in shown  # whoever has the link may know of the payment, not of the account
        assert "/dashboard" not in shown

    def test_who_turns_back_is_asked_for_no_login(self, backend: Backend) -> None:
        session = stripe.checkout.Session.retrieve(self.bought(backend).stripe_session_id or "")
        assert Client().get(urlsplit(session.cancel_url or "").path).status_code == 200

    def test_page_leads_to_the_app(self, backend: Backend, shop: Shop, settings: Settings) -> None:
        settings.APP_URL = "https://app.example.com/"
        order = self.bought(backend)
        shop.pay(order)
        shop.deliver()

        shown = Client().get(f"/billing/checkout/{order.public_id}").content.decode()

        assert 'href="https://app.example.com/"' in shown
        assert stripe.checkout.Session.retrieve(order.stripe_session_id or "").cancel_url == settings.APP_URL

    def test_card_form_opens_without_a_login(self, backend: Backend, settings: Settings) -> None:
        order = self.bought(backend, ui="elements")

        shown = Client().get(urlsplit(order.checkout_url).path)

        assert shown.status_code == 200
        assert f'data-return="{settings.BASE_URL}/billing/checkout/{order.public_id}"' in shown.content.decode()

    def test_somebody_else_who_is_signed_in_sees_no_more(self, backend: Backend, customer: Account, ada: User) -> None:
        order = self.bought(backend)
        browser = Client()
        browser.force_login(ada)

        shown = browser.get(f"/billing/checkout/{order.public_id}")

        assert shown.status_code == 200
        assert "credits to spend now" not in shown.content.decode()

    def test_orders_of_those_with_a_login_stay_theirs(self, shop: Shop, customer: Account) -> None:
        order = shop.checkout(customer)

        for path in ("", "/pay", "/qr"):
            answer = Client().get(f"/billing/checkout/{order.public_id}{path}")
            assert answer.headers["Location"].startswith("/accounts/login/")
