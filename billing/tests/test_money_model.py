"""Random lives of three customers, with their money, against an oracle that shares no code with billing.

A couple of hundred steps each run; `MONEY_STEPS=100000`, as nightly, makes it a hundred thousand. A failure says its
seed and what was done.
"""

import os
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import stripe
from django.test import override_settings

from accounts.models import Account, User
from accounts.opening import personal_account
from billing.catalogue import price_list, price_sync
from billing.customers import closing, merging
from billing.errors import BillingError
from billing.models import Plan, Price, Subscription
from billing.payments import books
from billing.reconciliation import comparison
from billing.subscriptions import plan_changes
from billing.tests.conftest import Shop
from billing.tests.money_oracle import Oracle
from billing.tests.test_checkout import start
from common import clock
from credits import audit, ledger, selectors
from credits.errors import CreditsError
from credits.models import Transaction
from sandbox.local_stripe import events, pages, refunds_and_disputes
from sandbox.local_stripe.checkout import Outcome
from sandbox.local_stripe.errors import StripeApiError

STEPS = int(os.environ.get("MONEY_STEPS", "180"))
STEPS_OF_A_LIFE = 60
LOOKED_AT = 6  # steps between two looks of the oracle


class Lives:
    """Three customers, and what they, their banks and the operators do next."""

    def __init__(self, shop: Shop, seed: int) -> None:
        self.shop, self.dice, self.done = shop, random.Random(seed), []  # type: ignore[var-annotated]
        # On the same day of the year, whenever it runs: one seed is one life.
        now = clock.now()
        begins = datetime(now.year + 1, 1, 20, 9, 30, tzinfo=UTC)
        shop.advance(seconds=int((begins - now).total_seconds()))
        self.accounts = [self._open(name) for name in ("ada", "bob", "cleo")]
        for code, credits in (("team", 400), ("solo", 40)):
            product = stripe.Product.create(
                id=f"tegoed_plan_{code}", name=code.title(),
                metadata={"tegoed_kind": "plan", "tegoed_code": code, "included_credits": str(credits)},
            )  # fmt: skip
            for interval, months in (("month", 1), ("year", 10)):
                recurring: Any = {"interval": interval}
                stripe.Price.create(
                    product=product.id, currency="eur", unit_amount=credits * 13 * months, recurring=recurring
                )
        price_sync.pull()
        Plan.objects.filter(code="solo").update(trial_days=7, trial_credits=15)
        prices = Price.objects.filter(plan__isnull=False).select_related("plan")
        monthly = {price.stripe_price_id: price.plan.monthly_credits for price in prices if price.plan}
        self.oracle = Oracle(shop.stripe, monthly)
        self.holds: list[tuple[Account, ledger.HoldResult]] = []
        self.spends: list[tuple[Account, ledger.SpendResult]] = []
        self.number = 0

    def _open(self, name: str) -> Account:
        user = User.objects.create_user(f"{name}@example.com", f"{name}@example.com")
        return personal_account(user=user, now=clock.now())

    def step(self) -> None:
        weighted: list[tuple[Callable[[], Any], int]] = [
            (self.buy, 5), (self.subscribe, 3), (self.upgrade, 3), (self.spend, 10), (self.hold, 4),
            (self.release, 2), (self.capture, 2), (self.reverse, 4), (self.refund, 5), (self.dispute, 3),
            (self.decide, 3), (self.advance, 5), (self.merge, 1), (self.hear, 5), (self.seats, 1), (self.stop, 1),
            (self.credit, 1), (self.close, 1), (self.lower, 1),
        ]  # fmt: skip
        act = self.dice.choices([act for act, _ in weighted], [weight for _, weight in weighted])[0]
        self.number += 1
        try:
            reported = act()
        except (BillingError, CreditsError, stripe.StripeError, StripeApiError) as refusal:
            reported = f"refused: {refusal}"
        self.done.append(f"{act.__name__}: {reported}")

    def _anyone(self) -> Account:
        return self.dice.choice([account for account in self.accounts if account.closed_at is None])

    # --- customers ------------------------------------------------------------------------------

    def buy(self) -> str:
        account, item = self._anyone(), self.dice.choice(["credits-20", "credits-50"])
        outcome = self.dice.choices([Outcome.SUCCESS, Outcome.DELAYED_SUCCESS, Outcome.ABANDON], [6, 2, 1])[0]
        self.shop.pay(start(account, item=item, key=f"b{self.number}", quantity=self.dice.randint(1, 2)).order, outcome)
        return f"{account} {item} {outcome}"

    def subscribe(self) -> str:
        account, interval = self._anyone(), self.dice.choice(["month", "year"])
        item = self.dice.choice(["solo", "pro", "team"])
        price = price_list.find_price(item=item, interval=interval)
        self.shop.pay(start(account, price=price, key=f"p{self.number}").order)
        self._deliver()
        return f"{account} {item} {interval}"

    def upgrade(self) -> str:
        self._deliver()
        account, item = self._anyone(), self.dice.choice(["pro", "team"])
        interval = plan_changes.running(account).price.interval if self.dice.random() < 0.8 else "year"
        price = price_list.find_price(item=item, interval=interval)
        plan_changes.change(account=account, price=price, now=clock.now())
        return f"{account} {item} {interval}"

    def seats(self) -> str:
        """More of the same plan, in the dashboard."""
        self._deliver()
        current = plan_changes.running(self._anyone())
        item = stripe.Subscription.retrieve(current.stripe_subscription_id)["items"]["data"][0]
        stripe.Subscription.modify(
            current.stripe_subscription_id,
            items=[{"id": item["id"], "quantity": item["quantity"] + 1}],
            proration_behavior="always_invoice",
        )
        self._deliver()
        return f"{current.account} {item['quantity'] + 1}"

    def stop(self) -> str:
        self._deliver()
        account = self._anyone()
        (plan_changes.cancel if self.dice.random() < 0.5 else plan_changes.cancel_now)(account=account, now=clock.now())
        return str(account)

    def spend(self) -> str:
        account, amount = self._anyone(), self.dice.randint(1, 60)
        created = ledger.spend(account_id=account.pk, amount=amount, idempotency_key=f"s{self.number}", now=clock.now())
        self.oracle.spent(created.lots)
        self.spends.append((account, created))
        return f"{account} {amount}"

    def hold(self) -> str:
        account, amount = self._anyone(), self.dice.randint(1, 60)
        now = clock.now()
        on_hold = ledger.hold(
            account_id=account.pk, amount=amount, idempotency_key=f"h{self.number}", now=now,
            expires_at=now + timedelta(hours=self.dice.randint(1, 20)),
        )  # fmt: skip
        self.oracle.set_aside(on_hold.lots)
        self.holds.append((account, on_hold))
        return f"{account} {amount}"

    def _a_hold(self) -> tuple[Account, ledger.HoldResult]:
        self._lapse()
        if not self.holds:
            raise CreditsError("no hold")
        return self.holds.pop(self.dice.randrange(len(self.holds)))

    def _lapse(self) -> None:
        for account, on_hold in list(self.holds):
            if on_hold.expires_at <= clock.now():
                self.oracle.set_aside(on_hold.lots, -1)
                self.holds.remove((account, on_hold))

    def release(self) -> str:
        account, on_hold = self._a_hold()
        ledger.release(account_id=account.pk, hold_id=on_hold.hold_id, now=clock.now())
        self.oracle.set_aside(on_hold.lots, -1)
        return f"{account} {on_hold.amount}"

    def capture(self) -> str:
        account, on_hold = self._a_hold()
        cost = self.dice.randint(1, on_hold.amount + 10)
        created = ledger.capture(account_id=account.pk, hold_id=on_hold.hold_id, cost=cost, now=clock.now())
        self.oracle.set_aside(on_hold.lots, -1)
        self.oracle.spent(created.lots)
        return f"{account} {created.captured} of {on_hold.amount}"

    def reverse(self) -> str:
        if not self.spends:
            raise CreditsError("nothing was spent")
        account, created = self.spends.pop(self.dice.randrange(len(self.spends)))
        amount = None if self.dice.random() < 0.5 else self.dice.randint(1, -created.amount)
        back = ledger.reverse(
            account_id=account.pk, transaction_id=created.transaction_id, amount=amount,
            idempotency_key=f"r{self.number}", reason="It failed", now=clock.now(),
        )  # fmt: skip
        for entry in back.transaction.entries.select_related("grant"):
            self.oracle.used[entry.grant.source_key] -= entry.amount
        return f"{account} {amount} of {-created.amount}"

    # --- their money ----------------------------------------------------------------------------

    def _a_charge(self) -> dict[str, Any]:
        charges = [row for row in self.shop.stripe.store.all("charge") if row["status"] == "succeeded"]
        if not charges:
            raise CreditsError("nothing was paid")
        return self.dice.choice(charges)

    def refund(self) -> str:
        charge = self._a_charge()
        left = charge["amount"] - charge["amount_refunded"]
        minor = left if self.dice.random() < 0.4 else self.dice.randint(1, max(1, left))
        stripe.Refund.create(charge=charge["id"], amount=minor)
        return f"{minor} of {charge['amount']} ({charge['id']})"

    def dispute(self) -> str:
        return str(refunds_and_disputes.open_dispute(self.shop.stripe, self._a_charge()["id"])["charge"])

    def decide(self) -> str:
        waiting = [row for row in self.shop.stripe.store.all("dispute") if row["status"] == "needs_response"]
        if not waiting:
            raise CreditsError("no dispute")
        row, outcome = self.dice.choice(waiting), self.dice.choice(["won", "lost"])
        refunds_and_disputes.close_dispute(self.shop.stripe, row["id"], outcome)
        return f"{row['charge']} {outcome}"

    def credit(self) -> str:
        """A cheaper plan at once, in the dashboard: the rest of the dearer one becomes a balance at Stripe."""
        self._deliver()
        current = plan_changes.running(self._anyone())
        item = {"team": "pro", "pro": "solo"}.get(current.price.plan.code)  # type: ignore[union-attr]
        if item is None or current.status != Subscription.Status.ACTIVE or current.stripe_schedule_id:
            raise CreditsError("nothing cheaper")
        price = price_list.find_price(item=item, interval=current.price.interval)
        pages.change_subscription(self.shop.stripe, current.stripe_subscription_id, "switch", price.stripe_price_id)
        self._deliver()
        return f"{current.account} {item}"

    def lower(self) -> str:
        """A credit note: to the balance, outside of Stripe, or taken back."""
        notes = [
            row for row in self.shop.stripe.store.all("credit_note") if row["status"] == "issued" and not row["refunds"]
        ]
        if notes and self.dice.random() < 0.3:
            return str(stripe.CreditNote.void_credit_note(self.dice.choice(notes)["id"]).id)
        paid = [row for row in self.shop.stripe.store.all("invoice") if row["status"] == "paid" and row["total"] > 0]
        if not paid:
            raise CreditsError("no invoice")
        bill, way = self.dice.choice(paid), self.dice.choice(["credit_amount", "out_of_band_amount"])
        minor = self.dice.randint(1, max(1, (bill["total"] - self.oracle.gone(bill["id"])[0]) // 2))
        how: dict[str, Any] = {way: minor}
        stripe.CreditNote.create(invoice=bill["id"], amount=minor, **how)
        return f"{minor} of {bill['total']} {way}"

    # --- operators, time and webhooks -----------------------------------------------------------

    def merge(self) -> str:
        if self.dice.random() < 0.5:
            self._deliver()
        source, target = self.dice.sample(self.accounts, 2)
        if source.closed_at or target.closed_at:
            raise CreditsError("closed")
        merging.merge(source=source, target=target, key=f"m{self.number}", actor="test", now=clock.now())
        for account in self.accounts:
            account.refresh_from_db()
        self.spends = [row for row in self.spends if row[0].pk != source.pk]
        return f"{source} into {target}"

    def close(self) -> str:
        """Rarely, and never the last one; what was on its way may still arrive."""
        still_open = [account for account in self.accounts if account.closed_at is None]
        if len(still_open) < 2 or self.dice.random() < 0.5:
            raise CreditsError("not now")
        account = self.dice.choice(still_open)
        closing.close_account(account=account, user=account.memberships.get(is_personal=True).user, now=clock.now())
        account.refresh_from_db()
        for row in [row for row in self.holds if row[0].pk == account.pk]:
            self.oracle.set_aside(row[1].lots, -1)
            self.holds.remove(row)
        self.spends = [row for row in self.spends if row[0].pk != account.pk]
        return str(account.pk)

    def advance(self) -> str:
        span = self.dice.choice([{"hours": 3}, {"days": 1}, {"days": 11}, {"days": 32}])
        self.shop.advance(**span)
        return str(span)

    def hear(self) -> str:
        """Webhooks come twice, in any order, and some never."""
        waiting = list(self.shop.stripe.store.all(events.DELIVERY))
        if self.dice.random() < 0.3:
            for row in self.dice.sample(waiting, len(waiting) // 3):
                self.shop.stripe.store.remove(events.DELIVERY, row["id"])
        how = {"order": self.dice.choice(["fifo", "reversed", "shuffled"]), "copies": self.dice.randint(1, 2)}
        self.shop.deliver(**how, seed=self.number)
        return str(how)

    def _deliver(self) -> None:
        for _ in range(3):
            self.shop.deliver()

    def look(self) -> list[str]:
        """Hear of everything, mend what was lost, and ask the oracle."""
        self._deliver()
        since = clock.now() - timedelta(days=1000)
        for result in list(comparison.differences(since=since)):
            comparison.repair(result, now=clock.now())
        self._deliver()
        self._lapse()
        for account in self.accounts:
            selectors.balance(account_id=account.pk, now=clock.now())
        problems = [f"{row.kind} {row.object_id}: {row.problem}" for row in comparison.differences(since=since)]
        problems += self.oracle.problems(clock.now()) + self.oracle.wrongly_deferred()
        problems += list(books.problems(clock.now() + timedelta(seconds=1)))
        problems += [str(row) for row in audit.all_disagreements()]
        paid, back = self.oracle.paid_and_back()
        for row in books.at(clock.now() + timedelta(seconds=1)):
            if (row.paid, row.refunded) != (paid, back):
                problems.append(f"{row.paid} paid and {row.refunded} back in the books, {paid} and {back} at Stripe")
        return problems


@pytest.mark.django_db
@pytest.mark.parametrize("seed", range(max(1, STEPS // STEPS_OF_A_LIFE)))
def test_what_remains_of_each_payment_is_what_the_oracle_says(shop: Shop, seed: int) -> None:
    with override_settings(END_DUPLICATE_SUBSCRIPTIONS=False):
        lives = Lives(shop, seed)
        for number in range(STEPS_OF_A_LIFE):
            lives.step()
            if number % LOOKED_AT == LOOKED_AT - 1 and (problems := lives.look()):
                reported = "\n".join([*lives.done, "---", *problems])
                pytest.fail(f"seed {seed}, after {number + 1} steps:\n{reported}", pytrace=False)
    assert Transaction.objects.exists()
