"""What was missed, lost or never received: fetched, replayed, rebuilt, and reported to an operator."""

from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
import stripe
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client

from accounts import opening
from accounts.models import Account, User
from billing import tasks
from billing.catalogue import price_list
from billing.checkout import purchases, top_ups
from billing.errors import LedgerNotEmptyError
from billing.models import (
    Clawback,
    InboxEvent,
    MoneyStep,
    Order,
    PaidInvoice,
    PaymentRecord,
    Price,
    Promotion,
    SettledCharge,
    StripeCustomer,
    Subscription,
)
from billing.payments import books
from billing.reconciliation import rebuilding
from billing.tests.conftest import Shop
from billing.tests.test_checkout import start
from billing.tests.test_plan_changes import big, change  # noqa: F401 - a fixture
from billing.webhooks import inbox, webhook_monitor
from common import clock
from credits import audit, ledger
from credits.models import Grant, Source
from outbox.models import Alert
from sandbox.local_stripe import events, payments, refunds_and_disputes
from sandbox.local_stripe.checkout import Outcome


def run(command: str, *arguments: str) -> str:
    out = StringIO()
    call_command(command, *arguments, stdout=out)
    return out.getvalue()


def open_alerts() -> list[str]:
    return sorted(Alert.objects.filter(resolved_at=None).values_list("kind", flat=True))


# --- replaying -------------------------------------------------------------------------------------


def test_events_that_never_came_in_are_fetched(shop: Shop, customer: Account) -> None:
    shop.pay(shop.checkout(customer, key="a"))
    shop.deliver()
    shop.pay(shop.checkout(customer, key="b"))
    events.hold(shop.stripe, is_on=True)
    since = (clock.now() - timedelta(days=1)).date().isoformat()
    missing = len(list(shop.stripe.store.all("event"))) - InboxEvent.objects.count()

    assert f"{missing} events never came in" in run("replay_events", "--since", since, "--dry-run")
    assert run("replay_events", "--since", since).startswith(f"{missing} fetched")

    assert Grant.objects.filter(source=Source.PURCHASE).count() == 2
    assert run("replay_events", "--since", since) == "0 fetched; nothing to do.\n"
    assert "processed" in run("replay_events", "--since", since, "--all", "--offline")
    assert Grant.objects.filter(source=Source.PURCHASE).count() == 2


def test_replay_command_retries_failed_events_and_sets_exit_code(shop: Shop, customer: Account) -> None:
    price_id = Price.objects.get(pack__code="credits-20").stripe_price_id
    order = shop.checkout(customer, item="pro")
    shop.pay(order)
    pro = Price.objects.get(plan__code="pro", interval="month")
    Price.objects.filter(pk=pro.pk).update(stripe_price_id="price_gone")
    shop.deliver()
    assert "unplaced" in open_alerts()
    with pytest.raises(CommandError, match="Some failed"):
        run("replay_events", "--since", "2020-01-01", "--offline")

    Price.objects.filter(pk=pro.pk).update(stripe_price_id=pro.stripe_price_id)
    assert "failed" not in run("replay_events", "--since", "2020-01-01T00:00Z", "--offline")

    assert (open_alerts(), price_id[:5]) == ([], "price")
    order.refresh_from_db()
    assert order.status == "completed"


@pytest.mark.parametrize("text", ["yesterday", "2026-13-01", ""])
def test_a_moment_that_is_none_is_told(db: None, text: str) -> None:
    with pytest.raises(CommandError, match="--since"):
        run("replay_events", "--since", text)


# --- alerts ----------------------------------------------------------------------------------------


def test_dead_event_is_alerted_until_it_is_replayed(shop: Shop, customer: Account) -> None:
    order = shop.checkout(customer)
    Order.objects.filter(pk=order.pk).update(amount_minor=1)
    shop.pay(order)
    shop.deliver()
    for _ in range(40):
        shop.advance(hours=2)
        shop.work_off()
    assert InboxEvent.objects.filter(state="dead").exists()
    assert open_alerts() == ["review", "unplaced", "webhook_dead"]

    Order.objects.filter(pk=order.pk).update(amount_minor=500)
    for event_id in InboxEvent.objects.filter(state="dead").values_list("event_id", flat=True):
        assert inbox.replay(event_id=event_id, now=clock.now()) == "processed"

    assert open_alerts() == []


