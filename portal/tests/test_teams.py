"""Teams on pages: made, joined by invitation, managed by role; and whose account a page is about."""

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from django.http import QueryDict
from django.test import Client

from accounts import keys, teams
from accounts.errors import TeamError
from accounts.models import Account, Invitation, Membership, User
from accounts.opening import personal_account
from billing.models import Plan
from billing.tests.conftest import Shop, shop
from common import clock
from credits import ledger, selectors
from credits.models import Source
from outbox import webhooks
from outbox.models import OutboxEvent
from portal import members
from tests.threads import together
from usage import periods
from usage.spending import Work, spend
from usage.tests.rate_card import put_on_the_card

__all__ = ["shop"]

Role = Membership.Role


@pytest.fixture
def bob(db: None) -> User:
    return User.objects.create_user("bob@example.com", "correct horse battery", name="Bob")


@pytest.fixture
def engines(ada: User, present: datetime) -> Account:
    """Ada's team, with seats for four."""
    Plan.objects.create(code="free", name="Free", is_default=True, seats=4)
    return teams.create_team(name="Engines", owner=ada, language="en", time_zone="UTC", now=present)


@pytest.fixture
def signed_in(client: Client) -> Callable[[User, Account], Client]:
    def enter(user: User, account: Account) -> Client:
        client.force_login(user)
        assert client.post("/team/switch", {"account": account.public_id}).status_code == 302
        return client

    return enter


def join(account: Account, user: User, role: str = Role.MEMBER) -> Membership:
    return Membership.objects.create(account=account, user=user, role=role)


def membership(account: Account, user: User) -> Membership:
    return Membership.objects.get(account=account, user=user)


def test_a_team_is_made_and_pages_are_about_it(client: Client, ada: User, present: datetime) -> None:
    client.force_login(ada)

    client.post("/team/new", {"name": "Engines"})

    team = Account.objects.get(kind="team")
    ledger.grant(account_id=team.pk, amount=70, source=Source.PURCHASE, source_key="t", now=present)
    assert "Engines" in client.get("/dashboard").content.decode()
    assert "Credits: 70" in client.get("/dashboard").content.decode()
    client.post("/team/switch", {"account": personal_account(user=ada, now=present).public_id})
    assert "Credits: 0" in client.get("/dashboard").content.decode()


def test_free_credits_are_personal(shop: Shop, client: Client, ada: User) -> None:
    client.force_login(ada)
    client.post("/team/new", {"name": "Engines"})

    balance = selectors.balance(account_id=Account.objects.get(kind="team").pk, now=clock.now())

    assert (balance.available, balance.next_refill) == (0, None)


def test_nobody_makes_teams_without_end(client: Client, ada: User, settings: object) -> None:
    client.force_login(ada)
    own = personal_account(user=ada, now=clock.now())
    for number in range(12):
        client.post("/team/switch", {"account": own.public_id})
        client.post("/team/new", {"name": f"T{number}"})

    assert Account.objects.filter(kind="team").count() == 10


def test_an_invitation_is_mailed_and_taken_by_its_address_only(
    engines: Account, ada: User, bob: User, signed_in: Callable[..., Client]
) -> None:
    client = signed_in(ada, engines)
    client.post("/team/invite", {"email": "Bob@Example.com ", "role": "admin"})

    reported = OutboxEvent.objects.get(name="team.invited")
    link = teams.link_of(reported.data["invitation"])
    assert (reported.data["mail_to"], reported.data["team"]) == ("bob@example.com", "Engines")
    assert "It was sent to bob@example.com" in client.get(f"/invitations/{link}").content.decode()
    assert client.post(f"/invitations/{link}").status_code == 200
    assert not Membership.objects.filter(account=engines, user=bob).exists()

    other = Client()
    page = other.get(f"/invitations/{link}").content.decode()
    assert "Join Engines" in page
    assert f"/accounts/signup/?next=/invitations/{link.replace(':', '%3A')}" in page
    assert other.post(f"/invitations/{link}").status_code == 200
    assert not Membership.objects.filter(account=engines, user=bob).exists()
    other.force_login(bob)
    assert "Join Engines" in other.get(f"/invitations/{link}").content.decode()
    assert other.post(f"/invitations/{link}").status_code == 302
    assert membership(engines, bob).role == Role.ADMIN
    assert "Engines" in other.get("/dashboard").content.decode()
    assert other.get(f"/invitations/{link}").status_code == 404


@pytest.mark.parametrize("link", ["", "inv_1", "inv_1:x", "é", "x" * 500])
def test_made_up_links_open_nothing(client: Client, ada: User, link: str) -> None:
    client.force_login(ada)

    assert client.get(f"/invitations/{link}").status_code == 404


