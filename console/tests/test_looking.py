"""Finding customers, their timeline and problems; every page for every role; lists that stay quick; alerts; bulk."""

import os
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import Group
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.template.response import SimpleTemplateResponse
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts import keys
from accounts.models import Account, ApiKey, ExternalIdentity, User
from accounts.opening import external_account
from billing.models import InboxEvent, Order, Subscription
from billing.stripe import djstripe_store
from billing.tests.conftest import Shop, customer, shop
from common import clock
from common.public_ids import new_id, public_id
from console import alert_rules, bulk_grants, roles, search, timeline
from console.models import AlertThreshold, Approval, AuditEvent, BulkGrant
from credits import audit, ledger, selectors
from credits.models import Grant, Source, Transaction
from outbox import dispatching
from outbox.models import Alert, OutboxEvent

__all__ = ["customer", "shop"]

# At length: CRAWL_ROWS=10000, as nightly.
MANY = int(os.environ.get("CRAWL_ROWS", "1500"))


@pytest.fixture
def busy(shop: Shop, customer: Account, present: datetime) -> Account:
    """Ada with a plan, a pack, a key, a name elsewhere, spends, a hold, a refund's worth of everything."""
    shop.pay(shop.checkout(customer, item="pro"))
    shop.pay(shop.checkout(customer, item="credits-20", key="k2"))
    shop.deliver()
    now = clock.now()
    keys.create_key(account=customer, name="K", scopes=["credits:spend"], created_by=None, now=now)
    ExternalIdentity.objects.create(account=customer, subject="user-42")
    ledger.spend(account_id=customer.pk, amount=1, idempotency_key="s", description="Hello", now=now)
    ledger.hold(account_id=customer.pk, amount=2, idempotency_key="h", expires_at=now + timedelta(hours=1), now=now)
    Alert.objects.create(kind="dispute", subject="dp_1", detail="x", account=customer, opened_at=now, seen_at=now)
    return customer


@pytest.fixture
def as_role(db: None) -> Callable[[str], Client]:
    def enter(group: str) -> Client:
        roles.keep_groups()
        user = User.objects.create_user(f"{group}@example.com", is_staff=True)
        user.groups.add(Group.objects.get(name=group))
        browser = Client()
        browser.force_login(user)
        return browser

    return enter


def test_everything_that_names_a_customer_finds_them(busy: Account) -> None:
    Account.objects.bulk_create(Account(name=f"Other {number}", email=f"o{number}@x.org") for number in range(50))
    names = [
        "ada@example.com",
        "ADA@exam",
        "Ada",
        "user-42",
        busy.public_id,
        ApiKey.objects.get().prefix,
        ApiKey.objects.get().last4,
        public_id("key", ApiKey.objects.get().pk),
        Order.objects.first().public_id,
        Transaction.objects.latest("id").public_id,
        Grant.objects.latest("id").public_id,
        djstripe_store.customer_of_account(busy.pk),
        Subscription.objects.get().stripe_subscription_id,
        djstripe_store.invoices_of(busy.pk, limit=1)[0]["id"],
        Order.objects.exclude(stripe_session_id=None).first().stripe_session_id,
        InboxEvent.objects.exclude(customer_id="").first().event_id,
        OutboxEvent.objects.filter(account=busy).first().public_id,
        InboxEvent.objects.filter(type="payment_intent.succeeded").first().object_id,
        InboxEvent.objects.filter(type="charge.succeeded").first().object_id,
    ]

    result = {name: list(search.accounts(Account.objects.all(), name)) for name in names}

    assert {name: rows for name, rows in result.items() if rows != [busy]} == {}
    for nothing in (
        "nobody",
        "cus_nothing",
        "acc_x",
        "tg_live_nothing",
        "%",
        "_",
        "'",
        "x" * 5_000,
        public_id("txn", new_id()),
    ):
        assert busy not in search.accounts(Account.objects.all(), nothing), nothing


