"""Automatic top-ups: once for each crossing, so many a month, off as soon as a card is refused."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from threading import Barrier, Thread
from typing import Any

import pytest
import stripe
from django.db import connection
from django.test import Client

from accounts import keys
from accounts.models import Account, User
from accounts.opening import personal_account
from billing.catalogue import price_list
from billing.checkout import top_ups
from billing.errors import PaymentProviderUnavailableError, PriceNotSellableError
from billing.models import Order, TopUp
from billing.tests.conftest import Shop
from billing.webhooks import sync
from common import clock
from credits import ledger, selectors
from credits.models import Grant, Source
from outbox.models import Alert, OutboxEvent
from sandbox.local_stripe import declines, refunds_and_disputes
from sandbox.local_stripe.transport import InProcessClient

FREE = 8


@pytest.fixture
def topped_up(shop: Shop, customer: Account) -> Account:
    """Ada bought a pack, so that her card is saved, and wants another one below 5 credits, twice a month."""
    shop.pay(shop.checkout(customer), saves_card=True)
    shop.deliver()
    top_ups.switch_on(
        account=customer, price=price_list.find_price(item="credits-20"), below=5, max_per_month=2, now=clock.now()
    )
    return customer


def balance(account: Account) -> int:
    return selectors.balance(account_id=account.pk, now=clock.now()).available


def spend_down_to(account: Account, left: int) -> None:
    now = clock.now()
    amount = balance(account) - left
    ledger.spend(account_id=account.pk, amount=amount, idempotency_key=f"{now.isoformat()}", now=now)


def look(account: Account) -> Order | None:
    return top_ups.buy_if_due(account_id=account.pk, now=clock.now())


def test_below_the_line_a_pack_is_bought_with_the_saved_card(shop: Shop, topped_up: Account) -> None:
    spend_down_to(topped_up, 5)
    assert look(topped_up) is None
    spend_down_to(topped_up, 4)

    order = look(topped_up)

    assert order is not None
    assert (order.status, order.ui, balance(topped_up)) == ("completed", "off_session", 24)
    shop.deliver(copies=3)
    assert balance(topped_up) == 24
    assert Grant.objects.filter(source=Source.PURCHASE).count() == 2


@pytest.mark.django_db(transaction=True)
def test_many_spends_at_once_buy_once(shop: Shop, topped_up: Account) -> None:
    spend_down_to(topped_up, 4)
    barrier = Barrier(8)

    def race() -> None:
        try:
            barrier.wait()
            look(topped_up)
        finally:
            connection.close()

    threads = [Thread(target=race) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert Order.objects.filter(ui="off_session").count() == 1
    assert balance(topped_up) == 24


def test_there_are_so_many_a_month(shop: Shop, topped_up: Account) -> None:
    bought = []
    for _ in range(3):
        spend_down_to(topped_up, 0)
        bought.append(look(topped_up) is not None)
    shop.advance(days=31)
    shop.deliver()
    spend_down_to(topped_up, 0)
    bought.append(look(topped_up) is not None)

    assert bought == [True, True, False, True]


def test_month_of_top_ups_is_the_accounts_own(shop: Shop, topped_up: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    """30 November, 12:00 UTC, is 1 December in Auckland."""
    Account.objects.filter(pk=topped_up.pk).update(time_zone="Pacific/Auckland")
    pack = price_list.find_price(item="credits-20")
    for number in range(2):
        Order.objects.create(
            account=topped_up, price=pack, ui=Order.Ui.OFF_SESSION, created_at=clock.now(), completed_at=clock.now(),
            idempotency_key=f"top-up:2026-11:{number}", actor="top_up", status=Order.Status.COMPLETED, **pack.frozen(1),
        )  # fmt: skip
    monkeypatch.setattr(top_ups, "_is_used_up", lambda *_about, **_now: True)
    november = top_ups._attempt(topped_up.pk, now=datetime(2026, 11, 30, 10, tzinfo=UTC))
    december = top_ups._attempt(topped_up.pk, now=datetime(2026, 11, 30, 12, tzinfo=UTC))

    assert november is None  # two were bought in November
    assert december is not None
    assert december.idempotency_key == "top-up:2026-12:0"


@pytest.mark.parametrize("needs_action", [False, True])
def test_a_refused_card_switches_it_off_and_tells(shop: Shop, topped_up: Account, needs_action: bool) -> None:
    customer_id = stripe.Customer.list().data[0].id
    declines.set_declines(shop.stripe, customer_id, is_on=True, needs_action=needs_action)
    spend_down_to(topped_up, 4)

    order = look(topped_up)
    shop.deliver()

    assert order is not None
    assert (order.status, balance(topped_up)) == ("failed", 4)
    row = TopUp.objects.get()
    assert (row.is_on, "declined" in row.problem) == (False, True)
    assert OutboxEvent.objects.filter(name="top_up.failed").count() == 1
    assert Alert.objects.filter(kind=Alert.Kind.TOP_UP_FAILED).count() == 1
    assert look(topped_up) is None


class TestOnlyUseBuys:
    """github.com/elizaOS/eliza/issues/30503, getlago/lago-api#6177: cards charged because money or time went by."""

    def test_a_refund_charges_nobody_and_switches_it_off(self, shop: Shop, topped_up: Account) -> None:
        spend_down_to(topped_up, 10)
        (charge,) = shop.stripe.store.all("charge")
        stripe.Refund.create(charge=charge["id"])
        shop.deliver(copies=2)

        assert (balance(topped_up) < 5, look(topped_up)) == (True, None)
        row = TopUp.objects.get()
        assert (row.is_on, "given back" in row.problem) == (False, True)
        assert OutboxEvent.objects.filter(name="top_up.stopped").count() == 1

    def test_one_that_is_switched_on_again_stays_on(self, shop: Shop, topped_up: Account) -> None:
        """The same refund, reported once more, does not switch it off a second time."""
        (charge,) = shop.stripe.store.all("charge")
        refund = stripe.Refund.create(charge=charge["id"], amount=100)
        shop.deliver()
        price = price_list.find_price(item="credits-20")
        top_ups.switch_on(account=topped_up, price=price, below=5, max_per_month=1, now=clock.now())

        sync.sync_object(kind="refund", object_id=refund.id, now=clock.now())

        assert TopUp.objects.get().is_on

    def test_another_payment_given_back_switches_it_off_again(self, shop: Shop, topped_up: Account) -> None:
        (first,) = shop.stripe.store.all("charge")
        shop.pay(shop.checkout(topped_up, key="k2"))
        shop.deliver()
        stripe.Refund.create(charge=first["id"])
        shop.deliver()
        price = price_list.find_price(item="credits-20")
        top_ups.switch_on(account=topped_up, price=price, below=5, max_per_month=2, now=clock.now())

        (second,) = [row for row in shop.stripe.store.all("charge") if row["id"] != first["id"]]
        stripe.Refund.create(charge=second["id"])
        shop.deliver()

        assert not TopUp.objects.get().is_on
        assert OutboxEvent.objects.filter(name="top_up.stopped").count() == 2

    def test_a_dispute_charges_nobody(self, shop: Shop, topped_up: Account) -> None:
        (charge,) = shop.stripe.store.all("charge")
        refunds_and_disputes.open_dispute(shop.stripe, charge["id"])
        shop.deliver()

        assert (look(topped_up), TopUp.objects.get().is_on) == (None, False)

    @pytest.mark.parametrize("what", ["adjusted", "expired", "revoked"])
    def test_what_is_no_use_charges_nobody(self, shop: Shop, topped_up: Account, what: str) -> None:
        spend_down_to(topped_up, 20)
        now = clock.now()
        if what == "adjusted":
            ledger.adjust(account_id=topped_up.pk, take=18, idempotency_key="a", reason="r", actor="operator", now=now)
        elif what == "revoked":
            grant = Grant.objects.get(source=Source.PURCHASE)
            ledger.revoke(
                account_id=topped_up.pk, grant_source_key=grant.source_key, amount=18, source_key="r",
                create_debt=False, now=now,
            )  # fmt: skip
        else:
            ends = now + timedelta(minutes=1)
            ledger.grant(
                account_id=topped_up.pk, amount=9, source=Source.BONUS, source_key="b", expires_at=ends, now=now
            )
            TopUp.objects.update(below=26)
            spend_down_to(topped_up, 27)
            shop.advance(minutes=2)

        assert (balance(topped_up) < TopUp.objects.get().below, look(topped_up)) == (True, None)

    def test_a_hold_buys_and_one_use_buys_once(self, shop: Shop, topped_up: Account) -> None:
        now = clock.now()
        amount = balance(topped_up) - 3
        ledger.hold(
            account_id=topped_up.pk, amount=amount, idempotency_key="h", expires_at=now + timedelta(hours=1), now=now
        )
        shop.advance(seconds=1)
        assert look(topped_up) is not None
        now = clock.now()
        ledger.adjust(account_id=topped_up.pk, take=20, idempotency_key="a", reason="r", actor="operator", now=now)

        assert (balance(topped_up), look(topped_up)) == (3, None)  # what is lower now went without any use


