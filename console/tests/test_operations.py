"""What operators do: shown before, done once, written down, taken back, approved by a second person."""

import html
import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission
from django.core import mail
from django.db import DatabaseError, transaction
from django.test import Client

from accounts.models import Account, ExternalIdentity, User
from accounts.opening import personal_account
from billing.models import Order, Subscription
from billing.tests.conftest import Shop, customer, shop
from common import clock
from common.public_ids import public_id
from console import roles
from console.models import Approval, AuditEvent
from console.operations import OPERATIONS
from credits import audit, ledger, selectors
from credits.models import Grant, Source, Transaction, Wallet
from outbox.models import OutboxEvent
from sandbox.local_stripe import declines

__all__ = ["customer", "shop"]

REASON = {"why": "goodwill", "reason": "They waited long"}


class Desk:
    """An operator at the console, with one customer in front of them."""

    def __init__(self, user: User, account: Account) -> None:
        self.user, self.account, self.browser = user, account, Client()
        self.browser.force_login(user)

    def page(self, code: str) -> str:
        return f"/admin/accounts/account/{self.account.pk}/do/{code}/"

    def fill(self, code: str, **data: Any) -> dict[str, str]:
        """The form, sent; answers what the confirmation would send. An empty one when there is none."""
        blank = self.browser.get(self.page(code)).content.decode()
        token = re.search(r'name="token" value="(\w+)"', blank)
        assert token, blank[:500]
        form = {**REASON, **data, "token": token[1]}
        self.shown = self.browser.post(self.page(code), form).content.decode()
        confirm = re.search(r'name="seen" value="([^"]+)"', self.shown)
        return {**form, "seen": html.unescape(confirm[1])} if confirm else {}

    def do(self, code: str, **data: Any) -> str:
        """Fill in, confirm; answers the page that follows."""
        form = self.fill(code, **data)
        assert form, self.shown
        answer = self.browser.post(self.page(code), form, follow=True)
        return b"".join(answer.streaming_content).decode("latin1") if answer.streaming else answer.content.decode()

    @property
    def balance(self) -> int:
        return selectors.balance(account_id=self.account.pk, now=clock.now()).available


def staff(group: str, email: str = "") -> User:
    roles.keep_groups()
    user = User.objects.create_user(email or f"{group.lower()}@example.com", is_staff=True)
    user.groups.add(Group.objects.get(name=group))
    return User.objects.get(pk=user.pk)


@pytest.fixture
def desk(db: None, customer: Account) -> Desk:
    return Desk(staff(roles.OPERATORS), customer)


def test_a_grant_is_previewed_done_once_and_written_down(desk: Desk) -> None:
    form = desk.fill("grant", amount="20")
    assert "<td>8</td><td><strong>28</strong></td>" in desk.shown
    assert ">Grant 20 credits</button>" in desk.shown
    assert desk.balance == 8

    for _ in range(3):  # a second click, and the browser's back button
        desk.browser.post(desk.page("grant"), form)

    assert desk.balance == 28
    event = AuditEvent.objects.get()
    assert (event.operator, event.account, event.action) == (desk.user, desk.account, "grant")
    assert event.reason == "Goodwill: They waited long"
    assert ["Credits to spend", "8", "28"] in event.effects


SECRET, MESSAGE = "Third complaint; watch him", "Sorry for the slow Monday"


