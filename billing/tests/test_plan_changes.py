"""The life of a plan: trial, up, down, by the year, stop, pause, resume; by us, and by the portal behind our back."""

from datetime import timedelta
from typing import Any

import pytest
import stripe
from django.test import Client
from pytest_django import Settings

from accounts.models import Account, User
from billing.catalogue import price_list, price_sync
from billing.errors import (
    AlreadySubscribedError,
    BillingError,
    NotSubscribedError,
    PaymentActionRequiredError,
    PaymentDeclinedError,
    PaymentOnItsWayError,
    PlanNotPaidError,
    PriceNotSellableError,
)
from billing.models import Order, Plan, Price, Subscription
from billing.reconciliation import comparison
from billing.subscriptions import plan_changes, previews
from billing.tests.conftest import Shop
from billing.tests.test_checkout import start
from common import clock
from credits import audit, selectors
from credits.models import Allowance, Grant, Source
from outbox.models import Alert, OutboxEvent
from sandbox.local_stripe import declines, pages, payments
from tests.threads import together

FREE = 8


@pytest.fixture
def big(shop: Shop) -> Plan:
    """A dearer plan: EUR 50 for 400 credits, by the month or the year."""
    product = stripe.Product.create(
        id="tegoed_plan_team", name="Team",
        metadata={"tegoed_kind": "plan", "tegoed_code": "team", "included_credits": "400"},
    )  # fmt: skip
    for interval, amount in (("month", 5000), ("year", 50000)):
        stripe.Price.create(
            product=product.id,
            currency="eur",
            unit_amount=amount,
            recurring={"interval": interval},  # type: ignore[typeddict-item]
        )
    price_sync.pull()
    return Plan.objects.get(code="team")


@pytest.fixture
def pro(shop: Shop, customer: Account) -> Subscription:
    """Ada has Pro, 100 credits a month."""
    shop.pay(shop.checkout(customer, item="pro"))
    shop.deliver()
    return Subscription.objects.get()


def price(item: str, interval: str = "month") -> Price:
    return price_list.find_price(item=item, interval=interval)


def change(account: Account, item: str, interval: str = "month") -> Subscription:
    return plan_changes.change(account=account, price=price(item, interval), now=clock.now())


def plan_credits(account: Account) -> int:
    grants = Grant.objects.filter(account=account, source=Source.PLAN, is_open=True)
    selectors.balance(account_id=account.pk, now=clock.now())
    return sum(grant.remaining for grant in grants.all())


def told(name: str) -> list[dict[str, Any]]:
    return list(OutboxEvent.objects.filter(name=name).order_by("id").values_list("data", flat=True))


def agrees() -> bool:
    return not list(audit.all_disagreements())


def test_an_upgrade_counts_at_once_and_once(shop: Shop, customer: Account, pro: Subscription, big: Plan) -> None:
    shop.advance(days=10)
    shop.deliver()

    ends = Subscription.objects.get().current_period_end
    part = (ends - clock.now()) / (ends - clock.now() + timedelta(days=10))

    assert change(customer, "team").price.plan == big
    assert abs(plan_credits(customer) - 100 - 300 * part) <= 1
    given = plan_credits(customer)
    shop.deliver(copies=3)

    assert (plan_credits(customer), shop.failures()) == (given, [])
    assert [row["is_now"] for row in told("subscription.changed")] == [True]


def test_an_upgrade_whose_payment_is_refused_changes_nothing(
    shop: Shop, customer: Account, pro: Subscription, big: Plan
) -> None:
    declines.set_declines(shop.stripe, stripe.Customer.list().data[0].id, is_on=True)

    with pytest.raises(PaymentDeclinedError):
        change(customer, "team")
    shop.deliver()

    pro.refresh_from_db()
    assert (pro.price.plan.code, plan_credits(customer)) == ("pro", 100)  # type: ignore[union-attr]


@pytest.fixture
def bank_asks(shop: Shop, pro: Subscription) -> str:
    """From now on the bank wants to hear from the card's owner."""
    customer_id = str(stripe.Customer.list().data[0].id)
    declines.set_declines(shop.stripe, customer_id, is_on=True, needs_action=True)
    return customer_id