def test_without_a_saved_card_it_goes_off(shop: Shop, customer: Account) -> None:
    price = price_list.find_price(item="credits-20")
    top_ups.switch_on(account=customer, price=price, below=100, max_per_month=1, now=clock.now())
    spend_down_to(customer, 7)

    order = look(customer)

    assert order is not None
    assert (order.problem, TopUp.objects.get().is_on) == ("There is no saved card.", False)


def test_unanswered_payment_is_retried_and_made_once(shop: Shop, topped_up: Account) -> None:
    spend_down_to(topped_up, 4)
    stripe.default_http_client = stripe.RequestsClient(timeout=1)
    with pytest.raises(PaymentProviderUnavailableError):
        look(topped_up)
    stripe.default_http_client = InProcessClient(shop.stripe)
    assert look(topped_up) is None  # somebody may be at it

    shop.advance(minutes=6)
    look(topped_up)

    assert (Order.objects.filter(ui="off_session").count(), balance(topped_up)) == (1, 24)


def test_the_round_finds_whom_no_signal_told(shop: Shop, topped_up: Account) -> None:
    assert list(top_ups.due()) == []
    spend_down_to(topped_up, 4)

    assert list(top_ups.due()) == [topped_up.pk]


@pytest.mark.parametrize(("below", "times"), [(0, 1), (1, 0), (10**9, 1), (5, 31)])
def test_its_limits_have_bounds(shop: Shop, customer: Account, below: int, times: int) -> None:
    price = price_list.find_price(item="credits-20")
    with pytest.raises(PriceNotSellableError):
        top_ups.switch_on(account=customer, price=price, below=below, max_per_month=times, now=clock.now())