@pytest.mark.parametrize("message", ["", MESSAGE], ids=["no message", "message"])
@pytest.mark.parametrize(
    ("code", "data"), [("grant", {"amount": "2"}), ("adjust", {"take": "2"}), ("revoke", {}), ("reverse", {})]
)
def test_reason_stays_with_colleagues_and_message_reaches_customer(
    desk: Desk, ada: User, code: str, data: dict[str, str], message: str
) -> None:
    now = clock.now()
    given = ledger.grant(account_id=desk.account.pk, amount=5, source=Source.BONUS, source_key="b", now=now)
    spent = ledger.spend(account_id=desk.account.pk, amount=1, idempotency_key="s", now=now)
    data = data | {
        "revoke": {"grant": given.grant.source_key, "amount": "2"},
        "reverse": {"transaction": public_id("txn", spent.transaction_id)},
    }.get(code, {})

    desk.do(code, why="abuse", reason=SECRET, message=message, **data)
    desk.browser.post(f"/admin/console/auditevent/{AuditEvent.objects.get().pk}/undo/")

    assert AuditEvent.objects.earliest("at").reason == f"Abuse: {SECRET}"
    browser = Client()
    browser.force_login(ada)
    for address in ("/transactions", "/dashboard", "/transactions?format=csv", "/credits/why"):
        answer = browser.get(address)
        shown = b"".join(answer.streaming_content) if answer.streaming else answer.content
        assert SECRET not in shown.decode()
        assert "Abuse" not in shown.decode()
    assert (message in browser.get("/transactions").content.decode()) is True
    assert SECRET not in str([*Transaction.objects.values(), *OutboxEvent.objects.values(), *mail.outbox])


def test_what_changed_meanwhile_is_shown_once_more(desk: Desk) -> None:
    form = desk.fill("grant", amount="20")
    ledger.spend(account_id=desk.account.pk, amount=3, idempotency_key="k", now=clock.now())

    shown = desk.browser.post(desk.page("grant"), form).content.decode()

    assert "has changed since you saw this" in shown
    assert "<td>5</td><td><strong>25</strong></td>" in shown
    assert desk.balance == 5
    assert not AuditEvent.objects.exists()


@pytest.mark.parametrize("data", [{"reason": ""}, {"why": "x"}, {"amount": "0"}, {"amount": "-5"}, {"amount": "1e9"}])
def test_a_form_that_cannot_be_taken_does_nothing(desk: Desk, data: dict[str, str]) -> None:
    assert desk.fill("grant", **({"amount": "5"} | data)) == {}
    assert "errorlist" in desk.shown
    assert desk.balance == 8


@pytest.mark.parametrize("confirm", ["", "x", "Credits to spend=8>28|They expire=–>never", "x:y"])
def test_a_made_up_confirmation_confirms_nothing(desk: Desk, confirm: str) -> None:
    form = desk.fill("grant", amount="20") | {"seen": confirm}

    assert "Show what it would do" not in desk.browser.post(desk.page("grant"), form).content.decode()
    assert desk.balance == 8


def test_undo_takes_back_what_is_left_and_once(desk: Desk) -> None:
    shown = desk.do("grant", amount="20")
    assert "Can be undone until" in shown
    event = AuditEvent.objects.get()
    ledger.spend(account_id=desk.account.pk, amount=10, idempotency_key="k", now=clock.now())  # 8 free, 2 of the grant

    for _ in range(2):
        desk.browser.post(f"/admin/console/auditevent/{event.pk}/undo/")

    assert desk.balance == 0
    assert [row.action for row in AuditEvent.objects.order_by("at")] == ["grant", "undo"]
    assert list(audit.all_disagreements()) == []


def test_after_ten_minutes_it_stays(desk: Desk, shop: Shop) -> None:
    desk.do("grant", amount="20")
    shop.advance(minutes=11)

    shown = desk.browser.post(f"/admin/console/auditevent/{AuditEvent.objects.get().pk}/undo/", follow=True)

    assert "are over" in shown.content.decode()
    assert desk.balance == 28


def test_taking_forgiving_revoking_and_giving_back(desk: Desk) -> None:
    now = clock.now()
    spent = ledger.spend(account_id=desk.account.pk, amount=2, idempotency_key="k", now=now)
    Wallet.objects.filter(account=desk.account).update(debt=0)

    assert desk.fill("adjust", take="7") == {}
    assert "Only 6 credits are there" in desk.shown
    desk.do("adjust", take="1")
    assert desk.balance == 5
    desk.do("reverse", transaction=Transaction.objects.get(pk=spent.transaction_id).public_id, amount="1")
    assert desk.balance == 6
    grant = Grant.objects.filter(account=desk.account, is_open=True).latest("remaining")
    desk.do("revoke", grant=grant.source_key, amount="2")
    assert desk.balance == 4
    latest = AuditEvent.objects.latest("at")
    desk.browser.post(f"/admin/console/auditevent/{latest.pk}/undo/")
    assert desk.balance == 6
    assert list(audit.all_disagreements()) == []


