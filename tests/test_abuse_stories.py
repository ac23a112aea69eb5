"""Abuse, as stories: who, what they try, and what they have afterwards. Everything goes over HTTP.

Each comes from an attack that worked on the running product. The credits, the money, and the audit log are looked at
after it; so is whether the ledger still agrees with itself.
"""

import itertools
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
import stripe
from django.contrib.auth.models import Group
from django.core.cache import cache
from django.test import Client
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pytest_django import Settings

from accounts import keys, opening, teams
from accounts.models import Account, ApiKey, User
from api import throttling
from billing.catalogue import one_time_benefits
from billing.customers import closing
from billing.models import Order, Price, Promotion, Subscription
from billing.tests.conftest import Shop, customer, shop
from common import clock
from console import roles
from console.models import Approval, AuditEvent, BulkGrant
from console.tests.test_operations import Desk, staff
from credits import audit, ledger, limits, selectors
from credits.models import Grant, Hold, Source, Transaction, Wallet
from outbox import webhooks
from outbox.models import Alert, WebhookDelivery
from sandbox.local_stripe import customers as cards

__all__ = ["customer", "shop"]

FREE = 8  # what the demo's catalogue gives a new account
BUYERS = ("own key", "session", "token of the own key", "token of the app's key")


class World:
    """One customer with free credits, their app with its service key, and everything that may be shown at the door."""

    def __init__(self, account: Account, user: User) -> None:
        self.account, self.user = account, user
        self._numbers = itertools.count()
        self.service = self.key(None, *keys.SERVICE_KEY_SCOPES)
        self.own = self.key(account, *keys.ACCOUNT_KEY_SCOPES)
        self.browser = Client()
        self.browser.force_login(user)

    def key(self, account: Account | None, *scopes: str, by: User | None = None) -> str:
        created = keys.create_key(account=account, name="t", scopes=scopes, created_by=by, now=clock.now())
        return created.secret

    def ask(
        self, path: str, body: Any = None, *, bearer: str = "", key: str = "", browser: Client | None = None
    ) -> Any:
        headers = {"Idempotency-Key": key or f"story-{next(self._numbers)}"}
        if bearer:
            headers["Authorization"] = f"Bearer {bearer}"
        client, address = browser or Client(), f"/api/v1/{path}"
        if body is None:
            return client.get(address, headers=headers)
        return client.post(address, json.dumps(body), content_type="application/json", headers=headers)

    def app(self, path: str, key: str = "", **body: Any) -> Any:
        """What the app's own backend asks for, for this customer."""
        return self.ask(path, {"account": self.account.public_id, **body}, bearer=self.service, key=key)

    def buyer(self, who: str, path: str, body: Any, key: str = "") -> Any:
        """What the customer asks for, with whatever they have."""
        everything = [str(scope) for scope in keys.ACCOUNT_KEY_SCOPES]
        if who == "session":
            return self.ask(path, body, browser=self.browser, key=key)
        if who == "own key":
            return self.ask(path, body, bearer=self.own, key=key)
        fields = {"scopes": everything}
        created = (
            self.ask("auth/tokens", fields, bearer=self.own)
            if who == "token of the own key"
            else self.ask("auth/tokens", fields | {"account": self.account.public_id}, bearer=self.service)
        )
        return self.ask(path, body, bearer=created.json()["token"], key=key)

    @property
    def balance(self) -> int:
        return balance(self.account)


def balance(account: Account) -> int:
    return selectors.balance(account_id=account.pk, now=clock.now()).available


@pytest.fixture
def world(customer: Account, ada: User) -> Iterator[World]:
    assert balance(customer) == FREE
    yield World(customer, ada)
    assert list(audit.all_disagreements()) == []


# --- The customer takes back what the app charged ---------------------------------------------------


@pytest.mark.parametrize("who", BUYERS)
def test_a_customer_reverses_a_charge_and_has_paid_all_the_same(world: World, who: str) -> None:
    spent = world.app("credits/spend", amount=5).json()

    answer = world.buyer(who, f"credits/transactions/{spent['id']}/reverse", {"reason": "Mine"})

    assert (answer.status_code, answer.json()["code"]) == (403, "seller_only")
    assert "service key" in answer.json()["detail"]
    assert world.balance == FREE - 5


@pytest.mark.parametrize("who", BUYERS)
@pytest.mark.parametrize(
    ("verb", "body"), [("release", {}), ("extend", {"expires_in": 600}), ("capture", {"amount": 1})]
)
def test_customer_cannot_capture_the_apps_hold(world: World, who: str, verb: str, body: dict[str, int]) -> None:
    on_hold = world.app("credits/holds", amount=5).json()
    until = Hold.objects.get().expires_at

    answer = world.buyer(who, f"credits/holds/{on_hold['id']}/{verb}", body)

    assert answer.json()["code"] == "seller_only"
    assert Hold.objects.get().expires_at == until
    assert world.app(f"credits/holds/{on_hold['id']}/capture", amount=5).status_code == 201
    assert world.balance == FREE - 5


@pytest.mark.parametrize("who", BUYERS)
def test_customer_cannot_hold_credits_out_of_the_apps_reach(world: World, who: str) -> None:
    assert world.buyer(who, "credits/holds", {"amount": FREE}).json()["code"] == "seller_only"
    assert world.app("credits/spend", amount=FREE).status_code == 201


def test_twenty_calls_cost_twenty(world: World, shop: Shop) -> None:
    ledger.grant(account_id=world.account.pk, amount=60, source=Source.PURCHASE, source_key="t", now=clock.now())
    token = world.app("auth/tokens", scopes=["credits:read", "credits:spend"]).json()["token"]

    for _ in range(20):
        spent = world.app("credits/spend", amount=3).json()
        world.ask(f"credits/transactions/{spent['id']}/reverse", {"reason": "Mine"}, bearer=token)

    assert world.balance == FREE


