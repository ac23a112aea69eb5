"""What was paid becomes credits: once, whatever order, number or delay the webhooks come in."""

import pytest
import stripe
from django.test import Client

from accounts.models import Account
from billing.checkout import purchases
from billing.models import InboxEvent, Order, Pack, Price, Subscription
from billing.stripe import erasing
from billing.tests.conftest import Shop
from billing.webhooks import inbox
from common import clock
from credits import audit, selectors
from credits.models import Grant, Source
from outbox.models import Alert
from sandbox.local_stripe import checkout as hosted
from sandbox.local_stripe import events
from sandbox.local_stripe.checkout import Outcome
from sandbox.local_stripe.errors import StripeApiError
from sandbox.local_stripe.transport import InProcessClient

FREE = 8  # 3 a day and 5 a month


def balance(account: Account) -> int:
    return selectors.balance(account_id=account.pk, now=clock.now()).available


def test_a_paid_pack_is_granted_and_its_price_remembered(shop: Shop, customer: Account) -> None:
    order = shop.checkout(customer)
    shop.pay(order)

    assert set(shop.deliver()) == {200}

    grant = Grant.objects.get(account=customer, source=Source.PURCHASE)
    assert (grant.amount, grant.paid_minor, grant.currency) == (20, 500, "eur")
    assert grant.source_key == f"stripe:session:{order.stripe_session_id}"
    order.refresh_from_db()
    assert (order.status, balance(customer), shop.failures()) == ("completed", FREE + 20, [])


def test_quantity_multiplies_price_and_credits(shop: Shop, customer: Account) -> None:
    order = shop.checkout(customer, quantity=3)
    shop.pay(order)
    shop.deliver()

    grant = Grant.objects.get(account=customer, source=Source.PURCHASE)
    assert (grant.amount, grant.paid_minor) == (60, 1500)


def test_bonus_is_a_grant_of_its_own_without_a_price(shop: Shop, customer: Account) -> None:
    Pack.objects.filter(code="credits-20").update(bonus_credits=5)
    shop.pay(shop.checkout(customer))
    shop.deliver()

    bonus = Grant.objects.get(account=customer, source=Source.BONUS)
    assert (bonus.amount, bonus.paid_minor, bonus.currency) == (5, 0, "")


@pytest.mark.parametrize(
    "how",
    [
        {"copies": 20},
        {"order": "reversed"},
        *({"order": "shuffled", "seed": seed, "copies": 3} for seed in range(5)),
    ],
    ids=str,
)
def test_order_and_number_of_webhooks_do_not_matter(shop: Shop, customer: Account, how: dict[str, object]) -> None:
    shop.pay(shop.checkout(customer, key="pack"))
    shop.pay(shop.checkout(customer, item="pro", key="plan"))

    shop.deliver(**how)

    assert balance(customer) == FREE + 20 + 100
    assert Order.objects.filter(status="completed").count() == 2
    assert list(audit.all_disagreements()) == []


def test_a_declined_card_grants_nothing(shop: Shop, customer: Account) -> None:
    order = shop.checkout(customer)
    with pytest.raises(StripeApiError):
        shop.pay(order, Outcome.DECLINED)
    shop.deliver()

    order.refresh_from_db()
    assert (order.status, balance(customer)) == ("open", FREE)


def test_a_delayed_payment_grants_when_it_arrives(shop: Shop, customer: Account) -> None:
    order = shop.checkout(customer)
    shop.pay(order, Outcome.DELAYED_SUCCESS)
    shop.deliver()
    order.refresh_from_db()
    assert (order.status, balance(customer)) == ("processing", FREE)

    shop.advance(minutes=1)
    shop.deliver()

    order.refresh_from_db()
    assert (order.status, balance(customer)) == ("completed", FREE + 20)


def test_a_delayed_payment_that_fails_grants_nothing(shop: Shop, customer: Account) -> None:
    order = shop.checkout(customer)
    shop.pay(order, Outcome.DELAYED_FAILURE)
    shop.advance(minutes=1)
    shop.deliver()

    order.refresh_from_db()
    assert (order.status, balance(customer)) == ("failed", FREE)