def test_upgrade_needing_3ds_waits_for_its_owner(
    shop: Shop, customer: Account, pro: Subscription, big: Plan, bank_asks: str
) -> None:
    """docs.stripe.com/billing/subscriptions/pending-updates: the plan is as it was until the invoice is paid."""
    with pytest.raises(PaymentActionRequiredError) as fields:
        change(customer, "team")
    shop.deliver()

    waits = Subscription.objects.get()
    assert (waits.price, waits.pending_price, waits.status) == (price("pro"), price("team"), "active")
    assert "/invoices/" in fields.value.extra["url"]
    assert (plan_credits(customer), shop.failures(), told("payment.failed")) == (100, [], [])
    assert not reconciled_differences()

    (intent,) = [row for row in shop.stripe.store.all("payment_intent") if row["status"] == "requires_action"]
    pages.answer_bank(shop.stripe, intent["id"], {"answer": "yes", "back": "/"})
    shop.deliver(copies=2)

    now = plan_changes.refresh_pending(account=customer, now=clock.now())
    assert (now.price, now.pending_price, plan_credits(customer)) == (price("team"), None, 400)
    assert agrees()


@pytest.mark.parametrize("how", ["refused at the bank", "dropped", "never answered"])
def test_an_upgrade_that_is_not_approved_leaves_the_plan(
    shop: Shop, customer: Account, pro: Subscription, big: Plan, *, bank_asks: str, how: str
) -> None:
    """docs.stripe.com/billing/subscriptions/pending-updates-reference: it expires after 23 hours, its invoice void."""
    with pytest.raises(PaymentActionRequiredError):
        change(customer, "team")
    if how == "dropped":
        plan_changes.drop_pending(account=customer, now=clock.now())
    elif how == "never answered":
        shop.advance(hours=24)
        shop.deliver()
    else:
        (intent,) = [row for row in shop.stripe.store.all("payment_intent") if row["status"] == "requires_action"]
        pages.answer_bank(shop.stripe, intent["id"], {"answer": "no", "back": "/"})
        with pytest.raises(PaymentDeclinedError):
            plan_changes.refresh_pending(account=customer, now=clock.now())
    shop.deliver()

    stays = Subscription.objects.get()
    assert (stays.price, stays.pending_price, stays.status) == (price("pro"), None, "active")
    assert (plan_credits(customer), shop.failures()) == (100, [])
    assert {row["status"] for row in shop.stripe.store.all("invoice")} == {"paid", "void"}
    declines.set_declines(shop.stripe, bank_asks, is_on=False)
    shop.advance(days=1)
    assert change(customer, "team").price == price("team")


def test_pending_change_page_leads_to_the_bank_and_back(
    shop: Shop, client: Client, *, ada: User, customer: Account, pro: Subscription, big: Plan, bank_asks: str,
    settings: Settings,
) -> None:  # fmt: skip
    client.force_login(ada)
    answer = client.post("/billing/plan", {"item": "team", "interval": "month"})

    assert answer["Location"] == "/billing/plan/approve"
    assert "invoices/" in client.get("/billing/plan/approve").content.decode()
    settings.STRIPE_PUBLISHABLE_KEY = "pk_test_x"
    assert "_secret_" in client.get("/billing/plan/approve").content.decode()
    assert "waits for your bank" in client.get("/billing").content.decode()
    assert "still waits" in client.get("/billing/plan/approve?answered=1").content.decode()
    client.post("/billing/plan/approve")
    assert client.get("/billing/plan/approve")["Location"] == "/billing"