def test_twenty_tries_take_about_a_day() -> None:
    waited = sum(map(inbox.backoff, range(1, 20)), timedelta())

    assert timedelta(hours=20) < waited < timedelta(hours=28)


def test_missing_webhooks_are_alerted_until_one_arrives(shop: Shop, customer: Account) -> None:
    shop.deliver()
    shop.advance(minutes=1)
    order = shop.checkout(customer)
    shop.pay(order)
    start(customer, key="k")  # the return page asks Stripe, and no webhook ever comes
    purchases.refresh(order, now=clock.now())
    assert webhook_monitor.check(now=clock.now())
    shop.advance(minutes=11)
    assert not webhook_monitor.check(now=clock.now())
    assert open_alerts() == ["no_webhooks"]

    shop.deliver()
    tasks.watch_webhooks()

    assert open_alerts() == []


def test_an_abandoned_checkout_that_nobody_told_of_is_an_alert(shop: Shop, customer: Account) -> None:
    shop.deliver()
    shop.advance(minutes=1)
    shop.checkout(customer)
    shop.advance(hours=27)

    assert not webhook_monitor.check(now=clock.now())


def test_a_dispute_is_an_alert_while_it_is_open(shop: Shop, customer: Account) -> None:
    shop.pay(shop.checkout(customer))
    shop.deliver()
    opened = refunds_and_disputes.open_dispute(shop.stripe, next(iter(shop.stripe.store.all("charge")))["id"])
    shop.deliver()
    assert open_alerts() == ["dispute"]

    refunds_and_disputes.close_dispute(shop.stripe, opened["id"], "won")
    shop.deliver()

    assert open_alerts() == []


def test_a_failed_renewal_is_an_alert_until_it_is_paid(shop: Shop, customer: Account) -> None:
    shop.pay(shop.checkout(customer, item="pro"))
    shop.deliver()
    shop.refuse_card()
    shop.advance(days=31)
    shop.deliver()
    assert open_alerts() == ["payment_failed"]
    assert Alert.objects.get().account == customer

    shop.refuse_card(is_on=False)
    shop.advance(days=3)
    shop.deliver()

    assert open_alerts() == []


# --- rebuilding ------------------------------------------------------------------------------------

LOST = ("credits_holdlot", "credits_hold", "credits_entry", "credits_transaction", "credits_grant", "credits_allowance")


def lose_everything() -> None:
    """All that billing and the ledger know is gone; the accounts are there, and Stripe."""
    for model in (
        Clawback, InboxEvent, PaidInvoice, MoneyStep, PaymentRecord, SettledCharge, top_ups.TopUp, Order, Subscription,
    ):  # fmt: skip
        model.objects.all().delete()
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("SET session_replication_role = replica")
        cursor.execute(f"TRUNCATE {', '.join(LOST)}, credits_wallet CASCADE")
        cursor.execute("RESET session_replication_role")
        cursor.execute("TRUNCATE djstripe_customer CASCADE")


def paid_grants(account: Account) -> list[tuple[Any, ...]]:
    """Everything about the grants; when a plan's counts from, too, by the hour: a slow machine needs some seconds.

    (A pack's counts from when its webhook arrived.)
    """
    result = []
    for grant in Grant.objects.filter(account=account).exclude(source=Source.FREE).order_by("source_key"):
        hour = (grant.effective_at + timedelta(minutes=30)).replace(minute=0, second=0, microsecond=0)
        since = hour if grant.source == Source.PLAN else None
        paid = grant.paid_minor, grant.currency
        result.append((grant.source_key, grant.source, grant.amount, paid, since, grant.expires_at))
    return result


