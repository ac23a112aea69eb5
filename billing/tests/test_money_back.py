"""Refunds and disputes: credits follow the money, as a target, in whatever order and number webhooks arrive."""

from datetime import timedelta
from typing import Any

import pytest
import stripe

from accounts.models import Account
from billing.catalogue import price_list
from billing.clawbacks import clawbacks
from billing.errors import RefundRefusedError
from billing.models import Clawback, Order, PaymentRecord
from billing.payments import books
from billing.reconciliation import comparison
from billing.refunds import refunds
from billing.subscriptions import plan_changes
from billing.tests.conftest import Shop
from billing.tests.test_checkout import start
from billing.webhooks import inbox
from common import clock
from credits import audit, ledger, selectors
from credits.models import Grant, Source, Wallet
from sandbox.local_stripe import refunds_and_disputes

FREE = 8


@pytest.fixture
def bought(shop: Shop, customer: Account) -> Order:
    """Ada bought 20 credits for EUR 5.00; her 8 free ones are spent."""
    order = shop.checkout(customer)
    shop.pay(order)
    shop.deliver()
    spend(customer, FREE, "free")
    order.refresh_from_db()
    return order


def spend(account: Account, amount: int, key: str = "k") -> None:
    if amount:
        ledger.spend(account_id=account.pk, amount=amount, idempotency_key=key, now=clock.now())


def stands(account: Account) -> tuple[int, int]:
    wallet = Wallet.objects.get(account=account)
    return wallet.balance, wallet.debt


def charge_of(shop: Shop) -> str:
    return str(next(iter(shop.stripe.store.all("charge")))["id"])


def refund(shop: Shop, minor: int | None = None) -> None:
    how: dict[str, Any] = {} if minor is None else {"amount": minor}
    stripe.Refund.create(charge=charge_of(shop), **how)


def dispute(shop: Shop) -> str:
    return str(refunds_and_disputes.open_dispute(shop.stripe, charge_of(shop))["id"])


def agrees() -> bool:
    return not list(audit.all_disagreements())


@pytest.mark.parametrize(("spent", "left"), [(0, 0), (5, 0), (20, 0)])
def test_a_full_refund_takes_what_is_left_and_makes_no_debt(
    shop: Shop, bought: Order, customer: Account, spent: int, left: int
) -> None:
    spend(customer, spent)
    refund(shop)
    shop.deliver(copies=3)

    assert stands(customer) == (left, 0)
    bought.refresh_from_db()
    assert (bought.refunded_minor, shop.failures()) == (500, [])
    assert agrees()


def test_refunds_in_parts_take_their_part_rounded_down(shop: Shop, bought: Order, customer: Account) -> None:
    for minor, left in ((99, 17), (1, 16), (400, 0)):
        refund(shop, minor)
        shop.deliver()
        assert stands(customer) == (left, 0)


def test_what_was_spent_is_taken_when_it_comes_back(shop: Shop, bought: Order, customer: Account) -> None:
    """github.com/elizaOS/eliza/issues/10920: a refund, and then a job that failed gives its credits back."""
    spend(customer, 15)
    refund(shop, 250)  # half: 10 credits, of which 5 are left
    shop.deliver()
    assert stands(customer) == (0, 0)

    spent = selectors.transactions(customer.pk).filter(kind="spend").first()
    assert spent is not None
    ledger.reverse(
        account_id=customer.pk, transaction_id=spent.pk, idempotency_key="r", reason="It failed", now=clock.now()
    )
    for event in list(shop.stripe.store.all("event")):
        inbox.replay(event_id=event["id"], now=clock.now())

    assert stands(customer) == (10, 0)  # half of the money is here, and half of the credits
    assert agrees()


@pytest.mark.parametrize("how", ["released", "lapsed", "captured for less"])
def test_what_was_held_is_taken_when_it_is_not_used(shop: Shop, bought: Order, customer: Account, how: str) -> None:
    """github.com/elizaOS/eliza/issues/22930: a refund while a hold is open."""
    now = clock.now()
    hold = ledger.hold(
        account_id=customer.pk, amount=15, idempotency_key="h", expires_at=now + timedelta(hours=1), now=now
    )
    refund(shop)
    shop.deliver()
    assert stands(customer) == (0, 0)

    if how == "released":
        ledger.release(account_id=customer.pk, hold_id=hold.hold_id, now=clock.now())
    elif how == "captured for less":
        ledger.capture(account_id=customer.pk, hold_id=hold.hold_id, cost=4, now=clock.now())
    else:
        shop.advance(hours=2)
        ledger.settle(account_id=customer.pk, now=clock.now())

    assert stands(customer) == (0, 0)
    assert agrees()


