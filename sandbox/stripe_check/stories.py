"""What happens in a round: purchases, plans, renewals, refusals and money back, through the product's own code.

A story runs on a test clock of its own (docs.stripe.com/billing/testing/test-clocks); events are asked for instead of
sent, so no public address is needed. Stripe's API cannot fill in a payment page: packs are paid by card form and
plans begin by API, with the metadata that a payment page would have left.
"""

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import stripe
from django.conf import settings

from accounts.models import Account, User
from accounts.opening import personal_account
from billing.catalogue import price_list
from billing.checkout import purchases, top_ups
from billing.checkout.providers.stripe import customer_of, identity
from billing.errors import BillingError, PaymentActionRequiredError, PaymentDeclinedError
from billing.models import InboxEvent, Order, Price, Subscription
from billing.reconciliation import comparison
from billing.refunds import refunds
from billing.stripe import stripe_client
from billing.subscriptions import plan_changes, previews
from billing.webhooks import inbox, receiving
from common import clock
from credits import audit, ledger, selectors
from credits.models import Grant, Source
from sandbox.clock import SandboxClock
from sandbox.stripe_check.recording import Record

WAIT_S, PAUSE_S = 180, 2.0
VISA, REFUSED_LATER = "pm_card_visa", "pm_card_chargeCustomerFail"
REFUSED, ASKS = "pm_card_visa_chargeDeclined", "pm_card_authenticationRequired"
RETURN_URL = "https://example.com/back"

Story = Callable[["Teller"], None]