def test_an_invitation_that_is_old_or_withdrawn_is_over(
    engines: Account, ada: User, bob: User, present: datetime, signed_in: Callable[..., Client]
) -> None:
    sent = teams.invite(account=engines, email=bob.email, role=Role.MEMBER, by=ada, seats=4, now=present)
    link = teams.link_of(sent.public_id)

    assert teams.find_invitation(link, now=present + timedelta(days=15)) is None
    signed_in(ada, engines).post(f"/team/invitations/{sent.public_id}/withdraw")
    assert teams.find_invitation(link, now=present) is None
    with pytest.raises(TeamError, match="over"):
        teams.accept(invitation=sent, user=bob, now=present)


def test_seats_are_members_and_invitations(engines: Account, ada: User, signed_in: Callable[..., Client]) -> None:
    client = signed_in(ada, engines)
    for number in range(5):
        client.post("/team/invite", {"email": f"m{number}@example.com", "role": "member"})

    assert Invitation.objects.count() == 3
    page = client.get("/team").content.decode()
    assert "4 of 4 seats taken" in page
    assert 'action="/team/invite"' not in page  # there is nothing to fill in that would be refused
    assert "all are taken" in page


@pytest.mark.django_db(transaction=True)
def test_the_last_seat_is_taken_once() -> None:
    now = clock.now()
    owner = User.objects.create_user("owner@example.com")
    team = teams.create_team(name="T", owner=owner, language="en", time_zone="UTC", now=now)

    def invite(number: int) -> bool:
        try:
            teams.invite(account=team, email=f"m{number}@example.com", role="member", by=owner, seats=2, now=now)
        except TeamError:
            return False
        return True

    assert sum(together(8, invite)) == 1
    assert Invitation.objects.count() == 1


MEMBERS_PAGES = ["/dashboard", "/credits", "/usage", "/transactions", "/credits/why", "/team", "/example-ai"]
ADMINS_PAGES = ["/billing", "/billing/details", "/keys", "/settings", "/settings/notifications", "/settings/webhooks"]
OWNERS_PAGES = ["/settings/close", "/settings/data"]
ADMINS_ACTIONS = [
    "/buy", "/keys", "/billing/portal", "/billing/plan", "/billing/plan/cancel", "/billing/plan/resume",
    "/billing/top-up", "/billing/details", "/settings", "/settings/notifications", "/settings/webhooks", "/team/invite",
]  # fmt: skip


@pytest.mark.parametrize("role", Role.values)
def test_a_role_opens_its_pages_and_no_others(
    engines: Account, bob: User, signed_in: Callable[..., Client], role: str
) -> None:
    join(engines, bob, role)
    client = signed_in(bob, engines)
    is_admin, is_owner = role in ("owner", "admin"), role == "owner"

    for pages, may in ((MEMBERS_PAGES, True), (ADMINS_PAGES, is_admin), (OWNERS_PAGES, is_owner)):
        for address in pages:
            assert client.get(address).status_code == (200 if may else 403), address
    if not is_admin:
        before = [model.objects.count() for model in (Membership, Invitation)]
        for address in [*ADMINS_ACTIONS, "/settings/export", "/settings/close"]:
            assert client.post(address, {"email": "x@example.com", "item": "credits-20"}).status_code == 403, address
        assert before == [model.objects.count() for model in (Membership, Invitation)]
        assert "ada@example.com" in client.get("/billing").content.decode()  # whom to ask
        assert "Buy 20 credits" not in client.get("/credits").content.decode()


def test_a_stranger_finds_nothing_of_a_team(engines: Account, bob: User, client: Client, ada: User) -> None:
    client.force_login(bob)
    ada_s = membership(engines, ada)

    assert client.post("/team/switch", {"account": engines.public_id}).status_code == 404
    assert "Engines" not in client.get("/team").content.decode()
    for address in (f"/team/members/{ada_s.pk}/remove", f"/team/members/{ada_s.pk}/role"):
        assert client.post(address, {"role": "member"}).status_code == 404
    assert membership(engines, ada).role == Role.OWNER


def test_admins_make_no_owners_and_touch_none(
    engines: Account, ada: User, bob: User, signed_in: Callable[..., Client]
) -> None:
    join(engines, bob, Role.ADMIN)
    client = signed_in(bob, engines)

    client.post(f"/team/members/{membership(engines, bob).pk}/role", {"role": "owner"})
    client.post(f"/team/members/{membership(engines, ada).pk}/role", {"role": "member"})
    client.post(f"/team/members/{membership(engines, ada).pk}/remove")

    assert (membership(engines, ada).role, membership(engines, bob).role) == (Role.OWNER, Role.ADMIN)