def test_failed_refund_restores_later_clawbacks_too(shop: Shop, bought: Order, customer: Account) -> None:
    """docs.stripe.com/refunds#failed-refunds: the bank sends the money back, and `amount_refunded` is less again."""
    spend(customer, 15)
    refund(shop)
    shop.deliver()
    spent = selectors.transactions(customer.pk).filter(kind="spend").first()
    assert spent is not None
    ledger.reverse(account_id=customer.pk, transaction_id=spent.pk, idempotency_key="r", reason="r", now=clock.now())
    assert stands(customer) == (0, 0)

    charge = shop.stripe.get("charge", charge_of(shop))
    charge |= {"amount_refunded": 0, "refunded": False}
    shop.stripe.emit("charge.updated", charge)
    clawbacks.reconcile_payment(
        paid=[clawbacks.PaidCharge(charge=charge, disputes=[])],
        origin=shop.stripe.get("checkout.session", bought.stripe_session_id or ""),
        now=clock.now(),
    )

    assert stands(customer) == (20, 0)
    assert agrees()


def test_a_refund_of_less_than_a_credit_is_settled(shop: Shop, bought: Order, customer: Account) -> None:
    refund(shop, 20)
    shop.deliver()

    assert stands(customer) == (20, 0)
    assert not list(comparison.differences(since=clock.now() - timedelta(days=1)))


def test_a_share_is_of_the_invoice_and_not_of_one_charge(shop: Shop, customer: Account) -> None:
    """getlago/lago-api#4805: a part from the balance, the rest by card; and two charges on one invoice."""
    shop.pay(shop.checkout(customer, item="pro"))
    shop.deliver()
    (bill,) = shop.stripe.store.all("invoice")
    first = dict(shop.stripe.get("charge", charge_of(shop))) | {"amount": 1000, "amount_refunded": 1000}
    second = first | {"id": "ch_second", "amount": 500, "amount_refunded": 0}
    paid = [clawbacks.PaidCharge(charge=charge, disputes=[]) for charge in (first, second)]

    for back, left in ((0, 50), (250, 38), (500, 25), (0, 50)):
        second["amount_refunded"] = back
        clawbacks.reconcile_payment(paid=paid, origin=dict(bill), now=clock.now())
        assert Grant.objects.get(source=Source.PLAN).remaining == left