def test_seller_only_rule_can_be_switched_off(world: World, settings: Any) -> None:
    settings.BUYERS_MAY_UNDO = True
    spent = world.app("credits/spend", amount=5).json()

    assert world.buyer("own key", f"credits/transactions/{spent['id']}/reverse", {"reason": "Mine"}).status_code == 201


def test_a_token_reads_unless_more_is_asked_for(world: World) -> None:
    for created in (world.ask("auth/tokens", {}, bearer=world.own), world.app("auth/tokens")):
        assert created.json()["scopes"] == ["credits:read", "usage:read"]
        assert world.ask("credits/spend", {"amount": 1}, bearer=created.json()["token"]).status_code == 403
    assert world.balance == FREE


# --- Keys that mean another's spend ----------------------------------------------------------------


@pytest.mark.parametrize("who", BUYERS)
def test_customer_reusing_the_apps_idempotency_key_still_pays(world: World, who: str) -> None:
    mine = world.buyer(who, "credits/spend", {"amount": 1}, key="chat-msg-1001").json()

    theirs = world.app("credits/spend", key="chat-msg-1001", amount=1)

    assert theirs.status_code == 201
    assert "Idempotent-Replayed" not in theirs
    assert theirs.json()["id"] != mine["id"]
    assert world.balance == FREE - 2


def test_a_customer_cannot_make_the_app_s_key_a_conflict(world: World) -> None:
    for path, body in (("credits/spend", {"amount": 2}), ("billing/checkouts", {"item": "credits-20"})):
        world.buyer("own key", path, body, key="chat-msg-1002")

    assert world.app("credits/spend", key="chat-msg-1002", amount=1).status_code == 201
    assert world.app("billing/checkouts", key="chat-msg-1002", item="credits-50").status_code == 201
    assert world.app("credits/holds", key="chat-msg-1002", amount=1).status_code == 201


def test_a_replay_tells_that_it_was_given_back(world: World) -> None:
    spent = world.app("credits/spend", key="k", amount=5).json()
    assert spent["returned"] == 0
    world.app(f"credits/transactions/{spent['id']}/reverse", reason="It failed", amount=3)

    again = world.app("credits/spend", key="k", amount=5)

    assert (again["Idempotent-Replayed"], again.json()["returned"]) == ("true", 3)
    fetched = world.ask(f"credits/transactions/{spent['id']}", bearer=world.own).json()
    assert fetched == again.json()


def test_a_replayed_hold_tells_what_became_of_it(world: World) -> None:
    on_hold = world.app("credits/holds", key="h", amount=5).json()
    world.app(f"credits/holds/{on_hold['id']}/release")

    assert world.app("credits/holds", key="h", amount=5).json()["status"] == "released"


def test_a_retry_after_a_rotation_is_still_a_retry(world: World, ada: User) -> None:
    first = world.app("credits/spend", key="k", amount=1).json()
    old = ApiKey.objects.get(account=None)
    world.service = keys.rotate_key(key=old, created_by=None, now=clock.now()).secret

    assert world.app("credits/spend", key="k", amount=1).json()["id"] == first["id"]
    assert world.balance == FREE - 1


@pytest.mark.parametrize("key", ["closing:{uuid}:{left}", "console:reverse:{hex}", "bulk:{uuid}", "top-up:2026-11:0"])
def test_closing_works_though_a_customer_used_its_internal_key(world: World, key: str, ada: User) -> None:
    named = key.format(uuid=world.account.pk, left=FREE - 1, hex="a" * 32)
    assert world.buyer("own key", "credits/spend", {"amount": 1}, key=named).status_code == 201

    answer = world.browser.post("/settings/close", {"email": ada.email}, follow=True)

    assert "Your account is closed" in answer.content.decode()
    assert world.balance == 0


# --- One person who would be two -------------------------------------------------------------------


@pytest.fixture
def approval_above(settings: Any) -> int:
    settings.APPROVAL_ABOVE_CREDITS = 10_000
    return 10_000


def refused(operator: User) -> list[str]:
    return list(AuditEvent.objects.filter(operator=operator, action="refused").values_list("subject", flat=True))


def test_five_grants_in_a_row_are_one_large_one(world: World, approval_above: int) -> None:
    desk = Desk(staff(roles.BILLING), world.account)

    for _ in range(5):
        desk.do("grant", amount=str(approval_above))

    assert world.balance == FREE + approval_above
    assert Approval.objects.filter(state="pending").count() == 4


def test_two_operators_do_not_share_one_account_s_day(world: World, approval_above: int) -> None:
    Desk(staff(roles.BILLING), world.account).do("grant", amount="6000")
    Desk(staff(roles.BILLING, "second@example.com"), world.account).do("grant", amount="6000")

    assert world.balance == FREE + 6_000
    assert Approval.objects.get().asked_by.email == "second@example.com"


def test_the_ways_of_giving_add_up(world: World, approval_above: int) -> None:
    """A grant, and a spend given back, are one person's giving."""
    now = clock.now()
    limits.set_daily_cap(account_id=world.account.pk, cap=None)
    ledger.grant(account_id=world.account.pk, amount=9_000, source=Source.PURCHASE, source_key="p", now=now)
    spent = ledger.spend(account_id=world.account.pk, amount=5_000, idempotency_key="s", now=now)
    desk = Desk(staff(roles.BILLING), world.account)
    desk.do("grant", amount="6000")

    named = Transaction.objects.get(pk=spent.transaction_id).public_id
    assert "waits for a second person" in desk.do("reverse", transaction=named)

    assert world.balance == FREE + 9_000 - 5_000 + 6_000