@pytest.mark.parametrize("then", ["stops", "ends", "pauses", "gets free days", "wants another"])
def test_pending_change_is_replaced_by_the_next_one(
    shop: Shop, customer: Account, pro: Subscription, *, big: Plan, bank_asks: str, then: str
) -> None:
    """Whoever stops a plan does not find an invoice that can still be paid."""
    with pytest.raises(PaymentActionRequiredError):
        change(customer, "team")
    declines.set_declines(shop.stripe, bank_asks, is_on=False)
    now = clock.now()

    if then == "stops":
        plan_changes.cancel(account=customer, now=now)
    elif then == "ends":
        plan_changes.cancel_now(account=customer, now=now)
    elif then == "pauses":
        plan_changes.pause(account=customer, until=None, now=now)
    elif then == "gets free days":
        plan_changes.extend_period(account=customer, days=3, key="k", now=now)
    else:
        change(customer, "studio")
    shop.deliver()

    assert [row for row in shop.stripe.store.all("invoice") if row["status"] == "open"] == []
    assert Subscription.objects.get().pending_price is None
    assert shop.failures() == []


def test_an_upgrade_that_is_not_approved_ends_with_the_period(
    shop: Shop, customer: Account, pro: Subscription, big: Plan, bank_asks: str
) -> None:
    """An attacker's wish: begin an upgrade in a period's last hours, and approve its few cents in the next one.

    docs.stripe.com/billing/subscriptions/pending-updates: it expires with the period.
    """
    declines.set_declines(shop.stripe, bank_asks, is_on=False)
    shop.advance(days=29, hours=20)
    shop.deliver()
    left = Subscription.objects.get().current_period_end - clock.now()
    assert timedelta(hours=1) < left < timedelta(hours=23)
    declines.set_declines(shop.stripe, bank_asks, is_on=True, needs_action=True)
    with pytest.raises(PaymentActionRequiredError):
        change(customer, "team")
    declines.set_declines(shop.stripe, bank_asks, is_on=False)
    shop.advance(seconds=int(left.total_seconds()) + 7200)
    shop.deliver(copies=2)

    now = Subscription.objects.get()
    assert (now.price, now.pending_price, plan_credits(customer), shop.failures()) == (price("pro"), None, 100, [])
    assert [row for row in shop.stripe.store.all("invoice") if row["status"] == "open"] == []
    assert not reconciled_differences()


def test_a_payment_that_is_on_its_way_is_waited_for(
    shop: Shop, customer: Account, pro: Subscription, big: Plan, bank_asks: str
) -> None:
    """docs.stripe.com/payments/paymentintents/lifecycle: after the approval a payment may be `processing`."""
    with pytest.raises(PaymentActionRequiredError):
        change(customer, "team")
    (intent,) = [row for row in shop.stripe.store.all("payment_intent") if row["status"] == "requires_action"]
    payments.process(shop.stripe, intent)

    waits = plan_changes.refresh_pending(account=customer, now=clock.now())
    assert waits.pending_price == price("team")
    assert plan_changes.approval(waits).is_on_its_way
    with pytest.raises(PaymentOnItsWayError):
        plan_changes.cancel(account=customer, now=clock.now())
    payments.succeed(shop.stripe, intent)
    shop.deliver()

    assert (Subscription.objects.get().price, plan_credits(customer), shop.failures()) == (price("team"), 400, [])


def test_a_bank_s_debit_is_no_failed_payment(shop: Shop, customer: Account, pro: Subscription) -> None:
    """docs.stripe.com/billing/subscriptions/sepa-debit: its answer takes days; iDEAL becomes one for a subscription."""
    declines.set_declines(shop.stripe, str(stripe.Customer.list().data[0].id), is_on=False, is_slow=True)
    shop.advance(days=30, hours=2)
    shop.deliver()

    assert (plan_credits(customer), told("payment.failed"), Subscription.objects.get().status) == (100, [], "active")
    assert not Alert.objects.filter(kind=Alert.Kind.PAYMENT_FAILED).exists()
    shop.advance(days=7)
    shop.deliver()
    assert (plan_credits(customer), shop.failures()) == (100, [])
    assert len(told("subscription.renewed")) == 1