def test_an_abandoned_checkout_expires_and_grants_nothing(shop: Shop, customer: Account) -> None:
    order = shop.checkout(customer)
    shop.pay(order, Outcome.ABANDON)
    shop.advance(hours=25)
    shop.deliver()

    order.refresh_from_db()
    assert order.status == "expired"
    assert not Grant.objects.filter(source=Source.PURCHASE).exists()


def test_purchase_keeps_its_credits_when_the_catalogue_changes(shop: Shop, customer: Account) -> None:
    order = shop.checkout(customer)
    Pack.objects.filter(code="credits-20").update(credits=1)
    shop.pay(order)
    shop.deliver()

    assert balance(customer) == FREE + 20


def test_an_amount_that_is_not_the_order_s_is_left_to_a_person(shop: Shop, customer: Account) -> None:
    order = shop.checkout(customer)
    Order.objects.filter(pk=order.pk).update(amount_minor=999)
    shop.pay(order)
    shop.deliver()

    order.refresh_from_db()
    assert (order.status, order.problem) == ("review", "Paid for 500 eur on an order of 999 eur.")
    assert balance(customer) == FREE
    assert any("FulfilmentError" in failure for failure in shop.failures())


def test_metadata_decides_nothing(shop: Shop, customer: Account) -> None:
    order = shop.checkout(customer)
    stripe.checkout.Session.modify(order.stripe_session_id, metadata={"credits": "9999", "included_credits": "9999"})
    shop.pay(order)
    shop.deliver()

    assert balance(customer) == FREE + 20


def test_objects_of_another_product_at_stripe_are_ignored(shop: Shop, customer: Account) -> None:
    stranger = stripe.Customer.create(email="eve@example.com")
    price = Price.objects.get(pack__code="credits-20")
    foreign = stripe.checkout.Session.create(
        mode="payment",
        customer=stranger.id,
        line_items=[{"price": price.stripe_price_id, "quantity": 1}],
        success_url="http://127.0.0.1:8000/",
    )
    hosted.complete(shop.stripe, foreign.id, Outcome.SUCCESS)
    shop.deliver()

    kept = InboxEvent.objects.get(type="checkout.session.completed")
    assert (kept.state, kept.error) == ("processed", "")
    assert not Alert.objects.exists()
    assert not Grant.objects.filter(source=Source.PURCHASE).exists()


def test_an_order_paid_by_another_customer_is_refused(shop: Shop, customer: Account) -> None:
    order = shop.checkout(customer)
    stranger = stripe.Customer.create(email="eve@example.com")
    foreign = stripe.checkout.Session.create(
        mode="payment",
        customer=stranger.id,
        client_reference_id=order.public_id,
        line_items=[{"price": order.price.stripe_price_id, "quantity": 1}],
        success_url="http://127.0.0.1:8000/",
    )
    Order.objects.filter(pk=order.pk).update(stripe_session_id=None)
    hosted.complete(shop.stripe, foreign.id, Outcome.SUCCESS)
    shop.deliver()

    assert "another customer" in InboxEvent.objects.get(type="checkout.session.completed").error
    assert not Grant.objects.filter(source=Source.PURCHASE).exists()


def test_completed_plan_order_has_a_subscription_in_any_order(shop: Shop, customer: Account) -> None:
    order = shop.checkout(customer, item="pro")
    shop.pay(order)
    events.flush(shop.stripe, shop.post)
    for kind in ("checkout.session.completed", "invoice.paid"):
        inbox.process(event_id=InboxEvent.objects.get(type=kind).event_id, now=clock.now())

    order.refresh_from_db()
    assert (order.status, Subscription.objects.get(account=customer).status) == ("completed", "active")


def test_a_plan_gives_its_credits_each_paid_month_and_no_more(shop: Shop, customer: Account) -> None:
    shop.pay(shop.checkout(customer, item="pro"))
    shop.deliver()
    subscription = Subscription.objects.get(account=customer)
    assert (subscription.status, subscription.price.plan.code) == ("active", "pro")

    shop.advance(days=31)
    shop.deliver()

    grants = Grant.objects.filter(account=customer, source=Source.PLAN).order_by("effective_at")
    assert [(grant.amount, grant.remaining, grant.paid_minor) for grant in grants] == [(100, 0, 2000), (100, 100, 2000)]
    assert grants[0].expires_at == grants[1].effective_at