def test_support_s_hundred_are_a_hundred_however_given(world: World) -> None:
    now = clock.now()
    ledger.grant(account_id=world.account.pk, amount=500, source=Source.PURCHASE, source_key="p", now=now)
    spent = ledger.spend(account_id=world.account.pk, amount=80, idempotency_key="s", now=now)
    support = staff(roles.SUPPORT)
    desk = Desk(support, world.account)
    desk.do("grant", amount="60")

    desk.do("reverse", transaction=Transaction.objects.get(pk=spent.transaction_id).public_id)

    assert world.balance == FREE + 500 - 80 + 60
    assert [row.operation for row in Approval.objects.filter(asked_by=support, state="pending")] == ["reverse"]


def own_desk(world: World, group: str = roles.OPERATORS) -> Desk:
    """The customer works here now."""
    roles.keep_groups()
    world.user.is_staff = True
    world.user.save()
    world.user.groups.add(Group.objects.get(name=group))
    return Desk(User.objects.get(pk=world.user.pk), world.account)


@pytest.mark.parametrize(
    ("code", "data"),
    [
        ("grant", {"amount": "5"}),
        ("adjust", {"forgive": "1"}),
        ("refund", {"amount": "1.00"}),
        ("reverse", {}),
        ("unfreeze", {}),
        ("erase", {}),
    ],
)
def test_staff_do_nothing_for_an_account_of_their_own(
    world: World, shop: Shop, code: str, data: dict[str, str]
) -> None:
    order = shop.checkout(world.account)
    shop.pay(order)
    shop.deliver()
    spent = ledger.spend(account_id=world.account.pk, amount=5, idempotency_key="s", now=clock.now())
    desk, before = own_desk(world), world.balance
    data = data | {"refund": {"order": order.public_id}, "erase": {"confirm": world.account.public_id}}.get(code, {})
    if code == "reverse":
        data = {"transaction": Transaction.objects.get(pk=spent.transaction_id).public_id}

    assert desk.fill(code, **data) == {}

    assert "an account that they are a member of" in desk.shown
    assert (world.balance, list(shop.stripe.store.all("refund"))) == (before, [])
    assert refused(desk.user) == [code]
    assert (
        f"/do/{code}/" not in desk.browser.get(f"/admin/accounts/account/{world.account.pk}/change/").content.decode()
    )


def test_an_operator_merges_a_customer_into_themselves(world: World, shop: Shop) -> None:
    ledger.grant(account_id=world.account.pk, amount=500, source=Source.PURCHASE, source_key="p", now=clock.now())
    operator = staff(roles.OPERATORS)
    mine = opening.personal_account(user=operator, now=clock.now())

    assert Desk(operator, world.account).fill("merge", target=mine.public_id) == {}

    assert (world.balance, balance(mine)) == (FREE + 500, FREE)
    assert refused(operator) == ["merge"]


def test_a_large_merge_waits_for_a_second_person(world: World, approval_above: int) -> None:
    ledger.grant(
        account_id=world.account.pk, amount=approval_above + 1, source=Source.PURCHASE, source_key="p", now=clock.now()
    )
    other = opening.personal_account(user=User.objects.create_user("other@example.com"), now=clock.now())

    shown = Desk(staff(roles.OPERATORS), world.account).do("merge", target=other.public_id)

    assert "waits for a second person" in shown
    assert balance(other) == FREE


def upload(operator: User, rows: str) -> tuple[Client, str]:
    browser = Client()
    browser.force_login(operator)
    from django.core.files.uploadedfile import SimpleUploadedFile

    file = SimpleUploadedFile("g.csv", f"account,credits\n{rows}".encode())
    browser.post("/admin/console/bulkgrant/add/", {"file": file, "reason": "Sorry"})
    return browser, f"/admin/console/bulkgrant/{BulkGrant.objects.latest('made_at').pk}/start/"


def test_bulk_grant_to_own_account_is_refused_for_all_its_staff(world: World) -> None:
    operator = own_desk(world).user
    browser, address = upload(operator, f"{world.account.public_id},10000")
    other = Client()
    other.force_login(staff(roles.OPERATORS, "colleague@example.com"))

    for person in (browser, other):
        assert "is a member of" in person.post(address, follow=True).content.decode()

    assert (world.balance, BulkGrant.objects.get().state) == (FREE, "checked")
    assert AuditEvent.objects.filter(action="refused").count() == 2


def test_two_files_are_not_twice_the_limit(world: World, approval_above: int) -> None:
    operator = staff(roles.OPERATORS)
    for _ in range(2):
        browser, address = upload(operator, f"{world.account.public_id},{approval_above}")
        shown = browser.post(address, follow=True).content.decode()

    assert "second person" in shown
    assert sorted(BulkGrant.objects.values_list("state", flat=True)) == ["checked", "running"]


def test_a_self_made_service_key_grants_nothing(world: World) -> None:
    operator = staff(roles.OPERATORS)
    browser = Client()
    browser.force_login(operator)
    page = browser.post(
        "/admin/accounts/apikey/add/", {"name": "Mine", "scopes": ["credits:grant", "credits:read"]}
    ).content.decode()
    secret = re.search(r"tg_test_\w+", page)
    assert secret
    gift = {"account": world.account.public_id, "amount": 1_000_000_000, "reason": "Me"}

    assert world.ask("credits/grants", gift, bearer=secret[0]).json()["code"] == "insufficient_scope"
    created = ApiKey.objects.get(name="Mine")
    browser.post(f"/admin/accounts/apikey/{created.pk}/approve/")
    assert world.ask("credits/grants", gift, bearer=secret[0]).json()["code"] == "insufficient_scope"

    other = Client()
    other.force_login(staff(roles.OPERATORS, "colleague@example.com"))
    other.post(f"/admin/accounts/apikey/{created.pk}/approve/")
    assert world.ask("credits/grants", gift, bearer=secret[0]).json()["code"] == "grant_limit_exceeded"
    assert world.ask("credits/grants", gift | {"amount": 10_000}, bearer=secret[0]).status_code == 201
    assert world.ask("credits/grants", gift | {"amount": 1}, bearer=secret[0]).json()["code"] == "grant_limit_exceeded"
    assert world.balance == FREE + 10_000
    # Whoever rotates an approved key has its secret: it is approved again.
    page = browser.post(f"/admin/accounts/apikey/{created.pk}/rotate/").content.decode()
    rotated = re.search(r"tg_test_\w+", page)
    assert rotated
    assert world.ask("credits/grants", gift | {"amount": 1}, bearer=rotated[0]).json()["code"] == "insufficient_scope"