@dataclass
class Teller:
    """Plays stories at a Stripe, and compares what becomes of them with what should."""

    run: str  # a name of this round, in everything that it makes
    record: Record
    is_local: bool
    story: str = ""
    clocks: list[str] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)
    people: int = 0

    def tell(self, story: Story) -> bool:
        """Run one story on a clock of its own; whether it went as expected."""
        self.story = story.__name__
        before = len(self.record.failures)
        try:
            with self.on_a_test_clock():
                story(self)
        except (BillingError, stripe.StripeError, LookupError, AssertionError) as error:
            self.record.failures.append(f"{self.story}: {type(error).__name__}: {error}")
        return len(self.record.failures) == before

    @contextmanager
    def on_a_test_clock(self) -> Iterator[None]:
        """Customers that are made meanwhile live on a test clock."""
        frozen = int(clock.now().timestamp())
        created = stripe.test_helpers.TestClock.create(frozen_time=frozen, name=f"{self.run} {self.story}"[:300])
        self.clocks.append(created.id)
        create = stripe.Customer.create
        stripe.Customer.create = _with_clock(create, created.id)  # type: ignore[method-assign]  # put back afterwards
        try:
            yield
        finally:
            stripe.Customer.create = create  # type: ignore[method-assign]  # put back afterwards

    def advance(self, **span: int) -> None:
        """Move the test clock, and ours with it; events are taken in as they come."""
        moved = timedelta(**span)
        current = stripe.test_helpers.TestClock.retrieve(self.clocks[-1])
        target = max(current.frozen_time, int(clock.now().timestamp())) + int(moved.total_seconds())
        stripe.test_helpers.TestClock.advance(self.clocks[-1], frozen_time=target)
        self.until(lambda: stripe.test_helpers.TestClock.retrieve(self.clocks[-1]).status == "ready")
        behind = int(target - clock.now().timestamp())
        if behind > 0:
            SandboxClock(Path(settings.CLOCK_FILE)).advance(behind)
        self.hear()

    def hear(self) -> None:
        """Take in every event since the last time, oldest first, and work them off."""
        fresh = []
        for event in stripe.Event.list(limit=100).auto_paging_iter():
            if event.id in self.seen:
                break
            fresh.append(stripe_client.plain(event))
        for reported in reversed(fresh):
            self.seen.add(reported["id"])
            self.record.events.setdefault(self.story, []).append(reported["type"])
            receiving.store_event(reported, now=clock.now())
        for event_id in InboxEvent.objects.filter(next_attempt_at__isnull=False).values_list("event_id", flat=True):
            inbox.process(event_id=event_id, now=clock.now())

    def skip_what_was(self) -> None:
        """Leave alone the events from before this round."""
        self.seen = {event.id for event in stripe.Event.list(limit=100).data}

    def until(self, is_so: Callable[[], bool]) -> bool:
        """Wait until something is so, taking in events; whether it came to be."""
        deadline = time.monotonic() + (5 if self.is_local else WAIT_S)
        while not is_so():
            if time.monotonic() > deadline:
                return False
            if not self.is_local:
                time.sleep(PAUSE_S)
            self.hear()
        return True

    def expect(self, what: str, found: Callable[[], Any], expected: Any) -> None:
        """Wait until `found` answers what is expected; note it when it never does."""
        if not self.until(lambda: found() == expected):
            self.record.failures.append(f"{self.story}: {what}: expected {expected!r}, found {found()!r}")

    # --- what customers do ---------------------------------------------------------------------------

    def somebody(self) -> Account:
        self.people += 1
        email = f"{self.run}-{self.people}@example.com"
        return personal_account(user=User.objects.create_user(email, name="Check"), now=clock.now())

    def price(self, item: str, interval: str = "") -> Price:
        return price_list.find_price(item=f"{item}-{self.run}", interval=interval)

    def card(self, account: Account, card: str = VISA) -> str:
        """Leave a card with an account's customer, as the one that is charged."""
        customer = customer_of(account)
        method = stripe.PaymentMethod.attach(card, customer=customer)
        stripe.Customer.modify(customer, invoice_settings={"default_payment_method": method.id})
        return str(method.id)

    def subscribed(self, account: Account, item: str, **more: Any) -> str:
        """Begin a plan with the saved card, as a payment page would."""
        price = self.price(item, "month")
        order = Order(account=account, price=price, actor="check", created_at=clock.now())
        for name, value in price.frozen(1).items():
            setattr(order, name, value)
        about: Any = {"items": [{"price": price.stripe_price_id}], "metadata": identity(order), **more}
        created = stripe.Subscription.create(
            customer=customer_of(account), payment_behavior="error_if_incomplete", **about
        )
        return str(created.id)

    def plan_credits(self, account: Account) -> int:
        selectors.balance(account_id=account.pk, now=clock.now())
        rows = Grant.objects.filter(account=account, source=Source.PLAN, is_open=True)
        return sum(rows.values_list("remaining", flat=True))

    def paid_credits(self, account: Account) -> int:
        rows = Grant.objects.filter(account=account, source=Source.PURCHASE)
        return sum(rows.values_list("remaining", flat=True))

    def plan(self, account: Account) -> Subscription:
        return Subscription.objects.select_related("price", "next_price").get(account=account)

    def form(self, account: Account, key: str = "form") -> Order:
        """A pack on a card form, not paid yet."""
        started = purchases.start_checkout(
            account=account, price=self.price("pack"), quantity=1, idempotency_key=key, actor="check",
            ui=Order.Ui.ELEMENTS, now=clock.now(),
        )  # fmt: skip
        return started.order


def _with_clock(create: Callable[..., Any], clock_id: str) -> Callable[..., Any]:
    def created(**params: Any) -> Any:
        return create(**params, test_clock=clock_id)

    return created


# --- the stories -------------------------------------------------------------------------------------


def a_pack_is_paid_on_a_card_form(teller: Teller) -> None:
    ada = teller.somebody()
    order = teller.form(ada)
    stripe.PaymentIntent.confirm(order.payment_id or "", payment_method=VISA, return_url=RETURN_URL)
    teller.expect("credits", lambda: teller.paid_credits(ada), 20)
    refused = teller.form(ada, key="refused")
    with suppress(stripe.CardError):
        stripe.PaymentIntent.confirm(refused.payment_id or "", payment_method=REFUSED, return_url=RETURN_URL)
    teller.hear()
    teller.expect("credits after a refusal", lambda: teller.paid_credits(ada), 20)


def a_payment_page_is_made_and_expires(teller: Teller) -> None:
    ada = teller.somebody()
    for number, price in enumerate((teller.price("pack"), teller.price("small", "month"))):
        started = purchases.start_checkout(
            account=ada, price=price, quantity=1, idempotency_key=f"page{number}", actor="check", now=clock.now()
        )
        if not started.order.checkout_url.startswith("http"):
            teller.record.failures.append(f"{teller.story}: there is no page")
        stripe.checkout.Session.expire(started.order.stripe_session_id or "")
    orders = Order.objects.filter(account=ada).values_list("status", flat=True)
    teller.expect("orders", lambda: set(orders.all()), {"expired"})