def test_a_plan_is_no_top_up(shop: Shop, customer: Account) -> None:
    with pytest.raises(PriceNotSellableError):
        top_ups.switch_on(
            account=customer, price=price_list.find_price(item="pro"), below=5, max_per_month=1, now=clock.now()
        )


def test_a_customer_switches_it_on_and_off(shop: Shop, customer: Account, ada: User, client: Client) -> None:
    client.force_login(ada)
    form = {"item": "credits-20", "below": "5", "max_per_month": "2"}

    on = client.post("/billing/top-up", form, follow=True).content.decode()
    assert "at most 2 times a month" in on
    assert "your next purchase saves it" in on
    assert TopUp.objects.get().is_on
    assert "I agree" in client.post("/billing/top-up", {"action": "off"}, follow=True).content.decode()
    assert not TopUp.objects.get().is_on


class TestApi:
    @pytest.fixture
    def api(self, client: Client, topped_up: Account) -> Callable[..., tuple[int, dict[str, Any]]]:
        secret = keys.create_key(
            account=topped_up, name="t", scopes=keys.ACCOUNT_KEY_SCOPES, created_by=None, now=clock.now()
        ).secret

        def call(method: str, data: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
            answer = client.generic(
                method, "/api/v1/billing/top-up", json.dumps(data) if data else "", content_type="application/json",
                headers={"Authorization": f"Bearer {secret}"},
            )  # fmt: skip
            return answer.status_code, answer.json()

        return call

    def test_it_is_read_changed_and_switched_off(self, api: Any, topped_up: Account) -> None:
        status, reported = api("GET")
        assert (status, reported["is_on"], reported["below"], reported["pack"]) == (200, True, 5, "credits-20")
        assert reported["has_saved_card"]

        fields = {"below": 10, "pack": "credits-50", "at_most_a_month": 3}
        status, reported = api("PUT", fields)
        assert (status, {name: reported[name] for name in fields}) == (200, fields)
        assert (reported["is_on"], reported["currency"], reported["amount"]) == (True, "eur", 1000)

        assert api("DELETE")[1]["is_on"] is False
        assert not TopUp.objects.get().is_on

    @pytest.mark.parametrize(
        ("change", "code"),
        [({"below": 0}, "invalid_request"), ({"pack": "pro"}, "price_not_sellable"),
         ({"at_most_a_month": 1000}, "price_not_sellable"), ({"pack": "nothing"}, "price_not_sellable")],
    )  # fmt: skip
    def test_what_cannot_be_agreed_to_changes_nothing(
        self, api: Any, topped_up: Account, change: dict[str, Any], code: str
    ) -> None:
        status, reported = api("PUT", {"below": 10, "pack": "credits-50", "at_most_a_month": 3, **change})

        assert (status >= 400, reported["code"]) == (True, code)
        assert TopUp.objects.get().below == 5

    def test_looking_at_it_and_at_the_balance_charges_nobody(self, shop: Shop, api: Any, topped_up: Account) -> None:
        """One use that crosses the line buys; whoever looks afterwards, and the job that goes round, buy nothing."""
        spend_down_to(topped_up, 4)
        assert look(topped_up) is not None
        spend_down_to(topped_up, 5)
        TopUp.objects.update(below=30)
        for _ in range(3):
            api("GET")
            balance(topped_up)

        assert Order.objects.filter(ui="off_session").count() == 1


def test_at_the_line_nothing_is_bought(shop: Shop, topped_up: Account) -> None:
    """The customer agreed to "below 5"."""
    spend_down_to(topped_up, 5)
    assert look(topped_up) is None

    spend_down_to(topped_up, 4)
    assert look(topped_up) is not None


def test_work_of_another_account_charges_nobody(shop: Shop, topped_up: Account, present: datetime) -> None:
    """What brought the balance low is one's own use: another customer's hold is none."""
    TopUp.objects.update(below=1_000)
    other = personal_account(user=User.objects.create_user("b@example.com"), now=present)
    ends = clock.now() + timedelta(hours=1)
    ledger.hold(account_id=other.pk, amount=1, idempotency_key="h", expires_at=ends, now=clock.now())

    assert look(topped_up) is None