def test_a_repeated_grant_counts_once(world: World, settings: Any) -> None:
    settings.SERVICE_KEY_GRANTS_PER_DAY = 10
    settings.APPROVAL_ABOVE_CREDITS = 10
    for _ in range(3):
        assert world.app("credits/grants", key="g", amount=10, reason="r").status_code == 201
    assert world.app("credits/grants", key="g2", amount=1, reason="r").status_code == 403
    assert world.balance == FREE + 10


def asked_for(world: World, amount: str = "10001") -> tuple[User, str]:
    operator = staff(roles.OPERATORS)
    Desk(operator, world.account).do("grant", amount=amount)
    return operator, f"/admin/console/approval/{Approval.objects.get().pk}/decide/"


def test_the_account_s_own_member_does_not_approve(world: World, approval_above: int) -> None:
    _, address = asked_for(world)
    desk = own_desk(world, roles.BILLING)

    desk.browser.post(address, {"approve": "1"})

    assert (world.balance, Approval.objects.get().state) == (FREE, "pending")
    assert refused(desk.user) == ["approve grant"]


@pytest.mark.parametrize("change", ["deactivated", "lost the right", "joined the team"])
def test_approval_fails_if_requester_lost_the_permission(world: World, approval_above: int, change: str) -> None:
    operator, address = asked_for(world)
    if change == "deactivated":
        operator.is_active = False
        operator.save()
    elif change == "lost the right":
        operator.groups.clear()
    else:
        world.account.memberships.create(user=operator, role="member")
    other = Client()
    other.force_login(staff(roles.BILLING))

    other.post(address, {"approve": "1"})

    assert world.balance == FREE
    assert "not possible any more" in Approval.objects.get().result


def test_undoing_takes_the_right_to_do_what_it_does(world: World) -> None:
    Desk(staff(roles.BILLING), world.account).do("grant", amount="5000")
    event = AuditEvent.objects.get(action="grant")
    support = staff(roles.SUPPORT)
    browser = Client()
    browser.force_login(support)

    assert browser.post(f"/admin/console/auditevent/{event.pk}/undo/").status_code == 403

    assert world.balance == FREE + 5_000
    assert refused(support) == ["undo grant"]


def test_money_has_a_second_person_too(world: World, shop: Shop, settings: Any) -> None:
    settings.APPROVAL_ABOVE_MINOR = 700
    orders = [shop.checkout(world.account, key=key) for key in "ab"]
    for order in orders:
        shop.pay(order)
    shop.deliver()
    desk = Desk(staff(roles.BILLING), world.account)

    shown = [desk.do("refund", order=order.public_id, amount="5.00") for order in orders]

    shop.deliver()
    assert ["waits for a second person" in page for page in shown] == [False, True]
    assert [row["amount"] for row in shop.stripe.store.all("refund")] == [500]


def test_free_days_count_as_the_credits_that_they_bring(world: World, shop: Shop, settings: Any) -> None:
    shop.pay(shop.checkout(world.account, item="studio"))
    shop.deliver()
    settings.APPROVAL_ABOVE_CREDITS = 500
    before = Subscription.objects.get().current_period_end

    shown = Desk(staff(roles.BILLING), world.account).do("extend", days="60")

    assert "waits for a second person" in shown
    assert Subscription.objects.get().current_period_end == before


# --- What belongs to a person once -------------------------------------------------------------------


def first_purchase_bonus() -> Promotion:
    return Promotion.objects.create(code="first", name="First", bonus_credits=100, is_first_purchase=True)


def buy(shop: Shop, account: Account, key: str = "k", item: str = "credits-20") -> None:
    shop.pay(shop.checkout(account, item=item, key=key))
    shop.deliver()


def test_the_first_purchase_s_bonus_is_had_once_for_all_teams(world: World, shop: Shop, ada: User) -> None:
    first_purchase_bonus()
    buy(shop, world.account)
    assert world.balance == FREE + 120
    got = []
    for number in range(2):
        team = teams.create_team(name=f"T{number}", owner=ada, language="en", time_zone="UTC", now=clock.now())
        buy(shop, team, key=f"t{number}")
        got.append(balance(team))

    assert got == [20, 20]


def test_two_checkouts_open_at_once_are_one_first_purchase(world: World, shop: Shop, ada: User) -> None:
    first_purchase_bonus()
    team = teams.create_team(name="T", owner=ada, language="en", time_zone="UTC", now=clock.now())
    orders = [shop.checkout(world.account), shop.checkout(team, key="t")]
    assert [order.promotion_credits for order in orders] == [100, 100]
    for order in orders:
        shop.pay(order)
    shop.deliver()

    assert (world.balance, balance(team)) == (FREE + 120, 20)