def test_late_paid_invoice_is_granted_and_expired(shop: Shop, customer: Account) -> None:
    shop.pay(shop.checkout(customer, item="pro"))
    shop.advance(days=70)  # two renewals go by before any webhook comes through
    shop.deliver(order="reversed")

    grants = Grant.objects.filter(account=customer, source=Source.PLAN).order_by("effective_at")
    assert [(grant.amount, grant.remaining) for grant in grants] == [(100, 0), (100, 0), (100, 100)]
    assert list(audit.all_disagreements()) == []


def test_a_cancelled_plan_ends_with_its_paid_month(shop: Shop, customer: Account) -> None:
    shop.pay(shop.checkout(customer, item="pro"))
    shop.deliver()
    subscription = Subscription.objects.get(account=customer)
    stripe.Subscription.modify(subscription.stripe_subscription_id, cancel_at_period_end=True)
    shop.deliver()
    subscription.refresh_from_db()
    assert subscription.cancel_at_period_end
    assert Grant.objects.get(source=Source.PLAN).remaining == 100

    shop.advance(days=32)
    shop.deliver()

    subscription.refresh_from_db()
    assert (subscription.status, subscription.is_running) == ("canceled", False)
    assert Grant.objects.filter(source=Source.PLAN).count() == 1


def test_return_page_fulfils_before_the_webhook(shop: Shop, customer: Account) -> None:
    pack, plan = shop.checkout(customer, key="pack"), shop.checkout(customer, item="pro", key="plan")
    shop.pay(pack)
    shop.pay(plan)

    assert purchases.refresh(pack, now=clock.now()).status == "completed"
    assert purchases.refresh(plan, now=clock.now()).status == "completed"
    shop.deliver()

    assert balance(customer) == FREE + 20 + 100


def test_stripe_away_costs_a_pause_and_no_event(shop: Shop, customer: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stripe, "max_network_retries", 0)  # whose pauses are real
    shop.pay(shop.checkout(customer))
    stripe.default_http_client = stripe.RequestsClient(timeout=1)
    shop.deliver()
    assert set(InboxEvent.objects.values_list("state", flat=True)) == {"failed"}
    assert balance(customer) == FREE

    stripe.default_http_client = InProcessClient(shop.stripe)
    shop.advance(hours=3)
    shop.work_off()

    assert set(InboxEvent.objects.values_list("state", flat=True)) == {"processed"}
    assert Grant.objects.get(source=Source.PURCHASE).amount == 20


def test_event_is_dead_after_last_attempt_and_can_be_replayed(shop: Shop, customer: Account, settings: object) -> None:
    settings.WEBHOOK_MAX_ATTEMPTS = 1  # type: ignore[attr-defined]
    order = shop.checkout(customer)
    Price.objects.filter(pk=order.price_id).update(stripe_price_id="price_moved")
    Order.objects.filter(pk=order.pk).update(amount_minor=1)
    shop.pay(order)
    shop.deliver()
    dead = InboxEvent.objects.get(type="checkout.session.completed")
    assert (dead.state, dead.next_attempt_at) == ("dead", None)

    Order.objects.filter(pk=order.pk).update(amount_minor=500)
    assert inbox.replay(event_id=dead.event_id, now=clock.now()) == "processed"

    assert balance(customer) == FREE + 20


def test_event_whose_payload_was_forgotten_can_be_replayed_and_holds_up_no_other(shop: Shop, customer: Account) -> None:
    order = shop.checkout(customer)
    shop.pay(order)
    shop.deliver()
    old = InboxEvent.objects.get(type="checkout.session.completed")
    shop.advance(days=60)
    erasing.purge_payloads(now=clock.now())
    InboxEvent.objects.filter(pk=old.pk).update(state="received", next_attempt_at=clock.now())
    new = InboxEvent.objects.get(pk=old.pk)
    new.pk, new.event_id, new._state.adding = None, "evt_new", True
    new.payload = {"data": {"object": {"id": old.object_id, "object": "checkout.session"}}}
    new.save()

    assert inbox.process(event_id="evt_new", now=clock.now()) == "processed"
    assert inbox.replay(event_id=old.event_id, now=clock.now()) == "processed"
    assert Grant.objects.filter(source=Source.PURCHASE).count() == 1