def test_a_search_uses_indexes_and_reads_no_table_through(busy: Account) -> None:
    Account.objects.bulk_create(Account(name=f"N{number}", email=f"n{number}@x.org") for number in range(20_000))
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE accounts_account")

    for term in ("n19999@x", "user-42", "cus_x"):
        with CaptureQueriesContext(connection) as queries:
            list(search.accounts(Account.objects.all(), term))
        for query in queries:
            with connection.cursor() as cursor:
                cursor.execute("EXPLAIN " + query["sql"])
                reported = "\n".join(row[0] for row in cursor.fetchall())
            assert "Seq Scan on accounts_account" not in reported, (term, query["sql"], reported)


def test_the_timeline_puts_like_with_like(busy: Account, shop: Shop) -> None:
    for number in range(73):
        ledger.spend(account_id=busy.pk, amount=1, idempotency_key=f"m{number}", feature="message", now=clock.now())
    shop.advance(hours=2)
    ledger.spend(account_id=busy.pk, amount=1, idempotency_key="later", feature="message", now=clock.now())

    rows = timeline.timeline(busy, kinds=["ledger", "webhook"])

    assert sum("message" in row.text for row in rows) == 2
    assert "-73: 73 × message" in [row.text for row in rows]
    assert any(re.fullmatch(r"\d+ webhooks", row.text) for row in rows)


def test_the_timeline_has_everything_in_order(busy: Account, ada: User, client: Client) -> None:
    client.force_login(ada)
    moments = timeline.timeline(busy)

    assert {row.kind for row in moments} >= {"ledger", "payment", "webhook", "mail", "alert"}
    assert [row.at for row in moments] == sorted((row.at for row in moments), reverse=True)
    assert {row.kind for row in timeline.timeline(busy, kinds=["mail"])} == {"mail"}
    assert {row.kind for row in timeline.timeline(busy, kinds=["rubbish"])} == {row.kind for row in moments}


def test_one_page_has_it_all_and_explains(busy: Account, as_role: Callable[[str], Client]) -> None:
    browser = as_role(roles.OPERATORS)

    page = browser.get(reverse("admin:accounts_account_change", args=[busy.pk]), {"kind": ["ledger"]})
    reported = browser.get(reverse("admin:accounts_account_explain", args=[busy.pk]))
    past = browser.get(reverse("admin:accounts_account_explain", args=[busy.pk]), {"at": "2020-01-01T00:00"})

    body = page.content.decode()
    for text in ("Pro", "20 credits", "•••• 4242", "user-42", "Hello", "2 held", "Dispute"):
        assert text in body, text
    assert "every check of the audit passes" in reported.content.decode()
    assert "There was nothing." in past.content.decode()
    assert browser.get(reverse("admin:accounts_account_explain", args=[busy.pk]), {"at": "x"}).status_code == 200


def test_stored_texts_are_shown_as_texts(busy: Account, as_role: Callable[[str], Client]) -> None:
    bad = "<img src=x onerror=alert(1)>"
    Account.objects.filter(pk=busy.pk).update(name=bad)
    ledger.spend(account_id=busy.pk, amount=1, idempotency_key="x", description=bad, now=clock.now())
    browser = as_role(roles.OPERATORS)

    for address in (
        reverse("admin:accounts_account_change", args=[busy.pk]),
        reverse("admin:accounts_account_explain", args=[busy.pk]),
        reverse("admin:accounts_account_changelist"),
        reverse("admin:accounts_account_do", args=[busy.pk, "grant"]),
        "/admin/",
    ):
        assert bad not in browser.get(address).content.decode(), address