def test_a_closed_account_s_purchase_counts(world: World, shop: Shop, ada: User) -> None:
    first_purchase_bonus()
    buy(shop, world.account)
    world.browser.post("/settings/close", {"email": ada.email})
    Client().post("/accounts/signup/", {"email": "ada@example.com", "password1": "correct horse battery"})
    again = Account.objects.get(email="ada@example.com")

    buy(shop, again, key="2")

    assert selectors.balance(account_id=again.pk, now=clock.now()).available == 20  # and no free credits either


def test_a_card_s_second_owner_gets_no_first_purchase(world: World, shop: Shop) -> None:
    first_purchase_bonus()
    stranger = opening.personal_account(user=User.objects.create_user("bob@example.com"), now=clock.now())
    for account, key in ((world.account, "a"), (stranger, "b")):
        order = shop.checkout(account, key=key)
        session = shop.stripe.get("checkout.session", order.stripe_session_id or "")
        cards.use_card(shop.stripe, session["customer"], "one-and-the-same")
        shop.pay(order)
    shop.deliver()

    assert (world.balance, balance(stranger)) == (FREE + 120, FREE + 20)


def test_a_free_trial_is_had_once_for_all_teams(world: World, shop: Shop, ada: User) -> None:
    from billing.models import Plan

    Plan.objects.filter(code="pro").update(trial_days=7, trial_credits=50)
    team = teams.create_team(name="T", owner=ada, language="en", time_zone="UTC", now=clock.now())
    orders = [shop.checkout(world.account, item="pro"), shop.checkout(team, item="pro", key="t")]  # both open at once
    for order in orders:
        shop.pay(order)
    shop.deliver()

    assert (world.balance, balance(team)) == (FREE + 50, 0)
    assert sorted(Subscription.objects.values_list("status", flat=True)) == ["canceled", "trialing"]
    third = teams.create_team(name="U", owner=ada, language="en", time_zone="UTC", now=clock.now())
    shop.pay(shop.checkout(third, item="pro", key="u"))
    shop.deliver()
    assert Subscription.objects.get(account=third).trial_ends_at is None  # it was paid from the first day
    assert shop.failures() == []


def test_trial_with_a_known_card_ends_before_it_costs(world: World, shop: Shop) -> None:
    from billing.models import Plan

    Plan.objects.filter(code="pro").update(trial_days=7, trial_credits=50)
    stranger = opening.personal_account(user=User.objects.create_user("bob@example.com"), now=clock.now())
    for account, key in ((world.account, "a"), (stranger, "b")):
        order = shop.checkout(account, item="pro", key=key)
        session = shop.stripe.get("checkout.session", order.stripe_session_id or "")
        cards.use_card(shop.stripe, session["customer"], "one-and-the-same")
        shop.pay(order)
        shop.deliver()

    assert (world.balance, balance(stranger)) == (FREE + 50, FREE)
    assert Order.objects.get(account=stranger).status == Order.Status.FAILED
    assert not [row for row in shop.stripe.store.all("invoice") if row["amount_paid"]]
    # With a card of their own they may have theirs.
    assert not one_time_benefits.is_used(one_time_benefits.Kind.TRIAL, stranger)


# --- Doors that stay open ---------------------------------------------------------------------------


def test_a_closed_account_is_closed_to_everybody(world: World, ada: User) -> None:
    token = world.ask("auth/tokens", {"scopes": ["credits:read", "credits:spend", "billing:write"]}, bearer=world.own)
    bearer = token.json()["token"]
    world.browser.post("/settings/close", {"email": ada.email})

    reported = [
        world.ask("credits/balance", bearer=bearer),
        world.ask("credits/spend", {"amount": 1}, bearer=bearer),
        world.ask("billing/checkouts", {"item": "credits-20"}, bearer=bearer),
        world.app("credits/grants", amount=1, reason="r"),
        world.app("credits/spend", amount=1),
        world.app("credits/holds", amount=1),
        world.app("billing/checkouts", item="credits-20"),
    ]

    assert [(answer.status_code, answer.json()["code"]) for answer in reported] == [(403, "account_closed")] * 7
    assert world.ask("credits/balance", bearer=world.own).status_code == 401
    assert not Order.objects.exists()
    assert world.balance == 0


def test_a_batch_on_a_closed_account_is_refused_by_the_ledger(world: World, ada: User) -> None:
    token = world.ask("auth/tokens", {"scopes": ["credits:spend"]}, bearer=world.own).json()["token"]
    world.browser.post("/settings/close", {"email": ada.email})

    (answer,) = world.ask(
        "credits/spend/batch", {"spends": [{"amount": 1, "idempotency_key": "b"}]}, bearer=token
    ).json()["data"]

    assert (answer["status"], answer["problem"]["code"]) == (403, "account_closed")


def test_a_deactivated_user_s_keys_stop_at_once(world: World, ada: User) -> None:
    made_by_them = world.key(world.account, "credits:read", by=ada)
    User.objects.filter(pk=ada.pk).update(is_active=False)

    for bearer in (world.own, made_by_them):
        assert world.ask("credits/balance", bearer=bearer).json()["code"] == "key_revoked"
    assert world.app("credits/spend", amount=1).status_code == 201  # the app's own goes on
    User.objects.filter(pk=ada.pk).update(is_active=True)
    assert world.ask("credits/balance", bearer=world.own).status_code == 200


def test_a_rotated_key_ends_when_the_old_one_would_have(world: World) -> None:
    ends = clock.now() + timedelta(days=30)
    created = world.browser.post(
        "/api/v1/api-keys", {"name": "Contractor", "expires_at": ends.isoformat()}, content_type="application/json"
    ).json()

    rotated = world.browser.post(f"/api/v1/api-keys/{created['id']}/rotate", {}, content_type="application/json").json()

    assert rotated["expires_at"] == created["expires_at"]