@pytest.mark.parametrize("problem", ["past due", "paused"])
def test_what_is_not_paid_for_is_not_changed(
    shop: Shop, customer: Account, pro: Subscription, big: Plan, problem: str
) -> None:
    """An attacker's wish: what is left of a month that was never paid lowers the price of a year.

    docs.stripe.com/billing/subscriptions/pause-payment: all that a paused plan bills is void.
    """
    customer_id = str(stripe.Customer.list().data[0].id)
    if problem == "paused":
        plan_changes.pause(account=customer, until=None, now=clock.now())
    else:
        declines.set_declines(shop.stripe, customer_id, is_on=True)
        shop.advance(days=31, hours=2)
        shop.deliver()
        declines.set_declines(shop.stripe, customer_id, is_on=False)

    for interval in ("month", "year"):
        with pytest.raises(PlanNotPaidError):
            change(customer, "team", interval)
        with pytest.raises(PlanNotPaidError):
            previews.preview_change(account=customer, price=price("team", interval), now=clock.now())
    assert Subscription.objects.get().price == price("pro")


@pytest.mark.parametrize("before", ["stopped", "going down"])
@pytest.mark.parametrize("answer", ["declined", "asked and left"])
def test_a_change_that_is_not_paid_leaves_what_was_planned(
    shop: Shop, customer: Account, pro: Subscription, *, big: Plan, before: str, answer: str
) -> None:
    """A stop that was asked for stands: nobody is charged for a plan that they stopped."""
    if before == "stopped":
        plan_changes.cancel(account=customer, now=clock.now())
    else:
        change(customer, "team")
        change(customer, "pro")
    customer_id = str(stripe.Customer.list().data[0].id)
    declines.set_declines(shop.stripe, customer_id, is_on=True, needs_action=answer != "declined")
    with pytest.raises((PaymentDeclinedError, PaymentActionRequiredError)):
        change(customer, "studio", "year")
    if answer != "declined":
        plan_changes.drop_pending(account=customer, now=clock.now())
    declines.set_declines(shop.stripe, customer_id, is_on=False)
    shop.deliver()

    stands = Subscription.objects.get()
    if before == "stopped":
        assert stands.cancel_at_period_end
        shop.advance(days=31, hours=3)
        shop.deliver()
        assert Subscription.objects.get().status == "canceled"
    elif answer == "declined":
        assert stands.next_price == price("pro")


def test_month_paid_late_keeps_the_year_bought_meanwhile(
    shop: Shop, customer: Account, pro: Subscription, big: Plan
) -> None:
    """In the portal a year can be bought while a renewal is tried again: both are paid, and both are given."""
    customer_id = str(stripe.Customer.list().data[0].id)
    declines.set_declines(shop.stripe, customer_id, is_on=True)
    shop.advance(days=31, hours=3)
    shop.deliver()
    declines.set_declines(shop.stripe, customer_id, is_on=False)
    (row,) = shop.stripe.store.all("subscription")
    stripe.Subscription.modify(
        row["id"], items=[{"id": row["items"]["data"][0]["id"], "price": price("team", "year").stripe_price_id}],
        proration_behavior="always_invoice", billing_cycle_anchor="now",
    )  # fmt: skip
    shop.deliver()
    shop.advance(days=4)  # the renewal's second try
    shop.deliver()

    assert (plan_credits(customer), shop.failures()) == (500, [])
    given = []
    for _ in range(3):
        shop.advance(days=31)
        shop.deliver()
        given.append(plan_credits(customer))
    assert given == [400] * 3


@pytest.mark.django_db(transaction=True)
def test_concurrent_plan_changes_run_one_at_a_time(shop: Shop, customer: Account, pro: Subscription, big: Plan) -> None:
    """An attacker's wish: two changes, each decided on what the other is about to change."""

    def ask(number: int) -> str:
        try:
            change(customer, "team", ("year", "month")[number % 2])
        except BillingError as error:
            return error.code
        return "done"

    answers = together(6, ask)

    assert answers.count("done") >= 1
    shop.deliver()
    paid = [row for row in shop.stripe.store.all("invoice") if row["billing_reason"] == "subscription_update"]
    assert all(row["total"] > 0 for row in paid)
    assert next(iter(shop.stripe.store.all("customer")))["balance"] == 0
    assert shop.failures() == []