def test_spending_is_stopped_and_allowed(desk: Desk, client: Client, ada: User) -> None:
    desk.do("freeze")
    client.force_login(ada)
    assert "Spending is stopped" in client.get("/dashboard").content.decode()
    assert "Unfreeze" not in desk.browser.get(f"/admin/accounts/account/{desk.account.pk}/change/").content.decode()
    desk.do("unfreeze")

    assert ledger.spend(account_id=desk.account.pk, amount=1, idempotency_key="k", now=clock.now())


def test_a_refund_says_what_it_takes_and_takes_that(desk: Desk, shop: Shop) -> None:
    order = shop.checkout(desk.account)
    shop.pay(order)
    shop.deliver()
    ledger.spend(account_id=desk.account.pk, amount=13, idempotency_key="k", now=clock.now())  # 8 free, 5 bought

    form = desk.fill("refund", order=order.public_id, amount="2.50")
    assert "<td>15</td><td><strong>5</strong></td>" in desk.shown
    desk.browser.post(desk.page("refund"), form)
    shop.deliver()

    order.refresh_from_db()
    assert (order.refunded_minor, desk.balance) == (250, 5)
    assert desk.fill("refund", order=order.public_id, amount="2.51") == {}
    assert "2.50 EUR can be refunded" in desk.shown


def test_a_plan_s_invoice_is_refunded_with_what_that_takes(desk: Desk, shop: Shop) -> None:
    """Half of a year is given back: credits go now, and from each month that is still to come."""
    from billing.catalogue.price_list import find_price
    from billing.tests.test_checkout import start

    shop.pay(start(desk.account, price=find_price(item="pro", interval="year")).order)
    shop.deliver()
    (invoice,) = [row["id"] for row in shop.stripe.store.all("invoice")]
    ledger.spend(account_id=desk.account.pk, amount=8 + 20, idempotency_key="k", now=clock.now())

    form = desk.fill("refund", order=invoice, amount="100.00")
    assert "<td>80</td><td><strong>30</strong></td>" in desk.shown
    assert "50 fewer in each of 11 months" in desk.shown
    assert "goes on and renews, unless you stop it" in desk.shown
    for _ in range(2):
        desk.browser.post(desk.page("refund"), form)
    shop.deliver()

    (charge,) = shop.stripe.store.all("charge")
    assert (charge["amount_refunded"], desk.balance) == (10000, 30)
    shop.advance(days=32)
    shop.deliver()
    assert desk.balance == 50 + 8
    assert desk.fill("refund", order=invoice, amount="100.01") == {}
    assert "100.00 EUR can be refunded" in desk.shown


def test_an_order_in_review_is_settled_by_hand(desk: Desk, shop: Shop) -> None:
    order = shop.checkout(desk.account)
    Order.objects.update(amount_minor=499)
    shop.pay(order)
    shop.deliver()

    shown = desk.do("settle", what=f"checkout.session:{order.stripe_session_id}", reason="EUR 15 in cash")

    assert "is settled: nothing asks for it any more" in shown
    order.refresh_from_db()
    assert (order.status, order.problem) == ("settled", "Goodwill: EUR 15 in cash")
    assert (
        "Settle by hand" not in desk.browser.get(f"/admin/accounts/account/{desk.account.pk}/change/").content.decode()
    )
    assert AuditEvent.objects.get(action="settle").account == desk.account