def test_events_of_kinds_we_do_not_follow_are_kept_and_ignored(shop: Shop, client: Client) -> None:
    shop.stripe.emit("invoice_payment.paid", shop.stripe.new("invoice_payment", "inpay"))
    shop.deliver()

    assert InboxEvent.objects.get(type="invoice_payment.paid").state == "ignored"


class TestChangingPlans:
    """Up at once and paid for the difference; down with the next period."""

    @pytest.fixture
    def team(self, shop: Shop) -> Price:
        product = stripe.Product.create(
            name="Team", metadata={"tegoed_kind": "plan", "tegoed_code": "team", "included_credits": "400"}
        )
        stripe.Price.create(product=product.id, currency="eur", unit_amount=5000, recurring={"interval": "month"})
        shop.deliver()
        return Price.objects.get(plan__code="team")

    @pytest.fixture
    def subscribed(self, shop: Shop, customer: Account, team: Price) -> Subscription:
        shop.pay(shop.checkout(customer, item="pro"))
        shop.deliver()
        return Subscription.objects.get(account=customer)

    def change(self, subscribed: Subscription, price: Price, proration: str) -> None:
        result = stripe.Subscription.retrieve(subscribed.stripe_subscription_id)
        stripe.Subscription.modify(
            result.id,
            items=[{"id": result["items"]["data"][0]["id"], "price": price.stripe_price_id}],
            proration_behavior=proration,  # type: ignore[arg-type]
        )

    @pytest.mark.parametrize("how", [{"copies": 3}, {"order": "reversed"}, {"order": "shuffled", "seed": 2}], ids=str)
    def test_an_upgrade_gives_the_difference_at_once(
        self, shop: Shop, customer: Account, subscribed: Subscription, team: Price, how: dict[str, object]
    ) -> None:
        shop.advance(days=10)
        self.change(subscribed, team, "always_invoice")
        shop.deliver(**how)

        added = Grant.objects.get(is_top_up=True)
        first = Grant.objects.get(source=Source.PLAN, is_top_up=False)
        # Both the money and the credits are for the two thirds of the month that are left.
        assert added.expires_at == first.expires_at
        assert (added.amount, added.paid_minor) == (pytest.approx(200, rel=0.05), pytest.approx(2000, rel=0.05))
        subscribed.refresh_from_db()
        assert subscribed.price == team
        assert shop.failures() == []

        shop.advance(days=25)
        shop.deliver()
        assert Grant.objects.filter(source=Source.PLAN).latest("effective_at").amount == 400

    def test_upgrade_before_its_subscription_is_fulfilled_later(
        self, shop: Shop, customer: Account, team: Price
    ) -> None:
        shop.pay(shop.checkout(customer, item="pro"))
        subscription = next(iter(shop.stripe.store.all("subscription")))
        shop.advance(days=3)
        stripe.Subscription.modify(
            subscription["id"],
            items=[{"id": subscription["items"]["data"][0]["id"], "price": team.stripe_price_id}],
            proration_behavior="always_invoice",
        )
        shop.deliver(order="reversed")
        shop.advance(minutes=5)
        shop.work_off()

        assert balance(customer) == pytest.approx(3 + 5 + 100 + 300 * 27 / 30, abs=6)
        assert list(audit.all_disagreements()) == []

    def test_downgrade_keeps_credits_until_the_next_period(
        self, shop: Shop, customer: Account, subscribed: Subscription, team: Price
    ) -> None:
        pro = subscribed.price
        self.change(subscribed, team, "always_invoice")
        shop.deliver()
        self.change(subscribed, pro, "none")
        shop.deliver()
        assert balance(customer) == FREE + 400

        shop.advance(days=32)
        shop.deliver()

        assert Grant.objects.filter(source=Source.PLAN).latest("effective_at").amount == 100

    def test_up_and_down_again_at_once_is_what_was_paid_for(
        self, shop: Shop, customer: Account, subscribed: Subscription, team: Price
    ) -> None:
        """docs.stripe.com/billing/subscriptions/prorations: a downgrade may be credited at once."""
        pro, had = subscribed.price, []
        for _ in range(2):
            for price in (team, pro):
                self.change(subscribed, price, "always_invoice")
                shop.deliver()
                had.append(balance(customer))

        assert had == [FREE + 400, FREE + 100] * 2
        assert (list(audit.all_disagreements()), shop.failures()) == ([], [])

    def test_upgrade_replayed_in_next_period_grants_nothing(
        self, shop: Shop, customer: Account, subscribed: Subscription, team: Price
    ) -> None:
        pro = subscribed.price
        self.change(subscribed, team, "always_invoice")
        self.change(subscribed, pro, "none")
        shop.deliver()
        shop.advance(days=32)
        shop.deliver()
        before = balance(customer)

        for event in list(shop.stripe.store.all("event")):
            inbox.replay(event_id=event["id"], now=clock.now())

        assert balance(customer) == before