class TestFreeDays:
    """docs.stripe.com/billing/subscriptions/trials: a moved payment makes a running plan `trialing` until then."""

    def test_a_dearer_plan_comes_after_them_and_is_paid(
        self, shop: Shop, customer: Account, pro: Subscription, big: Plan
    ) -> None:
        plan_changes.extend_period(account=customer, days=7, key="k", now=clock.now())
        shop.deliver()

        planned = change(customer, "team")
        shop.deliver()

        assert (planned.price, planned.next_price) == (price("pro"), price("team"))
        shop.advance(days=31 + 8)
        shop.deliver()
        paid = [row["amount_paid"] for row in shop.stripe.store.all("invoice") if row["amount_paid"]]
        assert (paid, plan_credits(customer), shop.failures()) == ([2000, 5000], 400, [])

    def test_what_was_planned_is_planned_for_later(
        self, shop: Shop, customer: Account, pro: Subscription, big: Plan
    ) -> None:
        change(customer, "team")
        change(customer, "pro")
        plan_changes.extend_period(account=customer, days=7, key="k", now=clock.now())
        shop.deliver()

        assert Subscription.objects.get().next_price == price("pro")
        shop.advance(days=31 + 8)
        shop.deliver()
        assert [row["amount_paid"] for row in shop.stripe.store.all("invoice")][-1] == 2000
        assert Subscription.objects.get().price == price("pro")

    def test_a_stop_of_the_portal_moves_along(self, shop: Shop, customer: Account, pro: Subscription) -> None:
        pages.change_subscription(shop.stripe, pro.stripe_subscription_id, "cancel")
        shop.deliver()
        plan_changes.extend_period(account=customer, days=7, key="k", now=clock.now())
        shop.advance(days=31 + 3)
        shop.deliver()

        assert Subscription.objects.get().status == "trialing"
        shop.advance(days=5)
        shop.deliver()
        assert Subscription.objects.get().status == "canceled"


@pytest.mark.parametrize("minutes", [0, 1, 15])
def test_a_year_takes_the_place_of_its_month_however_soon(
    shop: Shop, customer: Account, pro: Subscription, big: Plan, minutes: int
) -> None:
    """An attacker's wish: within the first minutes both periods begin at the same instant, and both are kept."""
    shop.advance(minutes=minutes)
    change(customer, "team", "year")
    shop.deliver(copies=2)

    assert (plan_credits(customer), shop.failures()) == (400, [])


def test_a_year_that_keeps_to_the_old_anchor_gives_its_months(
    shop: Shop, customer: Account, pro: Subscription, big: Plan
) -> None:
    """docs.stripe.com/billing/subscriptions/billing-mode/compare: in flexible mode all of it is prorated."""
    shop.advance(days=10)
    year = price("team", "year").stripe_price_id
    pages.change_subscription(shop.stripe, pro.stripe_subscription_id, "switch", year)
    shop.deliver()

    (bill,) = [row for row in shop.stripe.store.all("invoice") if row["billing_reason"] == "subscription_update"]
    parents = [line["parent"]["subscription_item_details"]["proration"] for line in bill["lines"]["data"]]
    given = [plan_credits(customer)]
    for _ in range(10):
        shop.advance(days=31)
        shop.deliver()
        given.append(plan_credits(customer))
    assert (parents, given, shop.failures()) == ([True, True], [400] * 11, [])
    assert agrees()


@pytest.mark.parametrize("days", [0, 15, 27])
def test_an_upgrade_gives_the_part_that_it_pays_for(
    shop: Shop, customer: Account, pro: Subscription, big: Plan, days: int
) -> None:
    """An attacker's wish: go up for five cents in the last hour of a month, and down again, every month."""
    shop.advance(days=days)
    left = Subscription.objects.get().current_period_end - clock.now()
    promised = previews.preview_change(account=customer, price=price("team"), now=clock.now()).credits_now
    change(customer, "team")
    shop.deliver(copies=2)

    assert abs(promised - 300 * (left / (left + timedelta(days=days)))) <= 1
    assert plan_credits(customer) == 100 + promised
    shop.advance(seconds=int(left.total_seconds()) + 7200)
    shop.deliver()
    assert (plan_credits(customer), shop.failures()) == (400, [])


def reconciled_differences() -> list[Any]:
    return list(comparison.differences(since=clock.now() - timedelta(days=1)))