def test_an_owner_hears_of_a_new_key(world: World, shop: Shop, mailoutbox: list[Any]) -> None:
    from outbox import dispatching
    from outbox.models import OutboxEvent

    created = world.browser.post("/api/v1/api-keys", {"name": "Mine"}, content_type="application/json").json()
    for event in OutboxEvent.objects.filter(name="key.created"):
        dispatching.dispatch(event_id=event.pk, now=clock.now())

    reported = [mail for mail in mailoutbox if "Mine" in mail.body]
    assert [mail.to for mail in reported] == [["ada@example.com"]]
    assert created["secret"] not in reported[0].body


def test_a_stranger_s_wrong_passwords_lock_out_the_stranger(world: World, ada: User) -> None:
    ada.set_password("correct horse battery")
    ada.save()

    def sign_in(password: str, address: str, client: Client | None = None) -> int:
        form = {"login": "ada@example.com", "password": password}
        return (client or Client()).post("/accounts/login/", form, REMOTE_ADDR=address).status_code

    for _ in range(12):
        sign_in("wrong", "192.0.2.1")

    assert sign_in("correct horse battery", "192.0.2.1") == 200  # the form again: too many
    assert sign_in("correct horse battery", "192.0.2.2") == 302
    # A browser that they signed in with before is not counted with the rest of its address.
    mine = Client()
    assert sign_in("correct horse battery", "192.0.2.3", mine) == 302
    mine.post("/accounts/logout/")
    for _ in range(12):
        sign_in("wrong", "192.0.2.3")
    assert sign_in("correct horse battery", "192.0.2.3", mine) == 302


def test_a_direct_address_exports_nobody(world: World) -> None:
    desk = Desk(staff(roles.SUPPORT), world.account)
    address = f"/admin/accounts/account/{world.account.pk}/export/"
    assert desk.browser.get(address).status_code == 403
    assert desk.do("export").startswith("PK")
    event = AuditEvent.objects.get(action="export")
    assert event.reason

    for fields, browser in ((event.key, Client()), ("made-up", desk.browser)):
        if browser is not desk.browser:
            browser.force_login(staff(roles.SUPPORT, "colleague@example.com"))
        assert browser.get(address, {"asked": fields}).status_code == 403


def test_tests_and_replays_of_a_webhook_have_an_end(world: World, settings: Any) -> None:
    settings.MAX_WEBHOOK_TESTS_PER_HOUR = 3
    created = world.ask("webhook-endpoints", {"url": "http://127.0.0.1:1/"}, bearer=world.own).json()
    tests = [world.ask(f"webhook-endpoints/{created['id']}/test", {}, bearer=world.own).status_code for _ in range(5)]
    delivery = WebhookDelivery.objects.latest("pk").public_id
    path = f"webhook-endpoints/{created['id']}/deliveries/{delivery}/replay"
    replays = [world.ask(path, {}, bearer=world.own) for _ in range(2)]

    assert tests == [201, 201, 201, 429, 429]
    assert [answer.status_code for answer in replays] == [202, 429]
    assert int(replays[-1]["Retry-After"]) > 0


# --- Odd input --------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [150, 151, 200, 255, 256])
def test_an_app_s_long_user_id_is_an_account_or_a_400(world: World, length: int) -> None:
    answer = world.ask(f"credits/balance?account=ext:{'b' * length}", bearer=world.service)

    assert answer.status_code == (200 if length <= 255 else 400)


@pytest.mark.parametrize(
    "path",
    [
        "credits/explain?at=0001-01-01T00:00:00Z",
        "credits/explain?at=9999-12-31T23:59:59Z",
        "credits/explain?at=0001-01-01T00:00:00%2B14:00",
        "credits/transactions?created_after=0001-01-01T00:00:00Z",
        "credits/transactions?created_before=9999-12-31T23:59:59-14:00",
        "usage/events?created_after=0001-01-01T00:00:00Z",
        "usage/summary?from=0001-01-01&to=0001-01-02",
        "usage/summary?to=9999-12-31",
        "usage/summary?to=0001-01-01",
    ],
)
def test_a_time_before_time_is_400(world: World, path: str) -> None:
    answer = world.ask(path, bearer=world.own)

    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")


@pytest.mark.parametrize(
    "host",
    ["[fec0::1]", "192.0.0.8", "192.88.99.1", "[2001:db8::1]", "[::127.0.0.1]", "[2002:7f00:1::]", "[5f00::1]",
     "[2001::1]", "[64:ff9b::7f00:1]", "0.0.0.0", "[::ffff:10.0.0.1]", "100.64.0.1", "198.18.0.1", "240.0.0.1"],
)  # fmt: skip
def test_no_webhook_goes_to_an_address_of_special_use(world: World, settings: Any, host: str) -> None:
    settings.WEBHOOKS_TO_PRIVATE_ADDRESSES = False

    answer = world.ask("webhook-endpoints", {"url": f"https://{host}/"}, bearer=world.own)

    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (400, "unsafe")


# --- All of it together ------------------------------------------------------------------------------

MOVES = st.lists(
    st.tuples(
        st.sampled_from(["app", "customer", "support"]),
        st.sampled_from(["spend", "hold", "capture", "release", "reverse", "grant"]),
        st.integers(1, 6),
        st.integers(0, 5),
        st.sampled_from(["k1", "k2", "k3", ""]),
    ),
    max_size=25,
)