def a_refund_takes_its_credits_along(teller: Teller) -> None:
    ada = teller.somebody()
    order = teller.form(ada)
    stripe.PaymentIntent.confirm(order.payment_id or "", payment_method=VISA, return_url=RETURN_URL)
    teller.expect("credits", lambda: teller.paid_credits(ada), 20)
    order.refresh_from_db()
    refunds.refund(
        order=order, amount_minor=250, reason="check", actor="check", idempotency_key="half", now=clock.now()
    )
    teller.expect("credits after half of it", lambda: teller.paid_credits(ada), 10)


def a_top_up_is_bought_with_the_saved_card(teller: Teller) -> None:
    ada = teller.somebody()
    teller.card(ada)
    top_ups.switch_on(account=ada, price=teller.price("pack"), below=10, max_per_month=1, now=clock.now())
    ledger.grant(account_id=ada.pk, amount=1, source=Source.BONUS, source_key=uuid.uuid4().hex, now=clock.now())
    ledger.spend(account_id=ada.pk, amount=1, idempotency_key=uuid.uuid4().hex, now=clock.now())
    top_ups.buy_if_due(account_id=ada.pk, now=clock.now())
    teller.expect("credits", lambda: teller.paid_credits(ada), 20)


def a_plan_renews_goes_up_and_down_and_stops(teller: Teller) -> None:
    ada = teller.somebody()
    teller.card(ada)
    teller.subscribed(ada, "small")
    teller.expect("credits", lambda: teller.plan_credits(ada), 100)
    ledger.spend(account_id=ada.pk, amount=30, idempotency_key=uuid.uuid4().hex, now=clock.now())
    teller.advance(days=32, hours=3)
    teller.expect("credits after the renewal", lambda: teller.plan_credits(ada), 100)
    promised = previews.preview_change(account=ada, price=teller.price("large", "month"), now=clock.now()).credits_now
    plan_changes.change(account=ada, price=teller.price("large", "month"), now=clock.now())
    teller.expect("credits after the upgrade", lambda: teller.plan_credits(ada), 100 + promised)
    plan_changes.change(account=ada, price=teller.price("small", "month"), now=clock.now())
    teller.expect("the planned plan", lambda: teller.plan(ada).next_price, teller.price("small", "month"))
    teller.advance(days=32, hours=3)
    teller.expect("credits after the downgrade", lambda: teller.plan_credits(ada), 100)
    plan_changes.cancel(account=ada, now=clock.now())
    plan_changes.resume(account=ada, now=clock.now())
    teller.expect("it goes on", lambda: teller.plan(ada).cancel_at_period_end, False)
    plan_changes.cancel(account=ada, now=clock.now())
    teller.advance(days=35)
    teller.expect("it has ended", lambda: teller.plan(ada).status, "canceled")


def a_month_becomes_a_year(teller: Teller) -> None:
    """A period of its own, from now on: in flexible billing mode that has to be asked for."""
    ada = teller.somebody()
    teller.card(ada)
    teller.subscribed(ada, "small")
    teller.expect("credits", lambda: teller.plan_credits(ada), 100)
    teller.advance(days=3)
    plan_changes.change(account=ada, price=teller.price("large", "year"), now=clock.now())
    teller.expect("credits of the year's first month", lambda: teller.plan_credits(ada), 400)
    length = teller.plan(ada).current_period_end - clock.now()
    teller.expect("a year", lambda: length > timedelta(days=360), True)
    teller.advance(days=32)
    teller.expect("credits of its second month", lambda: teller.plan_credits(ada), 400)


def a_plan_gets_free_days(teller: Teller) -> None:
    ada = teller.somebody()
    teller.card(ada)
    teller.subscribed(ada, "small")
    teller.expect("credits", lambda: teller.plan_credits(ada), 100)
    before = teller.plan(ada).current_period_end
    plan_changes.extend_period(account=ada, days=5, key=uuid.uuid4().hex, now=clock.now())
    teller.expect("five days", lambda: teller.plan(ada).current_period_end - before, timedelta(days=5))
    teller.expect("no more credits for that", lambda: teller.plan_credits(ada), 100)
    teller.advance(days=37, hours=3)
    teller.expect("credits of the next month", lambda: teller.plan_credits(ada), 100)
    teller.expect("it is paid for", lambda: teller.plan(ada).status, "active")