def test_a_downgrade_waits_for_the_end_of_the_period(
    shop: Shop, customer: Account, pro: Subscription, big: Plan
) -> None:
    change(customer, "team")
    shop.deliver()
    planned = change(customer, "pro")
    shop.deliver()

    assert (planned.price.plan, planned.next_price) == (big, price("pro"))
    assert plan_credits(customer) == 400
    shop.advance(days=31)
    shop.deliver()

    pro.refresh_from_db()
    assert (pro.price, pro.next_price) == (price("pro"), None)
    assert (plan_credits(customer), shop.failures()) == (100, [])
    assert [(row["to"]["plan"], row["is_now"]) for row in told("subscription.changed")] == [
        ("Team", True),
        ("Pro", False),
    ]
    assert agrees()


def test_a_planned_change_can_be_undone(shop: Shop, customer: Account, pro: Subscription, big: Plan) -> None:
    change(customer, "team")
    change(customer, "pro")

    assert change(customer, "team").next_price is None
    shop.advance(days=31)
    shop.deliver()

    assert plan_credits(customer) == 400


def test_from_months_to_years_begins_a_period_at_once(
    shop: Shop, customer: Account, pro: Subscription, big: Plan
) -> None:
    """What is left of the month's credits goes with the month, whose money is credited; twelve months follow."""
    change(customer, "team")
    shop.deliver()
    shop.advance(days=10)
    change(customer, "team", "year")
    shop.deliver(copies=2)

    assert (plan_credits(customer), shop.failures()) == (400, [])
    given = []
    for _ in range(11):
        shop.advance(days=31)
        shop.deliver()
        given.append(plan_credits(customer))
    assert given == [400] * 11
    paid = Grant.objects.filter(account=customer, source=Source.PLAN).values_list("paid_minor", flat=True)
    charged = sum(row["amount"] for row in shop.stripe.store.all("charge"))
    assert sum(paid) <= charged  # the months that are still to come hold the rest
    assert agrees()


def test_from_years_to_months_waits_for_the_end_of_the_year(shop: Shop, customer: Account, big: Plan) -> None:
    shop.pay(start(customer, price=price("team", "year")).order)
    shop.deliver()

    assert change(customer, "team").next_price == price("team")
    shop.advance(days=366)
    shop.deliver()

    subscription = Subscription.objects.get()
    assert (subscription.price, plan_credits(customer)) == (price("team"), 400)
    assert subscription.current_period_end - clock.now() < timedelta(days=31)


def test_switching_month_and_year_grants_nothing_twice(
    shop: Shop, customer: Account, pro: Subscription, big: Plan
) -> None:
    """In the portal a customer may change intervals as often as they like: each takes over from the last."""
    for interval in ("year", "month", "year", "month"):
        shop.advance(days=1)
        pages.change_subscription(
            shop.stripe, pro.stripe_subscription_id, "switch", price("team", interval).stripe_price_id
        )
        shop.deliver()

    assert (plan_credits(customer), shop.failures()) == (400, [])
    assert agrees()


def test_the_portal_changes_a_plan_behind_our_back(shop: Shop, customer: Account, pro: Subscription, big: Plan) -> None:
    pages.change_subscription(shop.stripe, pro.stripe_subscription_id, "switch", price("team").stripe_price_id)
    shop.deliver()

    pro.refresh_from_db()
    assert (pro.price.plan, plan_credits(customer)) == (big, 400)
    pages.change_subscription(shop.stripe, pro.stripe_subscription_id, "cancel_now")
    shop.deliver()
    pro.refresh_from_db()
    assert (pro.status, plan_credits(customer)) == ("canceled", 400)  # what was paid for stays for its period


def test_stopping_keeps_what_is_paid_for_and_can_be_undone(shop: Shop, customer: Account, pro: Subscription) -> None:
    assert plan_changes.cancel(account=customer, now=clock.now()).cancel_at_period_end
    assert not plan_changes.resume(account=customer, now=clock.now()).cancel_at_period_end
    plan_changes.cancel(account=customer, now=clock.now())
    shop.deliver()
    assert plan_credits(customer) == 100

    shop.advance(days=31)
    shop.deliver()

    pro.refresh_from_db()
    assert (pro.status, plan_credits(customer)) == ("canceled", 0)
    assert [row["is_over"] for row in told("subscription.cancelled")] == [False, True]
    with pytest.raises(NotSubscribedError):
        plan_changes.cancel(account=customer, now=clock.now())