@dataclass
class Books:
    """What the seller gave, and what the app has served: kept beside the ledger, from the answers alone."""

    world: World
    support: str
    given: int = 30
    served: int = 0
    spends: list[str] = field(default_factory=list)
    holds: list[str] = field(default_factory=list)

    def ask(self, who: str, path: str, key: str = "", **body: Any) -> Any:
        if who == "customer":
            return self.world.ask(path, body, bearer=self.world.own, key=key)
        bearer = self.world.service if who == "app" else self.support
        return self.world.ask(path, {"account": self.world.account.public_id, **body}, bearer=bearer, key=key)

    def spend(self, who: str, amount: int, _place: int, key: str) -> None:
        answer = self.ask(who, "credits/spend", f"{key}-{amount}" if key else "", amount=amount)
        if answer.status_code == 201 and answer.json()["id"] not in self.spends:
            assert not answer.json()["returned"]
            self.spends.append(answer.json()["id"])
            self.served += amount  # whoever was answered so, serves

    def hold(self, who: str, amount: int, _place: int, _key: str) -> None:
        answer = self.ask(who, "credits/holds", amount=amount)
        assert (who == "customer") <= (answer.status_code == 403)
        self.holds += [answer.json()["id"]] if answer.status_code == 201 else []

    def capture(self, who: str, amount: int, place: int, _key: str) -> None:
        if self.holds:
            answer = self.ask(who, f"credits/holds/{self.holds[place % len(self.holds)]}/capture", amount=amount)
            assert (who == "customer") <= (answer.status_code == 403)
            if answer.status_code == 201 and "Idempotent-Replayed" not in answer:
                self.served += -answer.json()["amount"]

    def release(self, who: str, _amount: int, place: int, _key: str) -> None:
        if self.holds:
            answer = self.ask(who, f"credits/holds/{self.holds[place % len(self.holds)]}/release")
            assert (who == "customer") <= (answer.status_code == 403)

    def reverse(self, who: str, amount: int, place: int, _key: str) -> None:
        if self.spends:
            path = f"credits/transactions/{self.spends[place % len(self.spends)]}/reverse"
            answer = self.ask(who, path, amount=amount, reason="r")
            assert (who == "customer") <= (answer.status_code == 403)
            self.given += answer.json()["amount"] if answer.status_code == 201 else 0

    def grant(self, who: str, amount: int, _place: int, _key: str) -> None:
        answer = self.ask(who, "credits/grants", amount=amount, reason="r")
        assert (who == "customer") <= (answer.status_code == 403)
        self.given += amount if answer.status_code == 201 else 0


@hypothesis_settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(moves=MOVES)
def test_no_attacker_ends_with_more_than_was_given_and_bought(
    present: Any, db: None, moves: list[tuple[str, str, int, int, str]]
) -> None:
    """Whatever three principals do, in whatever order: what was served is paid for, or the seller gave it back."""
    now, number = clock.now(), User.objects.count()
    account = opening.external_account(subject=f"p{number}", now=now)
    world = World(account, User.objects.create_user(f"p{number}@example.com", "x" * 12))
    ledger.grant(account_id=account.pk, amount=30, source=Source.PURCHASE, source_key="t", now=now)
    books = Books(world, world.key(None, "credits:grant", "credits:read", "credits:spend"))

    for who, verb, amount, place, key in moves:
        getattr(books, verb)(who, amount, place, key)

    wallet = Wallet.objects.get(account=account)
    assert wallet.balance + wallet.held == books.given - books.served
    assert list(audit.all_disagreements(account_id=account.pk)) == []


# --- Payments that should not have been made ---------------------------------------------------------


def test_payment_after_closing_grants_nothing_and_is_alerted(world: World, shop: Shop) -> None:
    """Closing ends the pages that wait; what is paid all the same (a webhook on its way) goes back, and is alerted."""
    first, second = (shop.checkout(world.account, key=key) for key in "ab")
    shop.pay(first)  # paid, and its webhook has not arrived
    closing.close_account(account=world.account, user=world.user, now=clock.now())

    assert shop.stripe.store.get("checkout.session", second.stripe_session_id)["status"] == "expired"
    shop.deliver()
    first.refresh_from_db()
    assert first.status == Order.Status.FAILED
    (charge,) = shop.stripe.store.all("charge")
    assert charge["refunded"]
    assert Alert.objects.filter(kind=Alert.Kind.REVIEW, resolved_at=None).exists()
    assert world.balance == 0


def test_two_plans_are_paid_at_once_and_the_second_one_is_spent(world: World, shop: Shop) -> None:
    """The money of the second comes back: its credits are never there, whatever the customer does meanwhile."""
    orders = [shop.checkout(world.account, item=item, key=item) for item in ("pro", "studio")]
    for order in orders:
        shop.pay(order)
        shop.advance(seconds=1)
    for _ in range(4):
        shop.deliver()
        world.app("credits/spend", amount=100)

    wallet = Wallet.objects.get(account=world.account)
    granted = Grant.objects.filter(account=world.account, source=Source.PLAN)
    assert [grant.amount for grant in granted] == [100]
    assert (world.balance - wallet.debt) <= FREE
    assert Order.objects.get(pk=orders[1].pk).status == Order.Status.FAILED


def test_up_and_downgrade_in_portal_keep_what_was_paid_for(world: World, shop: Shop) -> None:
    """Stripe credits the upgrade as soon as it is taken back there; so are its credits, and owed if they were spent."""
    shop.pay(shop.checkout(world.account, item="pro"))
    shop.deliver()
    subscription = Subscription.objects.get(account=world.account)
    item = stripe.Subscription.retrieve(subscription.stripe_subscription_id)["items"]["data"][0]["id"]
    prices = {code: Price.objects.get(plan__code=code, interval="month") for code in ("pro", "studio")}
    before = world.balance
    for code in ("studio", "pro"):
        stripe.Subscription.modify(
            subscription.stripe_subscription_id,
            items=[{"id": item, "price": prices[code].stripe_price_id}],
            proration_behavior="always_invoice",
        )
        shop.deliver()
        if code == "studio":
            assert world.balance == before + 300

    assert world.balance == before


