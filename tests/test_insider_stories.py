"""What dishonest staff try: alone, with a friend, or past the console. Each comes from an attack that worked."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group
from django.db import connection
from django.test import Client, RequestFactory

from accounts import keys, opening, teams
from accounts.models import Account, ApiKey, Membership, User
from billing.models import Plan, Promotion
from billing.tests.conftest import Shop, customer, shop
from common import clock
from common.admin import OperatorAdmin
from console import roles
from console.models import Approval, AuditEvent
from console.operation_views import TOKEN_LENGTH
from console.tests.test_operations import REASON, Desk, staff
from credits import manual_grant_counts
from outbox.models import OutboxEvent, WebhookDelivery, WebhookEndpoint
from tests.test_abuse_stories import FREE, World, balance, refused, world

__all__ = ["customer", "shop", "world"]


def person(email: str) -> tuple[User, Account]:
    user = User.objects.create_user(email, name=email.partition("@")[0].title())
    return user, opening.personal_account(user=user, now=clock.now())


def approve(approval: Approval) -> None:
    second = Client()
    second.force_login(staff(roles.OPERATORS, "second@example.com"))
    second.post(f"/admin/console/approval/{approval.pk}/decide/", {"approve": "1"})
    approval.refresh_from_db()
    assert approval.state == Approval.State.APPROVED, approval.result


def test_merge_that_adds_people_needs_a_second_person(world: World) -> None:
    friend, poor = person("friend@example.com")

    shown = Desk(staff(roles.OPERATORS), poor).do("merge", target=world.account.public_id)

    assert "waits for a second person" in shown
    assert not Membership.objects.filter(user=friend, account=world.account).exists()
    approve(Approval.objects.get())
    assert Membership.objects.get(user=friend, account=world.account).role == Membership.Role.MEMBER
    reported = AuditEvent.objects.filter(action="merge").values_list("account_id", flat=True)
    assert set(reported) == {poor.pk, world.account.pk}  # both timelines have it


def test_one_token_for_many_accounts_is_as_many_acts(world: World) -> None:
    """The browser chooses the token of a form: the same for four customers, sent at the same moment."""
    operator = staff(roles.OPERATORS)
    accounts = [world.account, *(person(f"p{number}@example.com")[1] for number in range(3))]
    token = "a" * TOKEN_LENGTH
    for account in accounts:
        desk = Desk(operator, account)
        form = {**desk.fill("grant", amount="5"), "token": token}
        desk.browser.post(desk.page("grant"), form)
        desk.browser.post(desk.page("grant"), form)

    assert [balance(account) for account in accounts] == [FREE + 5] * 4
    assert AuditEvent.objects.filter(action="grant").count() == 4


def test_an_act_that_cannot_be_written_down_is_not_done(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_about: Any) -> None:
        raise RuntimeError

    monkeypatch.setattr("console.audit_log.record", fail)
    desk = Desk(staff(roles.OPERATORS), world.account)

    with pytest.raises(RuntimeError):
        desk.do("grant", amount="5")

    assert world.balance == FREE


def test_bulk_delete_action_is_disabled(world: World) -> None:
    roles.keep_groups()
    browser = Client()
    browser.force_login(User.objects.create_superuser("root@example.com"))
    groups = list(Group.objects.values_list("pk", flat=True))

    browser.post(
        "/admin/auth/group/", {"action": "delete_selected", "_selected_action": groups, "post": "yes"}, follow=True
    )

    assert Group.objects.count() == len(groups)


@pytest.mark.parametrize(
    "lookup",
    [
        "usersessions/usersession/?session_key__startswith=a",
        "mfa/authenticator/?data__secret__startswith=a",
        "accounts/apikey/?secret_hash__gt=a",
        "accounts/user/?password__startswith=a",
        "outbox/webhookendpoint/?secret__startswith=a",
    ],
)
def test_secrets_are_not_guessed_letter_by_letter(world: World, lookup: str) -> None:
    browser = Client()
    browser.force_login(User.objects.create_superuser("root@example.com"))

    assert browser.get(f"/admin/{lookup}").status_code == 400


def test_console_lists_filter_only_by_shown_fields() -> None:
    for model, shown in admin.site._registry.items():
        if not isinstance(shown, OperatorAdmin):
            continue
        own = shown._shown()
        hidden = [row.name for row in model._meta.fields if not (row.primary_key or row.is_relation)]
        assert [
            name for name in hidden if name not in own and shown.lookup_allowed(name, "x", RequestFactory().get("/"))
        ] == [], model


def test_a_key_gives_back_its_own_spends_and_no_others(world: World) -> None:
    """A service key that one person makes alone must not make the use of a friend free."""
    spent = world.app("credits/spend", amount=5).json()
    alone = world.key(None, "credits:read", "credits:spend", by=staff(roles.OPERATORS))
    body = {"account": world.account.public_id, "reason": "For free"}

    answer = world.ask(f"credits/transactions/{spent['id']}/reverse", body, bearer=alone)

    assert (answer.status_code, answer.json()["code"]) == (403, "insufficient_scope")
    own = world.ask("credits/spend", {"account": world.account.public_id, "amount": 1}, bearer=alone).json()
    assert world.ask(f"credits/transactions/{own['id']}/reverse", body, bearer=alone).status_code == 201
    assert world.balance == FREE - 5


@pytest.mark.parametrize("role", ["maker", "approver"])
def test_a_key_grants_nothing_to_whoever_made_or_approved_it(world: World, role: str) -> None:
    colleague = staff(roles.OPERATORS)
    maker, approver = (world.user, colleague) if role == "maker" else (colleague, world.user)
    created = keys.create_key(
        account=None, name="k", scopes=["credits:grant"], created_by=maker, now=clock.now(), grants_per_day=10**9
    )
    keys.approve_grants(key=created.key, approved_by=approver, now=clock.now())
    body = {"account": world.account.public_id, "amount": 5, "kind": "bonus", "reason": "Mine"}

    answer = world.ask("credits/grants", body, bearer=created.secret)

    assert answer.status_code == 403
    assert "nobody grants to themselves" in answer.json()["detail"]
    assert world.balance == FREE


def test_leaving_a_team_briefly_keeps_it_an_own_account(world: World) -> None:
    operator = staff(roles.BILLING)
    team = teams.create_team(name="Team", owner=world.user, language="en", time_zone="UTC", now=clock.now())
    ApiKey.objects.filter(
        pk=keys.create_key(
            account=team, name="k", scopes=["credits:spend"], created_by=operator, now=clock.now()
        ).key.pk
    ).update(expires_at=None)

    assert Desk(operator, team).fill("grant", amount="5") == {}

    assert refused(operator) == ["grant"]


def test_what_only_undoes_is_asked_for_by_nobody(world: World) -> None:
    desk = Desk(staff(roles.BILLING), world.account)

    assert desk.browser.get(desk.page("restore")).status_code == 404
    form = {**REASON, "grant": "x", "amount": "2", "token": "a" * TOKEN_LENGTH}
    assert desk.browser.post(desk.page("restore"), form).status_code == 404


def test_a_day_of_giving_is_never_shorter_than_a_day(db: None, customer: Account) -> None:
    now = clock.now().replace(minute=59, second=58)
    about: dict[str, Any] = {"giver": "user:1", "account_id": customer.pk, "amount": 5}
    manual_grant_counts.count(**about, most_by_giver=9, most_to_account=9, now=now)

    assert manual_grant_counts.given_by("user:1", now=now + timedelta(hours=23, minutes=59)) == 5
    assert manual_grant_counts.given_by("user:1", now=now + timedelta(hours=25, minutes=2)) == 0


class TestTheCatalogue:
    """What everybody is given is set by somebody as well."""

    @pytest.mark.parametrize(
        ("model", "change"),
        [("plan", {"daily_credits": "1000000"}), ("plan", {"trial_days": "7", "trial_credits": "2000000"})],
    )
    def test_one_operator_gives_no_millions_through_it(
        self, world: World, shop: Shop, model: str, change: dict[str, str]
    ) -> None:
        plan = Plan.objects.get(is_default=True)
        browser, address = Client(), f"/admin/billing/{model}/{plan.pk}/change/"
        browser.force_login(staff(roles.OPERATORS))

        answer = browser.post(address, form_of(browser, address) | change)

        assert "an administrator sets this" in answer.content.decode()
        before = plan.daily_credits
        plan.refresh_from_db()
        assert (plan.daily_credits, plan.trial_credits) == (before, None)

    def test_the_audit_log_says_from_what_to_what(self, world: World, shop: Shop) -> None:
        plan = Plan.objects.get(is_default=True)
        browser, address = Client(), f"/admin/billing/plan/{plan.pk}/change/"
        browser.force_login(staff(roles.OPERATORS))

        answer = browser.post(address, form_of(browser, address) | {"daily_credits": str(plan.daily_credits + 4)})

        assert answer.status_code == 302, re.findall(r"errorlist.*", answer.content.decode())
        reported = AuditEvent.objects.get(action="change plan").result
        assert f"{plan.daily_credits} → {plan.daily_credits + 4}" in reported

    def test_a_promotion_of_millions_is_refused(self, world: World, shop: Shop) -> None:
        browser, address = Client(), "/admin/billing/promotion/add/"
        browser.force_login(staff(roles.OPERATORS))

        answer = browser.post(address, form_of(browser, address) | {"bonus_credits": "2000000000"})

        assert "an administrator sets this" in answer.content.decode()
        assert not Promotion.objects.filter(bonus_credits=2_000_000_000).exists()


def form_of(browser: Client, address: str) -> dict[str, str]:
    """What a browser would send of an admin form that nobody has changed."""
    page = browser.get(address)
    form = page.context["adminform"].form
    result = {name: form[name].value() for name in form.fields}
    for formset in page.context["inline_admin_formsets"]:
        parts = [formset.formset.management_form, *formset.formset.forms]
        result |= {part.add_prefix(name): part[name].value() for part in parts for name in part.fields}
    return {name: str(value) for name, value in result.items() if value is not None and value is not False}


def everything(text: str) -> list[str]:
    """The tables that hold this text, anywhere."""
    holding = []
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f'SELECT count(*) FROM "{table}" t WHERE t::text ILIKE %s', [f"%{text}%"])
            if cursor.fetchone()[0]:
                holding.append(table)
    return sorted(holding)


def test_nobody_approves_a_merge_into_an_account_of_their_own(world: World, shop: Shop) -> None:
    """The request is about the other account; the credits would go to the approver's."""
    _zoe, account = person("zoe.merge@example.com")
    approver = staff(roles.OPERATORS, "approver@example.com")
    own = opening.personal_account(user=approver, now=clock.now())
    assert "waits for a second person" in Desk(staff(roles.OPERATORS), account).do("merge", target=own.public_id)
    waiting = Approval.objects.get(operation="merge")
    browser = Client()
    browser.force_login(approver)

    browser.post(f"/admin/console/approval/{waiting.pk}/decide/", {"approve": "1"})

    account.refresh_from_db()
    assert account.closed_at is None
    assert AuditEvent.objects.filter(operator=approver, result__contains="a member of").exists()