@pytest.mark.parametrize("group", [roles.READ_ONLY, roles.SUPPORT, roles.BILLING, roles.OPERATORS])
def test_console_pages_open_for_every_role(
    busy: Account, as_role: Callable[[str], Client], group: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every list, add, change, history and delete of every model: 200, or a plain no.

    What a page looks like is written down for the operators, who see the most; for all, by night.
    """
    if group != roles.OPERATORS and not os.environ.get("CRAWL_RENDERS_ALL"):
        monkeypatch.setattr(SimpleTemplateResponse, "rendered_content", "")
    browser, answers = as_role(group), {}
    AlertThreshold.objects.create()
    for model, model_admin in admin.site._registry.items():
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        addresses = [reverse(f"{name}_changelist"), reverse(f"{name}_add")]
        if model._meta.app_label != "djstripe":
            addresses.append(reverse(f"{name}_changelist") + "?q=x")
        if (row := model._default_manager.first()) is not None:
            addresses += [reverse(f"{name}_{page}", args=[row.pk]) for page in ("change", "history", "delete")]
        for address in addresses:
            answers[address] = browser.get(address).status_code
        assert model_admin is not None
    assert {address: status for address, status in answers.items() if status not in (200, 302, 403)} == {}
    assert len(answers) > 120
    if group != roles.OPERATORS:
        adds = {address for address, status in answers.items() if address.endswith("/add/") and status == 200}
        assert adds <= {"/admin/console/bulkgrant/add/"}
    assert not any(status == 200 for address, status in answers.items() if address.endswith("/delete/"))


def test_support_cannot_reach_what_it_may_not(busy: Account, as_role: Callable[[str], Client]) -> None:
    browser = as_role(roles.SUPPORT)
    order = Order.objects.first()

    for address in (
        "/admin/auth/group/add/", "/admin/accounts/apikey/add/", "/admin/console/bulkgrant/add/",
        f"/admin/billing/order/{order.pk}/refund/", "/admin/console/alertthreshold/add/", "/admin/report.csv",
    ):  # fmt: skip
        assert browser.get(address).status_code == 403, address
    me = User.objects.get(email="Support@example.com".lower())
    assert browser.post(f"/admin/accounts/user/{me.pk}/change/", {"is_superuser": "on"}).status_code == 403


LISTS = [
    "accounts_account", "credits_transaction", "credits_grant", "billing_order", "billing_inboxevent",
    "outbox_outboxevent", "console_auditevent", "console_approval", "accounts_user", "accounts_apikey",
]  # fmt: skip


def fill(model: str, account: Account, user: User, count: int, now: datetime) -> None:
    """So many rows of a list."""
    kind: Any = apps.get_model(*model.split("_"))
    price = Subscription.objects.select_related("price").get().price
    created: dict[str, Callable[[int], Any]] = {
        "accounts_account": lambda n: Account(name=f"B{n}"),
        "accounts_user": lambda n: User(email=f"u{n}-{count}@x.org"),
        "accounts_apikey": lambda n: ApiKey(account=account, name="x", secret_hash=os.urandom(32), scopes=[]),
        "credits_transaction": lambda n: Transaction(
            account=account, kind="spend", amount=-1, balance_after=0, created_at=now
        ),
        "credits_grant": lambda n: Grant(
            account=account,
            source="bonus",
            source_key=f"b{n}-{count}",
            amount=1,
            remaining=0,
            priority=1,
            effective_at=now,
        ),
        "billing_order": lambda n: Order(
            account=account,
            price=price,
            idempotency_key=f"b{n}-{count}",
            description="x",
            credits=1,
            amount_minor=1,
            currency="eur",
            created_at=now,
        ),
        "billing_inboxevent": lambda n: InboxEvent(
            event_id=f"evt_b{n}-{count}", type="x", payload={}, state="processed", created_at=now, received_at=now
        ),
        "outbox_outboxevent": lambda n: OutboxEvent(
            name="x", key=f"b{n}-{count}", account=account, happened_at=now, created_at=now
        ),
        "console_auditevent": lambda n: AuditEvent(
            key=f"b{n}-{count}", at=now, operator=user, action="x", account=account
        ),
        "console_approval": lambda n: Approval(
            key=f"b{n}-{count}", operation="grant", account=account, form={}, reason="x", asked_by=user, asked_at=now
        ),
    }
    kind.objects.bulk_create((created[model](number) for number in range(count)), batch_size=1_000)


@pytest.mark.parametrize("model", LISTS)
def test_a_list_costs_as_many_queries_for_many_rows_as_for_few(
    busy: Account, as_role: Callable[[str], Client], present: datetime, model: str
) -> None:
    browser = as_role(roles.OPERATORS)
    user = User.objects.get(email="operators@example.com")
    address = reverse(f"admin:{model}_changelist")
    fill(model, busy, user, 10, present)
    browser.get(address)
    with CaptureQueriesContext(connection) as few:
        browser.get(address)
    fill(model, busy, user, MANY, present)
    with CaptureQueriesContext(connection) as many:
        answer = browser.get(address)

    assert answer.status_code == 200
    assert len(many) <= len(few) + 1
    assert len(many) < 30


def test_staff_without_a_second_factor_set_one_up_first(client: Client, db: None, settings: Any) -> None:
    settings.STAFF_NEED_SECOND_FACTOR = True
    client.force_login(User.objects.create_superuser("op@example.com"))

    answer = client.get("/admin/")

    assert (answer.status_code, answer["Location"]) == (302, reverse("mfa_activate_totp"))
    client.force_login(User.objects.create_user("ada2@example.com"))
    assert client.get("/dashboard").status_code == 200


class TestBulk:
    def upload(self, browser: Client, text: str) -> Any:
        file = SimpleUploadedFile("spring.csv", text.encode())
        return browser.post("/admin/console/bulkgrant/add/", {"file": file, "reason": "Spring"}, follow=True)

    def test_a_file_is_looked_over_then_granted_once_each(
        self, busy: Account, as_role: Callable[[str], Client], present: datetime
    ) -> None:
        other = external_account(subject="77", now=present)
        text = f"account,credits\n{busy.public_id},5\next:77,7\nada@example.com,9\nnobody@x.org,3\next:77,x\n"
        browser = as_role(roles.OPERATORS)
        before = selectors.balance(account_id=busy.pk, now=present).available

        shown = self.upload(browser, text).content.decode()

        assert "12 credits for 2 accounts" in shown
        for problem in ("twice in this file", "no such account", "whole number"):
            assert problem in shown
        row = BulkGrant.objects.get()
        assert selectors.balance(account_id=busy.pk, now=present).available == before
        for _ in range(2):
            browser.post(f"/admin/console/bulkgrant/{row.pk}/start/")
        assert [bulk_grants.run(row.pk, now=present) for _ in range(2)] == [2, 0]
        assert selectors.balance(account_id=busy.pk, now=present).available == before + 5
        assert selectors.balance(account_id=other.pk, now=present).available == 8 + 7
        row.refresh_from_db()
        assert (row.state, row.done, row.failures) == ("done", 2, [])
        assert AuditEvent.objects.get().action == "bulk-grant"
        assert "2 / 2" in browser.get(f"/admin/console/bulkgrant/{row.pk}/change/").content.decode()

    def test_a_stopped_one_goes_on_where_it_stopped(self, busy: Account, present: datetime, ada: User) -> None:
        rows = bulk_grants.read(f"account,credits\n{busy.public_id},5\n")
        row = bulk_grants.save_upload(name="x", rows=rows, reason="r", made_by=ada, now=present)
        BulkGrant.objects.update(state="running")

        def stop(lines: Any) -> Any:
            yield from lines
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            bulk_grants.run(row.pk, now=present, watch=stop)

        assert bulk_grants.run(row.pk, now=present) == 0
        assert Grant.objects.filter(source_key=f"bulk:{row.pk}").count() == 1

    @pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "account;credits\n", "account,credits\n", "\x00", "é" * 100])
    def test_what_is_no_such_file_is_refused(self, as_role: Callable[[str], Client], text: str) -> None:
        assert self.upload(as_role(roles.OPERATORS), text).status_code == 200
        assert not BulkGrant.objects.exists()

    def test_many_credits_take_a_second_person(
        self, busy: Account, as_role: Callable[[str], Client], settings: Any
    ) -> None:
        settings.APPROVAL_ABOVE_CREDITS = 10
        browser = as_role(roles.OPERATORS)
        self.upload(browser, f"account,credits\n{busy.public_id},11\n")
        row = BulkGrant.objects.get()

        browser.post(f"/admin/console/bulkgrant/{row.pk}/start/")
        assert BulkGrant.objects.get().state == "checked"
        as_role(roles.BILLING).post(f"/admin/console/bulkgrant/{row.pk}/start/")
        assert BulkGrant.objects.get().state == "running"


class TestAlerts:
    def kinds(self) -> set[str]:
        return set(Alert.objects.filter(resolved_at=None).values_list("kind", flat=True))

    def test_a_queue_that_stands_still_alerts_once_and_resolves(self, db: None, present: datetime) -> None:
        event = InboxEvent.objects.create(
            event_id="evt_1", type="x", payload={}, created_at=present, received_at=present, next_attempt_at=present
        )
        alert_rules.evaluate(now=present)
        assert self.kinds() == set()

        for _ in range(3):
            alert_rules.evaluate(now=present + timedelta(minutes=16))
        assert self.kinds() == {"queue_age"}
        assert OutboxEvent.objects.filter(name="alert.opened").count() == 1

        InboxEvent.objects.filter(pk=event.pk).update(state="processed", next_attempt_at=None, processed_at=present)
        OutboxEvent.objects.update(next_attempt_at=None)
        alert_rules.evaluate(now=present + timedelta(minutes=17))
        assert self.kinds() == set()

    def test_slow_webhooks_a_poor_feature_and_a_spike(self, ada_account: Account, present: datetime) -> None:
        InboxEvent.objects.create(
            event_id="evt_1", type="x", payload={}, state="processed", created_at=present,
            received_at=present - timedelta(minutes=20), processed_at=present,
        )  # fmt: skip
        ledger.grant(account_id=ada_account.pk, amount=900, source=Source.BONUS, source_key="t", now=present)
        usage = {"provider_cost_micros": 2_000_000}
        ledger.spend(
            account_id=ada_account.pk, amount=600, idempotency_key="k", feature="chat", usage=usage, now=present
        )

        OutboxEvent.objects.update(next_attempt_at=None)

        alert_rules.evaluate(now=present + timedelta(seconds=1))
        assert self.kinds() == {"webhook_lag", "low_margin", "spike"}

        AlertThreshold.objects.create(spike_credits=601, margin_percent=-1_000, webhook_lag_seconds=1_201)
        alert_rules.evaluate(now=present + timedelta(seconds=2))
        assert self.kinds() == set()

    def test_who_is_named_in_the_console_is_told(
        self, db: None, present: datetime, mailoutbox: list[Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from outbox import alerts, safe_http

        AlertThreshold.objects.create(emails="a@x.org\n\nb@x.org", webhook_url="http://127.0.0.1:9/alert")
        reported: list[bytes] = []

        def post(url: str, *, body: bytes, headers: dict[str, str]) -> Any:
            reported.append(body)
            return type("Answer", (), {"status_code": 200})()

        monkeypatch.setattr(safe_http, "post", post)
        alerts.raise_alert(Alert.Kind.LEDGER, "ledger", detail="2 rows.", now=present)

        assert dispatching.dispatch(event_id=OutboxEvent.objects.get().pk, now=present)

        assert [mail.to for mail in mailoutbox] == [["a@x.org", "b@x.org"]]
        assert b"2 rows." in reported[0]


def test_the_audit_log_as_csv_holds_no_formula(
    busy: Account, as_role: Callable[[str], Client], present: datetime
) -> None:
    browser = as_role(roles.OPERATORS)
    user = User.objects.get(email="operators@example.com")
    for number, bad in enumerate(("=1+1", "+1", "-1", "@x", "\t=1")):
        AuditEvent.objects.create(key=str(number), at=present, operator=user, action="x", reason=bad)

    answer = browser.post(
        "/admin/console/auditevent/",
        {"action": "download", "_selected_action": [str(pk) for pk in AuditEvent.objects.values_list("pk", flat=True)]},
    )

    text = b"".join(answer.streaming_content).decode()
    assert text.count("'=1+1") == 1
    for line in text.splitlines()[1:]:
        assert not any(cell.startswith(("=", "+", "@")) for cell in line.replace('"', "").split(","))
    assert list(audit.all_disagreements()) == []