# --- The customer uses up what everybody shares ------------------------------------------------------


def test_an_endpoint_that_is_made_anew_is_not_tested_anew(world: World, settings: Settings) -> None:
    settings.MAX_WEBHOOK_TESTS_PER_HOUR = 2
    answers = []
    for _ in range(4):
        created = world.ask("webhook-endpoints", {"url": "https://example.com/hook"}, bearer=world.own).json()
        answers.append(world.ask(f"webhook-endpoints/{created['id']}/test", {}, bearer=world.own).status_code)
        Client().delete(f"/api/v1/webhook-endpoints/{created['id']}", headers={"Authorization": f"Bearer {world.own}"})

    assert answers[2:] == [429, 429]


def test_one_persons_teams_do_not_occupy_all_webhook_workers(world: World, ada: User) -> None:
    """Each account may have two endpoints sent to at once; a person has as many accounts as they make teams."""
    now = clock.now()
    teams_of_ada = [
        teams.create_team(name=f"T{number}", owner=ada, language="en", time_zone="UTC", now=now) for number in range(5)
    ]
    others = opening.personal_account(user=User.objects.create_user("bob@example.com"), now=now)
    endpoints = [
        webhooks.create_endpoint(
            account=account, url="https://example.com/hook", events=[], description="", actor="t", now=now
        )[0]
        for account in [world.account, *teams_of_ada, others]
    ]

    taken = [webhooks._take(endpoint, now=now) for endpoint in endpoints]

    assert taken == [True, True, False, False, False, False, True]
    webhooks._give_free(endpoints[0], now=now)
    assert webhooks._take(endpoints[2], now=now)


def test_provider_cost_from_a_buyer_is_ignored(world: World) -> None:
    """It falsifies the seller's margins; sums of many overflow the console's reports."""
    usage = {"model": "large", "provider_cost_micros": 10**12}
    spend = {"amount": 1, "usage": usage}

    by_buyer = world.ask("credits/spend", spend, bearer=world.own)
    by_app = world.app("credits/spend", **spend)
    too_much = world.app("credits/spend", amount=1, usage={"provider_cost_micros": 2**53})

    assert (by_buyer.status_code, by_buyer.json()["usage"]) == (201, {"model": "large"})
    assert by_app.json()["usage"] == usage
    assert too_much.status_code == 400


def test_one_customer_does_not_use_up_stripe_s_rate_limit(
    world: World, shop: Shop, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    fields: list[throttling.Limit] = []
    monkeypatch.setattr(throttling, "count", lambda limits: fields.extend(limits) or [])
    settings.PAYMENT_PAGES_PER_MINUTE = 7

    world.ask("billing/checkouts", {"item": "credits-20"}, bearer=world.own)
    world.ask("billing/portal-sessions", {}, bearer=world.own)
    world.browser.post("/buy", {"item": "credits-20"})

    pages = [(limit.who, limit.most) for limit in fields if limit.name == "payment_page"]
    assert pages == [(str(world.account.pk), 7)] * 3


# --- Somebody else's address -------------------------------------------------------------------------


@pytest.fixture
def proving(settings: Settings) -> None:
    """As in production: an address is confirmed before it opens anything."""
    settings.ACCOUNT_EMAIL_VERIFICATION = "mandatory"
    cache.clear()  # mails that other stories sent count against an address


def test_password_set_by_a_stranger_is_dropped_on_confirmation(db: None, proving: None, mailoutbox: list[Any]) -> None:
    """Sign up with a victim's address, and wait until they prove it, by whichever way they come."""
    stranger, victim = Client(), Client()
    stranger.post("/accounts/signup/", {"email": "victim@example.com", "password1": "Attacker-Pass-77!"})
    mailoutbox.clear()

    victim.post("/accounts/login/code/", {"email": "victim@example.com"})
    (code,) = re.findall(r"^\s*([A-Z0-9]{3,4}-?[A-Z0-9]{3,4})\s*$", str(mailoutbox[0].body), re.M)
    victim.post("/accounts/login/code/confirm/", {"code": code})

    assert victim.get("/dashboard").status_code == 200
    stranger.post("/accounts/login/", {"login": "victim@example.com", "password": "Attacker-Pass-77!"})
    assert stranger.get("/dashboard").status_code != 200
    assert balance(Account.objects.get(email="victim@example.com")) >= 0


def test_confirming_a_strangers_sign_up_gives_them_no_access(db: None, proving: None, mailoutbox: list[Any]) -> None:
    stranger, victim = Client(), Client()
    stranger.post("/accounts/signup/", {"email": "victim@example.com", "password1": "Attacker-Pass-77!"})
    (link,) = re.findall(r"https?://[^/]+(/accounts/confirm-email/\S+)", str(mailoutbox[0].body))

    victim.post(link)

    stranger.post("/accounts/login/", {"login": "victim@example.com", "password": "Attacker-Pass-77!"})
    assert stranger.get("/dashboard").status_code != 200


def test_unproven_sign_up_takes_no_free_credits_from_the_owner(
    world: World, proving: None, mailoutbox: list[Any]
) -> None:
    Client().post("/accounts/signup/", {"email": "victim+evil@example.com", "password1": "Attacker-Pass-77!"})
    assert balance(Account.objects.get(email="victim+evil@example.com")) == 0
    mailoutbox.clear()

    victim = Client()
    victim.post("/accounts/signup/", {"email": "victim@example.com", "password1": "a fine long horse"})
    (link,) = re.findall(r"https?://[^/]+(/accounts/confirm-email/\S+)", str(mailoutbox[0].body))
    victim.post(link)

    assert balance(Account.objects.get(email="victim@example.com")) == FREE