def test_who_is_erased_is_nowhere_any_more(world: World, shop: Shop) -> None:
    """Also where nothing can be erased: the audit log, what waits for a second person, files of grants."""
    zoe, account = person("zoe.uniq@example.com")
    second_login, other = person("zoe.two@example.com")
    operator = staff(roles.OPERATORS)
    order = shop.checkout(account)
    shop.pay(order)
    shop.deliver()
    desk = Desk(operator, account)
    desk.do("grant", amount="5")
    _answered_webhook(account, "zoe.uniq@example.com: thank you")
    assert "waits for a second person" in Desk(operator, other).do("merge", target=account.public_id)
    approve(Approval.objects.get(operation="merge"))

    for whose in (account, other):
        assert "waits for a second person" in Desk(operator, whose).do("erase", confirm=whose.public_id)
        second = Client()
        second.force_login(User.objects.get(email="second@example.com"))
        waiting = Approval.objects.get(operation="erase", account=whose)
        second.post(f"/admin/console/approval/{waiting.pk}/decide/", {"approve": "1"})
        waiting.refresh_from_db()
        assert waiting.state == Approval.State.APPROVED, waiting.result

    zoe.refresh_from_db()
    second_login.refresh_from_db()
    assert (zoe.is_active, second_login.is_active) == (False, False)
    assert everything("zoe.uniq") == everything("zoe.two") == []


def _answered_webhook(account: Account, answer: str) -> None:
    """The seller listens to every account; what it answered about this one is kept with the delivery."""
    event = OutboxEvent.objects.filter(account=account).first()
    endpoint = WebhookEndpoint.objects.create(url="https://app.example.com/", secret=b"x", created_at=clock.now())
    WebhookDelivery.objects.create(endpoint=endpoint, event=event, answer=answer, created_at=clock.now())


def test_a_download_of_the_audit_log_is_in_it(world: World) -> None:
    Desk(staff(roles.OPERATORS), world.account).do("note")
    event = AuditEvent.objects.get(action="note")
    reader = Client()
    reader.force_login(staff(roles.READ_ONLY))

    answer = reader.post("/admin/console/auditevent/", {"action": "download", "_selected_action": [str(event.pk)]})

    assert b"note" in b"".join(answer.streaming_content)
    assert AuditEvent.objects.get(action="download audit log").operator.email == "read-only@example.com"