def test_a_plan_is_changed_extended_stopped_and_resumed(desk: Desk, shop: Shop) -> None:
    from billing.catalogue.price_list import find_price

    shop.pay(shop.checkout(desk.account, item="pro"))
    shop.deliver()
    before = Subscription.objects.get()

    desk.do("change-plan", price=str(find_price(item="studio").pk))
    shop.deliver()
    assert desk.balance == 408
    desk.do("extend", days="10")
    shop.deliver()
    current = Subscription.objects.get()
    assert current.current_period_end - before.current_period_end == timedelta(days=10)
    desk.do("cancel-plan", when="end")
    assert Subscription.objects.get().cancel_at_period_end
    desk.do("resume-plan")
    assert not Subscription.objects.get().cancel_at_period_end

    shop.advance(days=32)
    shop.deliver()
    paid = [row["amount_paid"] for row in shop.stripe.store.all("invoice")]
    assert len([amount for amount in paid if amount]) == 2  # the first month and the upgrade: nothing for ten days
    plan = {
        bucket.kind: bucket.remaining
        for bucket in selectors.balance(account_id=desk.account.pk, now=clock.now()).buckets
    }
    assert plan["plan"] == 400  # the month that begins within the ten days
    shop.advance(days=10)
    shop.deliver()
    assert len([row for row in shop.stripe.store.all("invoice") if row["amount_paid"]]) == 3
    assert list(audit.all_disagreements()) == []


def test_a_failed_payment_is_tried_again_from_its_problem(desk: Desk, shop: Shop) -> None:

    shop.pay(shop.checkout(desk.account, item="pro"))
    shop.deliver()
    (row,) = shop.stripe.store.all("subscription")
    declines.set_declines(shop.stripe, row["customer"], is_on=True)
    shop.advance(days=32)
    shop.deliver()
    page = desk.browser.get(f"/admin/accounts/account/{desk.account.pk}/change/").content.decode()
    assert "The payment of Pro failed." in page

    assert "The bank said no" in desk.do("retry-payment")
    declines.set_declines(shop.stripe, row["customer"], is_on=False)
    assert "1 invoices are paid" in desk.do("retry-payment")

    assert Subscription.objects.get().status == "active"


def test_what_stripe_knows_and_we_do_not_is_synced(desk: Desk, shop: Shop) -> None:
    shop.pay(shop.checkout(desk.account, item="credits-50"))
    assert desk.balance == 8  # no webhook came

    assert "went from 8 to 58" in desk.do("sync")
    assert Order.objects.get().status == Order.Status.COMPLETED


def test_an_e_mail_is_sent_again(desk: Desk, mailoutbox: list[Any]) -> None:
    event = OutboxEvent.objects.get(account=desk.account, name="account.opened")

    assert "Sent to a…@example.com" in desk.do("resend", event=str(event.pk))

    assert [mail.subject for mail in mailoutbox] == ["Welcome to Tegoed"]


def test_staff_see_a_customer_s_pages_and_change_nothing(desk: Desk) -> None:
    ledger.grant(account_id=desk.account.pk, amount=5, source=Source.BONUS, source_key="t", now=clock.now())
    shown = desk.do("view-as")
    assert "You look at Ada as its owner sees it" in shown

    assert "Credits: 13" in desk.browser.get("/dashboard").content.decode()
    assert desk.browser.get("/billing").status_code == 200
    for address in ("/buy", "/keys", "/settings", "/example-ai", "/team/new", "/settings/export", "/settings/close"):
        assert desk.browser.post(address, {"item": "credits-20"}).status_code == 403, address
    assert desk.browser.get("/accounts/email/").status_code == 403
    assert desk.browser.get("/api/v1/api-keys").status_code == 403
    assert AuditEvent.objects.get().action == "view-as"
    assert desk.browser.post("/stop-looking")["Location"] == f"/admin/accounts/account/{desk.account.pk}/change/"
    assert "Credits: 13" not in desk.browser.get("/dashboard").content.decode()


def test_a_right_that_is_taken_ends_the_looking(desk: Desk) -> None:
    desk.do("view-as")
    desk.user.groups.clear()

    assert "You look at" not in desk.browser.get("/dashboard").content.decode()