@pytest.mark.parametrize("spent", [0, 7, 20])
@pytest.mark.parametrize("outcome", ["won", "lost"])
@pytest.mark.parametrize("refunded", [0, 100, 250])
@pytest.mark.parametrize("how", [{}, {"order": "reversed"}, {"order": "shuffled", "seed": 4, "copies": 3}], ids=str)
def test_refund_and_dispute_order_does_not_matter(  # noqa: PLR0917 - pytest passes them
    shop: Shop, bought: Order, customer: Account, spent: int, outcome: str, refunded: int, how: dict[str, Any]
) -> None:
    """Fifty-four cases: what was spent x how it ended x what was refunded before x how the webhooks came."""
    spend(customer, spent)
    if refunded:
        refund(shop, refunded)
    refunds_and_disputes.close_dispute(shop.stripe, dispute(shop), outcome)
    shop.deliver(**how)
    shop.deliver()

    by_refund = min(20 * refunded // 500, 20 - spent)
    if outcome == "won":
        expected = (20 - spent - by_refund, 0)
    else:
        to_take = 20 - 20 * refunded // 500
        left = 20 - spent - by_refund
        expected = (left - min(left, to_take), to_take - min(left, to_take))
    assert stands(customer) == expected
    assert agrees()


def test_open_dispute_takes_remaining_credits_and_won_restores(shop: Shop, bought: Order, customer: Account) -> None:
    spend(customer, 5)
    opened = dispute(shop)
    shop.deliver()
    assert stands(customer) == (0, 0)
    bought.refresh_from_db()
    assert bought.is_disputed

    refunds_and_disputes.close_dispute(shop.stripe, opened, "won")
    shop.deliver()

    assert stands(customer) == (15, 0)
    bought.refresh_from_db()
    assert not bought.is_disputed


def test_a_lost_dispute_is_owed_and_the_next_purchase_pays_it(shop: Shop, bought: Order, customer: Account) -> None:
    spend(customer, 5)
    refunds_and_disputes.close_dispute(shop.stripe, dispute(shop), "lost")
    shop.deliver()
    assert stands(customer) == (0, 5)

    shop.pay(shop.checkout(customer, key="again"))
    shop.deliver()

    assert stands(customer) == (15, 0)


def test_refund_before_its_purchase_ends_the_same(shop: Shop, customer: Account) -> None:
    order = shop.checkout(customer)
    shop.pay(order)
    refund(shop)
    shop.deliver(order="reversed")

    order.refresh_from_db()
    assert (order.status, order.refunded_minor) == ("completed", 500)
    assert stands(customer) == (FREE, 0)
    assert shop.failures() == []


def test_a_refunded_month_of_a_plan_is_taken_back(shop: Shop, customer: Account) -> None:
    shop.pay(shop.checkout(customer, item="pro"))
    shop.deliver()

    refund(shop, 1000)
    shop.deliver()

    assert Grant.objects.get(source=Source.PLAN).remaining == 50


def test_a_charge_of_a_stranger_is_kept_and_takes_nothing(shop: Shop, bought: Order, customer: Account) -> None:
    other = stripe.Customer.create(email="eve@example.com")
    row = shop.stripe.get("checkout.session", bought.stripe_session_id or "")
    shop.stripe.changed("checkout.session", row | {"customer": other.id})
    refund(shop)
    shop.deliver()

    assert stands(customer) == (20, 0)
    assert not Clawback.objects.exists()
    assert any("FulfilmentError" in failure for failure in shop.failures())


def test_every_step_is_in_the_ledger_with_its_cause(shop: Shop, bought: Order, customer: Account) -> None:
    refund(shop, 250)
    shop.deliver()
    opened = dispute(shop)
    shop.deliver()
    refunds_and_disputes.close_dispute(shop.stripe, opened, "won")
    shop.deliver()

    reported = selectors.transactions(customer.pk).filter(kind__in=("revoke", "restore")).order_by("id")
    words = [(row.kind, row.amount, row.description.partition(":")[0]) for row in reported]
    assert words == [("revoke", -10, "Refund"), ("revoke", -10, "Dispute"), ("restore", 10, "Dispute")]


class TestYears:
    """A year that is paid comes by the month: what went back of its money is not given any more."""

    @pytest.fixture
    def year(self, shop: Shop, customer: Account) -> Account:
        """Ada paid EUR 200 for a year of Pro, 100 credits a month."""
        started = start(customer, price=price_list.find_price(item="pro", interval="year"))
        shop.pay(started.order)
        shop.deliver()
        return customer

    def month(self, shop: Shop, account: Account) -> int:
        shop.advance(days=31)
        shop.deliver()
        selectors.balance(account_id=account.pk, now=clock.now())
        rows = Grant.objects.filter(account=account, source=Source.PLAN, is_open=True)
        return sum(rows.values_list("remaining", flat=True))

    @pytest.mark.parametrize(("minor", "left"), [(5000, 75), (10000, 50), (19998, 1), (20000, 0)])
    def test_what_is_refunded_is_missing_from_every_month(
        self, shop: Shop, year: Account, minor: int, left: int
    ) -> None:
        refund(shop, minor)
        shop.deliver()

        assert [self.month(shop, year) for _ in range(3)] == [left] * 3
        assert agrees()
        assert not list(comparison.differences(since=clock.now() - timedelta(days=200)))

    def test_what_expired_unused_is_not_owed(self, shop: Shop, year: Account) -> None:
        """The bank takes the year back in its third month: what was used of it is owed, and no more."""
        for number in range(2):
            spend(year, FREE + 20, f"s{number}")
            self.month(shop, year)
        refunds_and_disputes.close_dispute(shop.stripe, dispute(shop), "lost")
        shop.deliver()

        assert stands(year)[1] == 20 + 20
        assert agrees()

    def test_while_a_bank_decides_nothing_is_given_and_then_it_is(self, shop: Shop, year: Account) -> None:
        opened = dispute(shop)
        shop.deliver()
        assert self.month(shop, year) == 0

        refunds_and_disputes.close_dispute(shop.stripe, opened, "won")
        shop.deliver()

        assert self.month(shop, year) == 100
        assert agrees()

    def test_refunded_upgrade_leaves_what_the_year_pays_for(self, shop: Shop, year: Account) -> None:
        price = price_list.find_price(item="studio", interval="year")
        plan_changes.change(account=year, price=price, now=clock.now())
        shop.deliver()
        upgrade = list(shop.stripe.store.all("charge"))[-1]
        stripe.Refund.create(charge=upgrade["id"])
        shop.deliver()

        assert [self.month(shop, year) for _ in range(3)] == [100] * 3

    def test_refunded_year_leaves_what_its_upgrade_pays_for(self, shop: Shop, year: Account) -> None:
        price = price_list.find_price(item="studio", interval="year")
        plan_changes.change(account=year, price=price, now=clock.now())
        shop.deliver()
        refund(shop)
        shop.deliver()

        assert [self.month(shop, year) for _ in range(3)] == [300] * 3


class TestCreditNotes:
    """getlago/lago-api#559: an invoice that is lowered afterwards, by a refund, a balance, or outside of Stripe."""

    @pytest.fixture
    def bill(self, shop: Shop, customer: Account) -> str:
        """Ada paid EUR 20.00 for a month of Pro, 100 credits."""
        shop.pay(shop.checkout(customer, item="pro"))
        shop.deliver()
        return str(next(iter(shop.stripe.store.all("invoice")))["id"])

    def left(self) -> int:
        return Grant.objects.get(source=Source.PLAN).remaining

    @pytest.mark.parametrize(
        "ways",
        [{"credit_amount": 500}, {"out_of_band_amount": 500}, {"refund_amount": 500},
         {"credit_amount": 200, "refund_amount": 200, "out_of_band_amount": 100}],
        ids=str,
    )  # fmt: skip
    def test_a_quarter_of_the_invoice_is_a_quarter_of_the_credits(
        self, shop: Shop, customer: Account, bill: str, ways: dict[str, Any]
    ) -> None:
        stripe.CreditNote.create(invoice=bill, amount=500, **ways)
        shop.deliver(copies=2, order="shuffled", seed=3)

        assert (self.left(), shop.failures()) == (75, [])
        record = PaymentRecord.objects.get()
        assert (record.refunded_minor, record.credited_minor) == (500, 500 - ways.get("refund_amount", 0))
        (books_,) = books.at(clock.now() + timedelta(seconds=1))
        assert (books_.paid, books_.refunded, books_.difference) == (2000, 500, 0)
        assert not list(comparison.differences(since=clock.now() - timedelta(days=1)))

    def test_one_that_is_voided_takes_nothing(self, shop: Shop, customer: Account, bill: str) -> None:
        note = stripe.CreditNote.create(invoice=bill, amount=500, credit_amount=500)
        shop.deliver()
        stripe.CreditNote.void_credit_note(note.id)
        shop.deliver()

        assert self.left() == 100

    def test_one_that_nobody_told_of_is_found(self, shop: Shop, customer: Account, bill: str) -> None:
        stripe.CreditNote.create(invoice=bill, amount=500, credit_amount=500)
        (result,) = comparison.differences(since=clock.now() - timedelta(days=1))
        assert result.problem == "500 taken off by credit notes, here 0"
        assert comparison.repair(result, now=clock.now())

        assert self.left() == 75
        assert not list(comparison.differences(since=clock.now() - timedelta(days=1)))

    def test_what_it_put_on_the_balance_pays_the_renewal_whole(self, shop: Shop, customer: Account, bill: str) -> None:
        stripe.CreditNote.create(invoice=bill, amount=500, credit_amount=500)
        shop.advance(days=32)
        shop.deliver()

        charges = [row["amount"] for row in shop.stripe.store.all("charge")]
        assert charges == [2000, 1500]
        assert Grant.objects.filter(source=Source.PLAN, is_open=True).get().remaining == 100
        (books_,) = books.at(clock.now() + timedelta(seconds=1))
        assert (books_.paid, books_.refunded, books_.difference) == (4000, 500, 0)


def test_preview_of_a_second_refund_says_what_it_takes_more(shop: Shop, customer: Account) -> None:
    """Of a year with 100 credits a month, a tenth went back: a further tenth takes ten more of each month."""
    shop.pay(start(customer, price=price_list.find_price(item="pro", interval="year")).order)
    shop.deliver()
    refund(shop, 2_000)
    shop.deliver()
    payment = PaymentRecord.objects.get()

    shown = refunds.preview(payment, amount_minor=2_000, source_key=f"stripe:invoice:{payment.origin_id}")

    assert (shown.a_month, shown.taken_now, shown.months) == (10, 10, 11)


@pytest.mark.parametrize("minor", [0, -1, 501])
def test_refund_of_nothing_or_too_much_reaches_no_provider(shop: Shop, bought: Order, minor: int) -> None:
    with pytest.raises(RefundRefusedError):
        refunds.refund(order=bought, amount_minor=minor, reason="r", actor="t", idempotency_key="1", now=clock.now())

    assert list(shop.stripe.store.all("refund")) == []


def test_charge_is_reconciled_as_it_stood_only(shop: Shop, bought: Order, customer: Account) -> None:
    refund(shop, 100)
    shop.deliver()
    (charge,) = shop.stripe.store.all("charge")

    assert clawbacks.is_reconciled(charge, [])
    assert not clawbacks.is_reconciled({**charge, "amount_refunded": 200}, [])
    assert not clawbacks.is_reconciled({**charge, "id": "ch_other"}, [])
