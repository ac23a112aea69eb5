"""Stories of customers, each played through the local Stripe. A story calls `hear` wherever webhooks may come in."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import stripe
from django.test import override_settings

from accounts.models import Account
from billing.catalogue import price_list, price_sync
from billing.checkout import top_ups
from billing.errors import PaymentActionRequiredError
from billing.models import Order, Plan, Promotion
from billing.subscriptions import plan_changes
from billing.tests.conftest import Shop
from billing.tests.test_checkout import start
from common import clock
from credits import ledger
from sandbox.local_stripe import declines, pages, payments, refunds_and_disputes
from sandbox.local_stripe.checkout import Outcome

Hear = Callable[[], None]
Story = Callable[[Shop, Account, Hear], None]


def a_pack_is_bought_spent_and_partly_refunded(shop: Shop, ada: Account, hear: Hear) -> None:
    Promotion.objects.create(code="p", name="P", bonus_credits=5, is_first_purchase=True, is_per_pack=False)
    shop.pay(shop.checkout(ada, quantity=2))
    hear()
    _spend(ada, 20)
    for minor in (100, 400):
        stripe.Refund.create(charge=_charges(shop)[0], amount=minor)
        shop.advance(hours=1)
        hear()


def payments_are_late_or_fail_or_never_come(shop: Shop, ada: Account, hear: Hear) -> None:
    for number, outcome in enumerate((Outcome.DELAYED_SUCCESS, Outcome.DELAYED_FAILURE, Outcome.ABANDON)):
        shop.pay(shop.checkout(ada, key=str(number)), outcome)
    hear()
    shop.advance(hours=25)
    hear()


def a_plan_goes_up_and_down_and_ends(shop: Shop, ada: Account, hear: Hear) -> None:
    _big_plan()
    shop.pay(shop.checkout(ada, item="pro"))
    hear()
    shop.advance(days=10)
    _change(ada, "team")
    hear()
    _spend(ada, 50)
    _change(ada, "pro")
    hear()
    shop.advance(days=60)
    hear()
    plan_changes.cancel(account=ada, now=clock.now())
    shop.advance(days=31)
    hear()


def a_year_is_paid_and_comes_by_the_month(shop: Shop, ada: Account, hear: Hear) -> None:
    _big_plan()
    shop.pay(start(ada, price=price_list.find_price(item="team", interval="year")).order)
    hear()
    for _ in range(3):
        shop.advance(days=140)
        hear()


def a_renewal_fails_and_is_paid_late(shop: Shop, ada: Account, hear: Hear) -> None:
    shop.pay(shop.checkout(ada, item="pro"))
    hear()
    declines.set_declines(shop.stripe, _customer(shop), is_on=True)
    shop.advance(days=33)
    hear()
    declines.set_declines(shop.stripe, _customer(shop), is_on=False)
    shop.advance(days=3)
    hear()


def a_renewal_fails_to_the_end(shop: Shop, ada: Account, hear: Hear) -> None:
    shop.pay(shop.checkout(ada, item="pro"))
    hear()
    declines.set_declines(shop.stripe, _customer(shop), is_on=True, needs_action=True)
    shop.advance(days=60)
    hear()


def a_trial_becomes_a_plan_and_rests(shop: Shop, ada: Account, hear: Hear) -> None:
    Plan.objects.filter(code="pro").update(trial_days=14, trial_credits=30)
    shop.pay(shop.checkout(ada, item="pro"))
    hear()
    shop.advance(days=15)
    hear()
    plan_changes.pause(account=ada, until=None, now=clock.now())
    shop.advance(days=31)
    hear()
    plan_changes.resume(account=ada, now=clock.now())
    shop.advance(days=31)
    hear()


def disputes_are_won_and_lost_and_a_debt_is_paid(shop: Shop, ada: Account, hear: Hear) -> None:
    for key in "ab":
        shop.pay(shop.checkout(ada, key=key))
        hear()
    _spend(ada, 33)
    won, lost = (refunds_and_disputes.open_dispute(shop.stripe, charge)["id"] for charge in _charges(shop))
    hear()
    refunds_and_disputes.close_dispute(shop.stripe, won, "won")
    refunds_and_disputes.close_dispute(shop.stripe, lost, "lost")
    hear()
    shop.pay(shop.checkout(ada, item="credits-50", key="c"))
    hear()


def two_plans_are_paid_by_mistake(shop: Shop, ada: Account, hear: Hear) -> None:
    orders = [shop.checkout(ada, item="pro", key=key) for key in "ab"]
    for order in orders:
        shop.pay(order)
        shop.advance(seconds=1)
    for _ in range(3):  # the repair makes events of its own
        hear()


def credits_are_bought_by_the_other_ways(shop: Shop, ada: Account, hear: Hear) -> None:
    shop.pay(shop.checkout(ada, key="saves-the-card"), saves_card=True)
    form = start(ada, key="form", ui=Order.Ui.ELEMENTS).order
    payments.confirm(shop.stripe, form.payment_id or "", is_there=True)
    hear()
    top_ups.switch_on(
        account=ada, price=price_list.find_price(item="credits-20"), below=5, max_per_month=2, now=clock.now()
    )
    _spend(ada, 46)
    top_ups.buy_if_due(account_id=ada.pk, now=clock.now())
    hear()


def the_portal_does_it_behind_our_back(shop: Shop, ada: Account, hear: Hear) -> None:
    _big_plan()
    shop.pay(shop.checkout(ada, item="pro"))
    hear()
    subscription_id = next(iter(shop.stripe.store.all("subscription")))["id"]
    for item, interval in (("team", "month"), ("team", "year"), ("pro", "month")):
        price = price_list.find_price(item=item, interval=interval).stripe_price_id
        pages.change_subscription(shop.stripe, subscription_id, "switch", price)
        shop.advance(days=2)
        hear()
    pages.change_subscription(shop.stripe, subscription_id, "cancel_now")
    hear()


def a_plan_is_discounted_and_taxed(shop: Shop, ada: Account, hear: Hear) -> None:
    """A code on the plan, a coupon on the customer (in the shape of 2025-09-30), VAT on top."""
    coupon = stripe.Coupon.create(percent_off=25, duration="forever")
    stripe.PromotionCode.create(promotion={"type": "coupon", "coupon": coupon.id}, code="QUARTER")
    with override_settings(STRIPE_TAX=True, STRIPE_PROMOTION_CODES=True):
        shop.pay(shop.checkout(ada, item="pro"), promotion_code="quarter")
        shop.stripe.get("customer", _customer(shop))["discount"] = {
            **next(iter(shop.stripe.store.all("discount"))), "id": "di_of_customer",
        }  # fmt: skip
        hear()
        shop.advance(days=32)
        hear()
        _change(ada, "studio")
        hear()


def a_plan_has_an_add_on_beside_it(shop: Shop, ada: Account, hear: Hear) -> None:
    """Somebody adds an item of another product in the dashboard, before and after the plan changes."""
    shop.pay(shop.checkout(ada, item="pro"))
    hear()
    other = stripe.Product.create(name="Support by phone")
    price = stripe.Price.create(product=other.id, currency="eur", unit_amount=900, recurring={"interval": "month"})
    (row,) = shop.stripe.store.all("subscription")
    stripe.Subscription.modify(row["id"], items=[{"price": price.id}], proration_behavior="always_invoice")
    hear()
    _change(ada, "studio")
    hear()
    shop.advance(days=32)
    hear()


def the_bank_wants_to_hear_from_its_customer(shop: Shop, ada: Account, hear: Hear) -> None:
    """One dearer plan is approved, the next one is not answered, the third is refused."""
    _big_plan()
    shop.pay(shop.checkout(ada, item="pro"))
    hear()
    for item, answer in (("team", "yes"), ("studio", ""), ("studio", "no")):
        declines.set_declines(shop.stripe, _customer(shop), is_on=True, needs_action=True)
        with suppress(PaymentActionRequiredError):
            _change(ada, item)
        hear()
        fields = [row for row in shop.stripe.store.all("payment_intent") if row["status"] == "requires_action"]
        if answer:
            pages.answer_bank(shop.stripe, fields[-1]["id"], {"answer": answer, "back": "/"})
        shop.advance(hours=25)
        hear()
    declines.set_declines(shop.stripe, _customer(shop), is_on=False)
    shop.advance(days=31)
    hear()


def a_stop_in_the_portal_is_taken_back_and_meant(shop: Shop, ada: Account, hear: Hear) -> None:
    """In flexible billing mode a stop is a `cancel_at`."""
    shop.pay(shop.checkout(ada, item="pro"))
    hear()
    (row,) = shop.stripe.store.all("subscription")
    pages.change_subscription(shop.stripe, row["id"], "cancel")
    hear()
    plan_changes.resume(account=ada, now=clock.now())
    shop.advance(days=32)
    hear()
    pages.change_subscription(shop.stripe, row["id"], "cancel")
    hear()
    shop.advance(days=31)
    hear()


def a_renewal_is_partly_paid_from_the_balance(shop: Shop, ada: Account, hear: Hear) -> None:
    """What the dashboard credits for a cheaper plan at once pays a part of the renewal; some of it is refunded."""
    shop.pay(shop.checkout(ada, item="studio"))
    hear()
    shop.advance(days=20)
    (row,) = shop.stripe.store.all("subscription")
    cheaper = price_list.find_price(item="pro", interval="month").stripe_price_id
    pages.change_subscription(shop.stripe, row["id"], "switch", cheaper)
    hear()
    shop.advance(days=12)
    hear()
    renewal = _charges(shop)[-1]
    assert 0 < shop.stripe.get("charge", renewal)["amount"] < 2000
    stripe.Refund.create(charge=renewal, amount=100)
    hear()


def others_use_the_same_stripe_account(shop: Shop, ada: Account, hear: Hear) -> None:
    """Another product's customers, plans, payments and refunds beside ours: none of our business."""
    shop.pay(shop.checkout(ada))
    stranger = stripe.Customer.create(email="stranger@example.com")
    card = stripe.PaymentMethod.attach("pm_card_visa", customer=stranger.id)
    theirs = stripe.Product.create(name="Another product")
    price = stripe.Price.create(product=theirs.id, currency="eur", unit_amount=700, recurring={"interval": "month"})
    stripe.Subscription.create(customer=stranger.id, items=[{"price": price.id}], default_payment_method=card.id)
    paid = stripe.PaymentIntent.create(
        amount=300, currency="eur", customer=stranger.id, payment_method=card.id, off_session=True, confirm=True
    )
    hear()
    stripe.Refund.create(payment_intent=paid.id)
    shop.advance(days=32)
    hear()