def live_a_life(shop: Shop, customer: Account, big: Any) -> None:  # noqa: F811
    """Packs by every way, a promotion, a plan that goes up and renews, a refund, a dispute."""
    Promotion.objects.create(code="p", name="P", bonus_credits=5, is_first_purchase=True, is_per_pack=False)
    pay: list[Callable[[], object]] = [
        lambda: shop.pay(shop.checkout(customer, key="pack", quantity=2)),
        lambda: shop.pay(shop.checkout(customer, key="late"), Outcome.DELAYED_SUCCESS),
        lambda: shop.pay(shop.checkout(customer, key="never"), Outcome.DELAYED_FAILURE),
        lambda: payments.confirm(
            shop.stripe, start(customer, key="form", ui=Order.Ui.ELEMENTS).order.payment_id or "", is_there=True
        ),
        lambda: shop.pay(shop.checkout(customer, item="pro", key="plan")),
    ]
    for step in pay:
        step()
        shop.advance(hours=1)
        shop.deliver()
    shop.advance(days=9)
    change(customer, "team")
    shop.advance(days=25)
    shop.deliver()
    charges = [row["id"] for row in shop.stripe.store.all("charge")]
    stripe.Refund.create(charge=charges[0], amount=250)
    refunds_and_disputes.close_dispute(
        shop.stripe, refunds_and_disputes.open_dispute(shop.stripe, charges[1])["id"], "lost"
    )
    shop.deliver()


def test_an_empty_ledger_is_made_anew_from_stripe_alone(shop: Shop, customer: Account, big: Any) -> None:  # noqa: F811
    live_a_life(shop, customer, big)
    before, left = paid_grants(customer), Grant.objects.exclude(source=Source.FREE).order_by("source_key")
    remaining = list(left.values_list("source_key", "remaining"))
    assert (len(before), shop.failures()) == (7, [])
    lose_everything()
    assert paid_grants(customer) == []

    with pytest.raises(CommandError, match=r"0 mended"):
        run("reconcile", "--from-stripe", "--repair", "--dry-run")
    assert paid_grants(customer) == []
    reported = run("reconcile", "--from-stripe", "--repair")

    assert paid_grants(customer) == before
    assert list(left.all().values_list("source_key", "remaining")) == remaining
    assert "0 could not be placed" in reported
    assert list(audit.all_disagreements()) == []


def test_a_database_that_is_truly_empty_gets_its_accounts_too(
    shop: Shop,
    customer: Account,
    big: Any,  # noqa: F811
    client: Client,
) -> None:
    """Nothing is left but the catalogue: accounts come from the customers' metadata, people from their addresses."""
    live_a_life(shop, customer, big)
    ext = opening.external_account(subject="user-7", now=clock.now())
    shop.pay(start(ext, key="ext").order)
    shop.deliver()
    before, of_ext = paid_grants(customer), paid_grants(ext)
    lose_everything()
    StripeCustomer.objects.all().delete()
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")  # the audit log allows no TRUNCATE
        cursor.execute("TRUNCATE accounts_account, accounts_user CASCADE")
        cursor.execute("RESET session_replication_role")
    stripe.Customer.create(email="stranger@example.com")  # of another product in the same Stripe account

    assert "0 could not be placed" in run("reconcile", "--from-stripe", "--repair")

    assert {account.pk for account in Account.objects.all()} == {customer.pk, ext.pk}
    assert (paid_grants(customer), paid_grants(ext)) == (before, of_ext)
    ada = User.objects.get()
    assert (ada.email, ada.has_usable_password()) == ("ada@example.com", False)
    assert opening.personal_account(user=ada, now=clock.now()) == customer
    assert list(audit.all_disagreements()) == []
    assert "agree (0 differences" in run("reconcile", "--days", "400", "--repair")
    assert list(books.problems(clock.now() + timedelta(seconds=1))) == []


def test_a_ledger_that_is_not_empty_is_left_alone(shop: Shop, customer: Account) -> None:
    ledger.grant(account_id=customer.pk, amount=1, source=Source.PURCHASE, source_key="x", now=clock.now())

    with pytest.raises(LedgerNotEmptyError):
        rebuilding.rebuild()


def test_a_yearly_plan_s_months_are_no_difference(shop: Shop, customer: Account, big: Any) -> None:  # noqa: F811
    shop.pay(start(customer, price=price_list.find_price(item="team", interval="year")).order)
    shop.deliver()
    shop.advance(days=70)
    shop.deliver()

    assert "agree" in run("reconcile", "--days", "100")