def test_admin_touches_no_owner_where_another_remains(
    engines: Account, ada: User, bob: User, signed_in: Callable[..., Client]
) -> None:
    """Of two owners one may go: by the other's hand, not by an admin's."""
    join(engines, bob, Role.ADMIN)
    second = User.objects.create_user("second@example.com")
    join(engines, second, Role.OWNER)
    client = signed_in(bob, engines)

    client.post(f"/team/members/{membership(engines, second).pk}/role", {"role": "member"})
    client.post(f"/team/members/{membership(engines, second).pk}/remove")

    assert membership(engines, second).role == Role.OWNER


@pytest.mark.parametrize("step", ["role", "remove"])
def test_what_somebody_made_while_they_might_is_told_of(
    engines: Account, ada: User, bob: User, signed_in: Callable[..., Client], step: str
) -> None:
    """A key and an endpoint go on with their rights when whoever made them has lost theirs."""
    row = join(engines, bob, Role.ADMIN)
    keys.create_key(account=engines, name="k", scopes=["billing:write"], created_by=bob, now=clock.now())
    webhooks.create_endpoint(
        account=engines, url="https://example.com/", events=[], description="", actor=f"user:{bob.pk}", now=clock.now()
    )
    client = signed_in(ada, engines)

    shown = client.post(f"/team/members/{row.pk}/{step}", {"role": "member"}, follow=True).content.decode()

    assert "The 1 API keys that they made go on working" in shown
    assert "The 1 webhook endpoints that they made are still told" in shown


def test_an_owner_always_remains(engines: Account, ada: User, bob: User, signed_in: Callable[..., Client]) -> None:
    client = signed_in(ada, engines)
    mine = membership(engines, ada)

    shown = client.post(f"/team/members/{mine.pk}/remove", follow=True).content.decode()
    assert "A team needs an owner" in shown
    client.post(f"/team/members/{mine.pk}/role", {"role": "member"})
    assert membership(engines, ada).role == Role.OWNER

    bob_s = join(engines, bob)
    client.post(f"/team/members/{bob_s.pk}/role", {"role": "owner"})
    client.post(f"/team/members/{mine.pk}/remove")
    assert [row.user for row in engines.memberships.all()] == [bob]
    client.get("/dashboard")  # says that they left
    assert "Engines" not in client.get("/dashboard").content.decode()  # back on one's own account


def test_the_team_s_page_says_who_used_what(
    engines: Account, ada: User, bob: User, signed_in: Callable[..., Client], present: datetime
) -> None:
    put_on_the_card("message", credits=1)
    join(engines, bob)
    ledger.grant(account_id=engines.pk, amount=100, source=Source.PURCHASE, source_key="t", now=present)
    key = keys.create_key(account=engines, name="K", scopes=["credits:spend"], created_by=ada, now=present).key
    for number, (actor, times) in enumerate({f"user:{bob.pk}": 3, key.public_id: 5, "key_gone": 2}.items()):
        for turn in range(times):
            spend(
                account=engines, work=Work(feature="message"), idempotency_key=f"{number}:{turn}", actor=actor,
                now=present,
            )  # fmt: skip
    client = signed_in(ada, engines)

    page, usage = client.get("/team").content.decode(), client.get("/usage", {"by": "member"}).content.decode()

    used = {row.name: row.used.credits for row in members.used(engines, _month(engines, present))}
    assert used == {"Ada": 5, "Bob": 3, "": 2}
    for name in ("Ada", "Bob"):
        assert name in page
        assert name in usage


def _month(account: Account, now: datetime) -> periods.Period:
    return periods.chosen(QueryDict(), account.time_zone, now=now)


def test_closing_a_team_leaves_its_members(
    engines: Account, ada: User, bob: User, signed_in: Callable[..., Client], present: datetime
) -> None:
    join(engines, bob)
    ledger.grant(account_id=engines.pk, amount=10, source=Source.PURCHASE, source_key="t", now=present)
    client = signed_in(ada, engines)

    assert client.post("/settings/close", {"email": ada.email}).status_code == 302

    engines.refresh_from_db()
    assert (engines.name, engines.email, engines.closed_at is not None) == ("", "", True)
    assert selectors.balance(account_id=engines.pk, now=present).available == 0
    assert User.objects.filter(is_active=True).count() == 2
    assert client.get("/dashboard").status_code == 200


def test_who_owns_a_team_alone_hands_it_over_first(engines: Account, ada: User, bob: User, client: Client) -> None:
    client.force_login(ada)

    shown = client.post("/settings/close", {"email": ada.email}).content.decode()
    assert "Engines" in shown
    assert User.objects.get(pk=ada.pk).is_active

    join(engines, bob, Role.OWNER)
    assert client.post("/settings/close", {"email": ada.email}).status_code == 302
    assert not User.objects.get(pk=ada.pk).is_active
    assert [row.user for row in engines.memberships.all()] == [bob]