STORIES: list[Story] = [
    a_pack_is_bought_spent_and_partly_refunded,
    payments_are_late_or_fail_or_never_come,
    a_plan_goes_up_and_down_and_ends,
    a_year_is_paid_and_comes_by_the_month,
    a_renewal_fails_and_is_paid_late,
    a_renewal_fails_to_the_end,
    a_trial_becomes_a_plan_and_rests,
    disputes_are_won_and_lost_and_a_debt_is_paid,
    two_plans_are_paid_by_mistake,
    credits_are_bought_by_the_other_ways,
    the_portal_does_it_behind_our_back,
    a_plan_is_discounted_and_taxed,
    a_plan_has_an_add_on_beside_it,
    the_bank_wants_to_hear_from_its_customer,
    a_stop_in_the_portal_is_taken_back_and_meant,
    a_renewal_is_partly_paid_from_the_balance,
    others_use_the_same_stripe_account,
]


def _spend(account: Account, amount: int) -> None:
    now = clock.now()
    ledger.spend(account_id=account.pk, amount=amount, idempotency_key=f"spent-{now.isoformat()}", now=now)


def _change(account: Account, item: str, interval: str = "month") -> None:
    price = price_list.find_price(item=item, interval=interval)
    plan_changes.change(account=account, price=price, now=clock.now())


def _big_plan() -> None:
    metadata = {"tegoed_kind": "plan", "tegoed_code": "team", "included_credits": "400"}
    product = stripe.Product.create(id="tegoed_plan_team", name="Team", metadata=metadata)
    for interval, amount in (("month", 5000), ("year", 50000)):
        recurring: Any = {"interval": interval}
        stripe.Price.create(product=product.id, currency="eur", unit_amount=amount, recurring=recurring)
    price_sync.pull()


def _charges(shop: Shop) -> list[str]:
    return [str(row["id"]) for row in shop.stripe.store.all("charge")]


def _customer(shop: Shop) -> str:
    return str(next(iter(shop.stripe.store.all("customer")))["id"])