def test_a_plan_that_is_ended_now_is_not_charged_again(shop: Shop, customer: Account, pro: Subscription) -> None:
    plan_changes.cancel_now(account=customer, now=clock.now())
    shop.advance(days=70)
    shop.deliver()

    assert len(list(shop.stripe.store.all("charge"))) == 1
    assert start(customer, item="pro", key="again").order.status == "open"


def test_a_pause_neither_bills_nor_gives_and_ends_by_itself(shop: Shop, customer: Account, pro: Subscription) -> None:
    paused = plan_changes.pause(account=customer, until=clock.now() + timedelta(days=45), now=clock.now())
    assert (paused.is_paused, plan_credits(customer)) == (True, 100)

    given = []
    for _ in range(3):
        shop.advance(days=31)
        shop.deliver()
        given.append(plan_credits(customer))

    pro.refresh_from_db()
    assert (given, pro.is_paused, shop.failures()) == ([0, 100, 100], False, [])
    assert len(list(shop.stripe.store.all("charge"))) == 3


def test_a_pause_can_be_ended_early(shop: Shop, customer: Account, pro: Subscription) -> None:
    plan_changes.pause(account=customer, until=None, now=clock.now())
    assert not plan_changes.resume(account=customer, now=clock.now()).is_paused
    shop.advance(days=31)
    shop.deliver()

    assert plan_credits(customer) == 100


# --- trials ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("in_trial", "given"), [(None, 100), (30, 30), (0, 0)])
def test_a_trial_gives_its_credits_once_and_then_becomes_a_plan(
    shop: Shop, customer: Account, in_trial: int | None, given: int
) -> None:
    Plan.objects.filter(code="pro").update(trial_days=14, trial_credits=in_trial)
    shop.pay(shop.checkout(customer, item="pro"))
    shop.deliver(copies=2)
    subscription = Subscription.objects.get()
    assert (subscription.status, plan_credits(customer)) == ("trialing", given)
    assert Order.objects.get().status == "completed"
    assert not list(shop.stripe.store.all("charge"))

    shop.advance(days=14)
    shop.deliver()

    subscription.refresh_from_db()
    assert (subscription.status, plan_credits(customer), shop.failures()) == ("active", 100, [])
    assert agrees()


def test_a_trial_that_is_cancelled_costs_nothing(shop: Shop, customer: Account) -> None:
    Plan.objects.filter(code="pro").update(trial_days=14)
    shop.pay(shop.checkout(customer, item="pro"))
    shop.deliver()
    plan_changes.cancel(account=customer, now=clock.now())
    shop.advance(days=15)
    shop.deliver()

    assert (Subscription.objects.get().status, plan_credits(customer)) == ("canceled", 0)
    assert not list(shop.stripe.store.all("charge"))


def test_an_account_has_one_trial(shop: Shop, customer: Account) -> None:
    Plan.objects.filter(code="pro").update(trial_days=14)
    shop.pay(shop.checkout(customer, item="pro"))
    shop.deliver()
    plan_changes.cancel_now(account=customer, now=clock.now())

    shop.pay(shop.checkout(customer, item="pro", key="again"))
    shop.deliver()

    assert Subscription.objects.order_by("-pk")[0].status == "active"


def test_a_trial_that_ends_early_hands_over(shop: Shop, customer: Account) -> None:
    Plan.objects.filter(code="pro").update(trial_days=14, trial_credits=30)
    shop.pay(shop.checkout(customer, item="pro"))
    shop.deliver()
    shop.advance(days=2)

    stripe.Subscription.modify(Subscription.objects.get().stripe_subscription_id, trial_end="now")
    shop.deliver()

    assert (plan_credits(customer), shop.failures()) == (100, [])
    assert agrees()