class TestFailedPayments:
    """A month that is not paid for is not given; what was paid for stays; paying late gives it once."""

    @pytest.fixture
    def renewal_failed(self, shop: Shop, customer: Account) -> Subscription:
        shop.pay(shop.checkout(customer, item="pro"))
        shop.deliver()
        shop.refuse_card()
        shop.advance(days=31)
        shop.deliver()
        return Subscription.objects.get(account=customer)

    def plan_grants(self) -> list[tuple[int, int]]:
        grants = Grant.objects.filter(source=Source.PLAN).order_by("effective_at")
        return [(grant.amount, grant.remaining) for grant in grants]

    def test_an_unpaid_month_is_not_given(self, shop: Shop, customer: Account, renewal_failed: Subscription) -> None:
        assert renewal_failed.status == "past_due"
        assert balance(customer) == FREE
        assert self.plan_grants() == [(100, 0)]
        assert shop.failures() == []

    @pytest.mark.parametrize("how", [{}, {"order": "reversed", "copies": 2}], ids=str)
    def test_a_month_that_is_paid_late_is_given_once(
        self, shop: Shop, customer: Account, renewal_failed: Subscription, how: dict[str, object]
    ) -> None:
        shop.refuse_card(is_on=False)
        shop.advance(days=3)  # Stripe tries again
        shop.deliver(**how)

        renewal_failed.refresh_from_db()
        assert renewal_failed.status == "active"
        assert self.plan_grants() == [(100, 0), (100, 100)]

    def test_the_customer_can_pay_at_once(self, shop: Shop, customer: Account, renewal_failed: Subscription) -> None:
        shop.refuse_card(is_on=False)
        open_bill = next(row for row in shop.stripe.store.all("invoice") if row["status"] == "open")

        stripe.Invoice.pay(open_bill["id"])
        shop.advance(days=20)  # the tries that were planned come to nothing
        shop.deliver()

        assert self.plan_grants() == [(100, 0), (100, 100)]

    def test_plan_ends_after_last_retry_and_free_plan_goes_on(
        self, shop: Shop, customer: Account, renewal_failed: Subscription
    ) -> None:
        shop.advance(days=20)
        shop.deliver()

        renewal_failed.refresh_from_db()
        assert (renewal_failed.status, renewal_failed.is_running) == ("canceled", False)
        assert self.plan_grants() == [(100, 0)]
        assert balance(customer) == FREE
        assert shop.checkout(customer, item="pro", key="again").checkout_url  # and may start over


def test_customer_deleted_at_stripe_can_buy_again(shop: Shop, customer: Account) -> None:
    shop.pay(shop.checkout(customer, key="before"))
    shop.deliver()
    stripe.Customer.delete(str(next(iter(shop.stripe.store.all("customer")))["id"]))
    shop.deliver()

    shop.pay(shop.checkout(customer, key="after"))
    shop.deliver()

    assert (balance(customer), shop.failures()) == (FREE + 40, [])
    assert len([row for row in shop.stripe.store.all("customer") if not row.get("deleted")]) == 1
