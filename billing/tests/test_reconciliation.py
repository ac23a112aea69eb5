"""What no webhook reported is found by asking Stripe, and repaired; what Stripe does not know is left to a person."""

import json
from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
import stripe
from django.core.management import CommandError, call_command

from accounts.models import Account
from billing import tasks
from billing.models import InboxEvent, Order
from billing.reconciliation import comparison
from billing.tests.conftest import Shop
from common import clock
from credits import audit, ledger
from credits.models import Grant, Source, Wallet
from sandbox.local_stripe import refunds_and_disputes
from sandbox.local_stripe.checkout import Outcome

FREE = 8


def differences() -> list[str]:
    since = clock.now() - timedelta(days=30)
    return sorted(f"{row.kind}: {row.problem}" for row in comparison.differences(since=since))


def repair() -> str:
    out = StringIO()
    call_command("reconcile", "--repair", "--days", "30", stdout=out)
    return out.getvalue()


def test_where_every_webhook_came_there_is_no_difference(shop: Shop, customer: Account) -> None:
    shop.pay(shop.checkout(customer, key="pack"))
    shop.pay(shop.checkout(customer, item="pro", key="plan"))
    shop.deliver()
    stripe.Refund.create(charge=_charge(shop, 500), amount=100)
    shop.deliver()

    assert differences() == []
    assert "agree (0 differences, 0 mended)" in repair()


def test_three_days_without_any_webhook_are_made_up_for(shop: Shop, customer: Account) -> None:
    pack, other = shop.checkout(customer, key="a"), shop.checkout(customer, item="credits-50", key="b")
    plan, left = shop.checkout(customer, item="pro", key="c"), shop.checkout(customer, key="d")
    for order in (pack, other, plan):
        shop.pay(order)
    shop.pay(left, Outcome.ABANDON)
    stripe.Refund.create(charge=_charge(shop, 1000), amount=500)
    refunds_and_disputes.close_dispute(
        shop.stripe, refunds_and_disputes.open_dispute(shop.stripe, _charge(shop, 500))["id"], "lost"
    )
    shop.advance(days=3)
    assert not InboxEvent.objects.exists()

    assert differences() == [
        "charge: 0 refunded; 500 disputed: lost; credits are not in line with it",
        "charge: 500 refunded; credits are not in line with it",
        "checkout.session: is complete, and its order still waits",
        "checkout.session: is expired, and its order still waits",
        "checkout.session: paid, and not granted",
        "checkout.session: paid, and not granted",
        "invoice: paid, and its credits are not promised",
        "subscription: is not known here",
    ]
    assert "agree (8 differences, 8 mended)" in repair()

    statuses = dict(Order.objects.values_list("idempotency_key", "status"))
    assert statuses == {"a": "completed", "b": "completed", "c": "completed", "d": "expired"}
    assert Wallet.objects.get(account=customer).balance == 3 + 5 + 25 + 100
    assert list(audit.all_disagreements()) == []

    shop.deliver(order="shuffled", copies=2)  # and then they come after all
    assert Wallet.objects.get(account=customer).balance == 3 + 5 + 25 + 100
    assert differences() == []


def test_without_repair_it_tells_and_changes_nothing(shop: Shop, customer: Account) -> None:
    shop.pay(shop.checkout(customer))
    out = StringIO()

    with pytest.raises(CommandError, match="--repair") as caught:
        call_command("reconcile", "--json", stdout=out)

    assert caught.value.returncode == 1
    assert json.loads(out.getvalue())["problem"] == "paid, and not granted"
    assert not Grant.objects.filter(source=Source.PURCHASE).exists()


def test_a_grant_without_a_payment_is_told_and_left_to_a_person(shop: Shop, customer: Account) -> None:
    ledger.grant(
        account_id=customer.pk,
        amount=20,
        source=Source.PURCHASE,
        source_key="stripe:session:cs_test_forged",
        now=clock.now(),
    )

    assert differences() == ["checkout.session: credits were granted, and Stripe knows of no payment"]
    with pytest.raises(CommandError, match="1 left"):
        repair()
    assert Wallet.objects.get(account=customer).balance == FREE + 20


def test_a_payment_of_before_the_span_is_no_difference(shop: Shop, customer: Account) -> None:
    shop.pay(shop.checkout(customer))
    shop.deliver()
    Grant.objects.filter(source=Source.PURCHASE).update(effective_at=clock.now() + timedelta(days=39))
    shop.advance(days=40)

    assert differences() == []


def test_beat_mends_by_itself_and_says_what_it_could_not(
    shop: Shop, customer: Account, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.pay(shop.checkout(customer))
    reported: list[tuple[str, Any]] = []
    for level in ("warning", "error"):
        monkeypatch.setattr(tasks.logger, level, _teller(reported, level))

    tasks.reconcile()

    assert Grant.objects.get(source=Source.PURCHASE).amount == 20
    assert reported == [("warning", "reconciliation_mended")]


def _teller(told: list[tuple[str, Any]], level: str) -> Callable[..., None]:
    return lambda event, **_about: told.append((level, event))


def _charge(shop: Shop, amount: int) -> str:
    return next(str(row["id"]) for row in shop.stripe.store.all("charge") if row["amount"] == amount)