def test_two_accounts_become_one_to_the_cent(desk: Desk, shop: Shop) -> None:
    shop.pay(shop.checkout(desk.account, item="credits-50"))
    shop.deliver()
    ledger.spend(account_id=desk.account.pk, amount=8 + 17, idempotency_key="k", now=clock.now())
    ExternalIdentity.objects.create(account=desk.account, subject="42")
    target = personal_account(user=User.objects.create_user("new@example.com"), now=clock.now())

    # It lets a person into the other account, and its names: one operator does not do that alone.
    assert "waits for a second person" in desk.do("merge", target=target.public_id)
    second = Client()
    second.force_login(staff(roles.OPERATORS, "second@example.com"))
    second.post(f"/admin/console/approval/{Approval.objects.get().pk}/decide/", {"approve": "1"})

    source_grant = Grant.objects.get(account=desk.account, source=Source.PURCHASE)
    moved = Grant.objects.get(account=target, source=Source.PURCHASE)
    assert (desk.balance, moved.remaining, moved.paid_minor) == (0, 33, 1000 - 1000 * 17 // 50)
    assert source_grant.remaining == 0
    assert ExternalIdentity.objects.get().account == target
    desk.account.refresh_from_db()
    assert desk.account.closed_at is not None
    assert list(audit.all_disagreements()) == []


def test_data_is_exported_by_who_may(desk: Desk) -> None:
    assert desk.do("export").startswith("PK")
    address = f"/admin/accounts/account/{desk.account.pk}/export/"
    reader = Client()
    reader.force_login(staff(roles.READ_ONLY))
    assert reader.get(address).status_code == 403


class TestASecondPerson:
    def test_erasing_waits_for_one(self, desk: Desk, ada: User) -> None:
        shown = desk.do("erase", confirm=desk.account.public_id)

        assert "waits for a second person" in shown
        ada.refresh_from_db()
        assert ada.email == "ada@example.com"
        fields = Approval.objects.get()
        address = f"/admin/console/approval/{fields.pk}/decide/"
        assert desk.browser.post(address, {"approve": "1"}).status_code == 403  # one's own

        billing = Client()
        billing.force_login(staff(roles.BILLING))
        assert billing.post(address, {"approve": "1"}).status_code == 403  # may not erase, and so not approve it
        other = Client()
        other.force_login(staff(roles.OPERATORS, "other@example.com"))
        for _ in range(2):
            other.post(address, {"approve": "1"})

        ada.refresh_from_db()
        assert (ada.is_active, ada.email.startswith("closed-")) == (False, True)
        assert [row.action for row in AuditEvent.objects.order_by("at", "pk")] == [
            "refused",  # by who asked
            "refused",  # by somebody without the right
            "erase",
            "approve",
        ]
        assert AuditEvent.objects.get(action="erase").subject == "approved by other@example.com"

    def test_a_large_grant_waits_and_can_be_refused(self, desk: Desk, settings: Any) -> None:
        settings.APPROVAL_ABOVE_CREDITS = 1_000
        desk.do("grant", amount="1001")
        assert desk.balance == 8
        other = Client()
        other.force_login(staff(roles.BILLING))

        other.post(f"/admin/console/approval/{Approval.objects.get().pk}/decide/", {"refuse": "1"})

        assert (desk.balance, Approval.objects.get().state) == (8, "refused")

    def test_support_approves_nothing(self, desk: Desk, settings: Any) -> None:
        settings.APPROVAL_ABOVE_CREDITS = 1_000
        desk.do("grant", amount="1001")
        support = Client()
        support.force_login(staff(roles.SUPPORT))

        answer = support.post(f"/admin/console/approval/{Approval.objects.get().pk}/decide/", {"approve": "1"})

        assert (answer.status_code, desk.balance) == (403, 8)


class TestLimits:
    def test_support_grants_so_many_a_day(self, customer: Account) -> None:
        desk = Desk(staff(roles.SUPPORT), customer)
        desk.do("grant", amount="60")

        asked = desk.fill("grant", amount="41")
        assert "This takes a second person" in desk.shown
        desk.browser.post(desk.page("grant"), asked)
        assert desk.balance == 68
        desk.do("grant", amount="40")
        assert desk.balance == 108

        approval = Approval.objects.get()
        assert (approval.operation, approval.state) == ("grant", "pending")
        billing = Client()
        billing.force_login(staff(roles.BILLING))
        billing.post(f"/admin/console/approval/{approval.pk}/decide/", {"approve": "1"})
        assert desk.balance == 149

    def test_an_approver_is_allowed_the_amount_too(self, customer: Account) -> None:
        desk = Desk(staff(roles.SUPPORT), customer)
        desk.do("grant", amount="5000")
        small = staff(roles.SUPPORT, "lead@example.com")
        small.user_permissions.add(Permission.objects.get(codename="approve"))
        browser = Client()
        browser.force_login(User.objects.get(pk=small.pk))

        browser.post(f"/admin/console/approval/{Approval.objects.get().pk}/decide/", {"approve": "1"})

        assert desk.balance == 8
        assert "beyond a day" in Approval.objects.get().result

    def test_nobody_grants_to_themselves(self, customer: Account, ada: User) -> None:
        roles.keep_groups()
        ada.is_staff = True
        ada.save()
        ada.groups.add(Group.objects.get(name=roles.OPERATORS))
        desk = Desk(User.objects.get(pk=ada.pk), customer)

        assert desk.fill("grant", amount="5") == {}
        assert "an account that they are a member of" in desk.shown
        assert AuditEvent.objects.get().action == "refused"

    @pytest.mark.parametrize("group", [roles.READ_ONLY, roles.SUPPORT, roles.BILLING, roles.OPERATORS])
    def test_each_role_may_what_it_may(self, customer: Account, group: str) -> None:
        user = staff(group)
        desk = Desk(user, customer)
        page = desk.browser.get(f"/admin/accounts/account/{customer.pk}/change/")
        assert page.status_code == 200
        for code, operation in OPERATIONS.items():
            if operation.is_undo_only:
                continue
            may = user.has_perm(f"console.{operation.permission}")
            assert desk.browser.get(desk.page(code)).status_code == (200 if may else 403), code
            answer = desk.browser.post(desk.page(code), {"token": "a" * 32, **REASON})
            assert answer.status_code == (200 if may else 403), code
        grave = {"take_credits", "refund_order", "change_plan", "merge_accounts", "erase_person"}
        allowed = {row.permission for row in OPERATIONS.values() if user.has_perm(f"console.{row.permission}")}
        expected = {
            roles.READ_ONLY: set(),
            roles.SUPPORT: set(),
            roles.BILLING: {"take_credits", "refund_order", "change_plan"},
        }
        assert allowed & grave == expected.get(group, grave)


@pytest.mark.parametrize("change", ["UPDATE {} SET reason = 'x'", "DELETE FROM {}", "TRUNCATE {} CASCADE"])
def test_the_audit_log_cannot_be_changed(desk: Desk, change: str) -> None:
    from django.db import connection

    desk.do("note")

    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(change.format("console_auditevent"))
    assert AuditEvent.objects.get().reason == "Goodwill: They waited long"


def test_what_is_changed_in_a_form_is_in_the_audit_log(desk: Desk, shop: Shop) -> None:
    from billing.models import Pack

    pack = Pack.objects.get(code="credits-20")
    form = {
        "name": pack.name,
        "code": pack.code,
        "credits": "25",
        "bonus_credits": "0",
        "position": "0",
        "is_active": "on",
    }

    form |= {f"prices-{name}_FORMS": "0" for name in ("TOTAL", "INITIAL")}
    answer = desk.browser.post(f"/admin/billing/pack/{pack.pk}/change/", form)
    assert answer.status_code == 302, answer.content.decode()[-3000:]

    event = AuditEvent.objects.get()
    assert (event.action, event.operator) == ("change pack", desk.user)
    assert "credits-20" in event.subject or pack.name in event.subject