def a_bank_asks_about_an_upgrade(teller: Teller) -> None:
    """The approval itself takes a browser: here it is seen to wait, and dropped."""
    ada = teller.somebody()
    teller.card(ada)
    subscription = teller.subscribed(ada, "small")
    teller.expect("credits", lambda: teller.plan_credits(ada), 100)
    asking = teller.card(ada, ASKS)
    stripe.Subscription.modify(subscription, default_payment_method=asking)
    try:
        plan_changes.change(account=ada, price=teller.price("large", "month"), now=clock.now())
        teller.record.failures.append(f"{teller.story}: the bank did not ask")
    except PaymentActionRequiredError as error:
        url = str(error.extra["url"])
        teller.expect("a page", lambda: url.startswith("http"), True)
    teller.expect("it waits", lambda: teller.plan(ada).pending_price, teller.price("large", "month"))
    plan_changes.drop_pending(account=ada, now=clock.now())
    teller.expect("nothing waits", lambda: (teller.plan(ada).pending_price, teller.plan_credits(ada)), (None, 100))


def a_renewal_is_refused_and_paid_late(teller: Teller) -> None:
    ada = teller.somebody()
    teller.card(ada)
    subscription = teller.subscribed(ada, "small")
    teller.expect("credits", lambda: teller.plan_credits(ada), 100)
    refused = teller.card(ada, REFUSED_LATER)
    stripe.Subscription.modify(subscription, default_payment_method=refused)
    teller.advance(days=32, hours=3)
    teller.expect("its status", lambda: teller.plan(ada).status, "past_due")
    teller.expect("credits while it is not paid", lambda: teller.plan_credits(ada), 0)
    good = teller.card(ada)
    stripe.Subscription.modify(subscription, default_payment_method=good)
    latest = stripe.Subscription.retrieve(subscription).latest_invoice
    try:
        stripe_client.pay_invoice(str(latest))
    except PaymentDeclinedError:
        teller.record.failures.append(f"{teller.story}: the good card was refused")
    teller.expect("credits once it is paid", lambda: teller.plan_credits(ada), 100)


def a_plan_is_discounted(teller: Teller) -> None:
    ada = teller.somebody()
    teller.card(ada)
    coupon = stripe.Coupon.create(percent_off=50, duration="forever", name=teller.run)
    teller.subscribed(ada, "small", discounts=[{"coupon": coupon.id}])
    teller.expect("credits", lambda: teller.plan_credits(ada), 100)
    grant = Grant.objects.get(account=ada, source=Source.PLAN)
    teller.expect("what they cost", lambda: grant.paid_minor, 1000)
    stripe.Coupon.delete(coupon.id)


def the_portal_opens(teller: Teller) -> None:
    ada = teller.somebody()
    teller.card(ada)
    teller.subscribed(ada, "small")
    teller.expect("credits", lambda: teller.plan_credits(ada), 100)
    teller.expect("a page", lambda: purchases.portal_url(account=ada).startswith("http"), True)


def the_books_agree(teller: Teller) -> None:
    """What Stripe was paid in this round and what was granted for it are the same."""
    since = datetime.now(UTC) - timedelta(days=1)
    teller.expect("reconciliation", lambda: list(comparison.differences(since=since)), [])
    teller.expect("audit", lambda: list(audit.all_disagreements()), [])
    errors = InboxEvent.objects.exclude(error="").values_list("error", flat=True)
    teller.expect("events that failed", lambda: list(errors.all()), [])


STORIES = cast(
    list[Story],
    [
        a_pack_is_paid_on_a_card_form,
        a_payment_page_is_made_and_expires,
        a_refund_takes_its_credits_along,
        a_top_up_is_bought_with_the_saved_card,
        a_plan_renews_goes_up_and_down_and_stops,
        a_month_becomes_a_year,
        a_plan_gets_free_days,
        a_bank_asks_about_an_upgrade,
        a_renewal_is_refused_and_paid_late,
        a_plan_is_discounted,
        the_portal_opens,
        the_books_agree,
    ],
)