# --- prices and mistakes ---------------------------------------------------------------------------


def test_price_off_sale_goes_on_for_its_subscribers(shop: Shop, customer: Account, pro: Subscription) -> None:
    old = pro.price
    new = stripe.Price.create(
        product=str(stripe.Price.retrieve(old.stripe_price_id).product),
        currency="eur",
        unit_amount=2500,
        recurring={"interval": "month"},
    )
    stripe.Price.modify(old.stripe_price_id, active=False)
    shop.deliver()
    shop.advance(days=31)
    shop.deliver()

    pro.refresh_from_db()
    assert (pro.price, plan_credits(customer), shop.failures()) == (old, 100, [])
    assert price("pro").stripe_price_id == new.id
    assert sum(row["amount"] for row in shop.stripe.store.all("charge")) == 2 * old.amount_minor


def test_the_second_of_two_open_payment_pages_is_closed(shop: Shop, customer: Account) -> None:
    first, second = (shop.checkout(customer, item="pro", key=key) for key in "ab")
    shop.pay(first)
    shop.deliver()
    shop.deliver()  # that the other one was closed

    second.refresh_from_db()
    assert second.status == "expired"


def test_duplicate_subscription_is_ended_and_refunded(shop: Shop, customer: Account) -> None:
    orders = [shop.checkout(customer, item="pro", key=key) for key in "ab"]
    for order in orders:
        shop.pay(order)
        shop.advance(seconds=1)
    for _ in range(3):  # what the repair does makes webhooks of its own
        shop.deliver()

    running = Subscription.objects.filter(status="active")
    assert [row.stripe_subscription_id for row in running] == [
        Order.objects.get(pk=orders[0].pk).stripe_subscription_id
    ]
    assert (plan_credits(customer), shop.failures()) == (100, [])
    charges = list(shop.stripe.store.all("charge"))
    assert sorted(row["amount_refunded"] for row in charges) == [0, charges[0]["amount"]]
    assert Alert.objects.filter(kind=Alert.Kind.TWO_PLANS).count() == 1
    assert agrees()


def test_nothing_to_change_is_told(shop: Shop, customer: Account, pro: Subscription) -> None:
    with pytest.raises(AlreadySubscribedError):
        change(customer, "pro")


def test_the_pages_change_stop_and_resume(shop: Shop, pro: Subscription, big: Plan, ada: User, client: Client) -> None:
    client.force_login(ada)
    shop.deliver()

    def post(path: str, **form: str) -> str:
        return client.post(path, form, follow=True).content.decode()

    assert "Your plan is Team now." in post("/billing/plan", item="team", interval="month")
    assert "Your plan changes to Pro" in post("/billing/plan", item="pro", interval="month")
    assert "Changes to Pro" in client.get("/billing").content.decode()
    assert "Your plan ends on" in post("/billing/plan/cancel")
    assert "Your plan goes on" in post("/billing/plan/resume")
    assert "is no longer" not in post("/billing/plan", item="nonsense")


def test_plan_changes_into_no_other_currency(shop: Shop, customer: Account, pro: Subscription) -> None:
    """One customer at Stripe pays in one currency (docs.stripe.com/billing/subscriptions/multi-currency)."""
    dollars = Price.objects.create(
        plan=price("studio").plan, interval="month", currency="usd", amount_minor=5_000, stripe_price_id="price_usd"
    )

    with pytest.raises(PriceNotSellableError):
        plan_changes.change(account=customer, price=dollars, now=clock.now())

    pro.refresh_from_db()
    assert pro.price == price("pro")


def test_days_on_top_give_credits_for_every_seat(shop: Shop, customer: Account, pro: Subscription) -> None:
    (item,) = stripe.Subscription.retrieve(pro.stripe_subscription_id)["items"]["data"]
    stripe.Subscription.modify(
        pro.stripe_subscription_id, items=[{"id": item["id"], "quantity": 3}], proration_behavior="none"
    )
    shop.deliver()

    plan_changes.extend_period(account=customer, days=10, key="gift", now=clock.now())

    given = Allowance.objects.get(source_key="gift")
    assert given.amount == 300
