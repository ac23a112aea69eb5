"""E-mails: the right one for what happened, in the customer's language, as text and HTML, each once."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import stripe
from allauth.account.models import EmailAddress
from django.conf import settings as configured
from django.core import mail
from django.core.mail import EmailMultiAlternatives
from django.test import Client
from django.utils import translation

from accounts.models import Account, User
from billing.customers import address_sync
from billing.models import Subscription
from billing.notifications import domain_events, expiring_cards, mails
from billing.subscriptions import plan_changes
from billing.tests.conftest import Shop
from common import clock
from credits import ledger, selectors
from outbox import dispatching
from outbox.models import OutboxEvent
from sandbox.local_stripe import declines, faults, invoice_collection


def post() -> list[str]:
    """Dispatch every event that waits; the subjects of what was mailed."""
    mail.outbox.clear()
    for event_id in dispatching.due(now=clock.now() + timedelta(minutes=1)):
        dispatching.dispatch(event_id=event_id, now=clock.now())
    return [message.subject for message in mail.outbox]


def html_of(message: EmailMultiAlternatives) -> str:
    ((content, kind),) = message.alternatives
    assert kind == "text/html"
    return str(content)


def stripe_customer(shop: Shop) -> str:
    return str(next(iter(shop.stripe.store.all("customer")))["id"])


def test_a_new_account_is_welcomed_once(shop: Shop, customer: Account) -> None:
    assert post() == ["Welcome to Tegoed"]
    assert post() == []
    domain_events.account_opened(customer, now=clock.now())
    assert post() == []


def test_a_purchase_is_told_with_its_amount_and_receipt(shop: Shop, customer: Account) -> None:
    post()
    shop.pay(shop.checkout(customer))
    shop.deliver(copies=3)

    assert post() == ["Your credits are here: 20 credits"]
    (message,) = mail.outbox
    assert message.to == ["ada@example.com"]
    for form in (message.body, html_of(message)):
        assert "€5.00" in form
        assert "/receipts/ch_" in form
        assert f"{configured.BASE_URL}/billing/checkout/co_" in form
    assert "{" not in message.body


def test_a_plan_s_life_in_mails(shop: Shop, customer: Account) -> None:
    post()
    shop.pay(shop.checkout(customer, item="pro"))
    shop.deliver()
    assert post() == ["Your plan has started: Pro"]
    shop.advance(days=31)
    shop.deliver(copies=2)
    assert post() == ["Pro is renewed"]
    plan_changes.cancel(account=customer, now=clock.now())
    shop.deliver()
    assert post() == ["Pro will end"]
    shop.advance(days=31)
    shop.deliver()
    assert post() == ["Pro has ended"]


def test_a_failed_renewal_is_told_at_each_try_with_a_way_to_pay(shop: Shop, customer: Account) -> None:
    shop.pay(shop.checkout(customer, item="pro"))
    shop.deliver()
    post()
    declines.set_declines(shop.stripe, stripe_customer(shop), is_on=True)
    shop.advance(days=31)
    shop.deliver(copies=2)
    assert post() == ["Your payment for Pro failed"]
    assert "/invoices/in_" in mail.outbox[0].body
    shop.advance(days=3)
    shop.deliver()
    assert post() == ["Your payment for Pro failed"]

    invoice_id = re.findall(r"/invoices/(in_\w+)", mail.outbox[0].body)[0]
    invoice_collection.pay_on_page(shop.stripe, invoice_id)
    shop.deliver()

    assert post() == ["Pro is renewed"]


def test_a_bank_that_wants_the_customer_is_told_apart(shop: Shop, customer: Account) -> None:
    shop.pay(shop.checkout(customer, item="pro"))
    shop.deliver()
    post()
    declines.set_declines(shop.stripe, stripe_customer(shop), is_on=True, needs_action=True)
    shop.advance(days=31)
    shop.deliver()

    assert post() == ["Your bank wants you to confirm the payment for Pro"]


def test_a_refund_is_told_with_what_it_took(shop: Shop, customer: Account) -> None:
    shop.pay(shop.checkout(customer))
    shop.deliver()
    post()
    stripe.Refund.create(charge=next(iter(shop.stripe.store.all("charge")))["id"], amount=250)
    shop.deliver(copies=2)

    assert post() == ["You have a refund"]
    assert "€2.50" in mail.outbox[0].body
    assert "10 credits" in mail.outbox[0].body


@pytest.mark.django_db(transaction=True)
def test_low_and_gone_are_told_once_for_each_crossing(shop: Shop, customer: Account) -> None:
    post()
    left = selectors.balance(account_id=customer.pk, now=clock.now()).available
    for number in range(left):
        ledger.spend(account_id=customer.pk, amount=1, idempotency_key=str(number), now=clock.now())

    assert post() == ["You have few credits left", "Your credits are used up"]


def test_a_card_that_ends_soon_is_told_once(shop: Shop, customer: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expiring_cards, "NOTICE", timedelta(days=40))  # soon on whichever day of the month this runs
    shop.pay(shop.checkout(customer, item="pro"))
    shop.deliver()
    post()
    assert expiring_cards.warn(now=clock.now()) == 0  # it ends in December 2031
    card = next(iter(shop.stripe.store.all("payment_method")))
    in_a_week = clock.now() + timedelta(days=7)
    card["card"] |= {"exp_month": in_a_week.month, "exp_year": in_a_week.year}
    shop.stripe.changed("payment_method", card)
    shop.stripe.emit("payment_method.updated", card)
    shop.deliver()

    assert [expiring_cards.warn(now=clock.now()) for _ in range(2)] == [1, 0]
    assert post() == ["Your card ends soon"]


def test_an_account_without_an_address_is_sent_nothing(shop: Shop, customer: Account) -> None:
    Account.objects.update(email="")

    assert post() == []
    assert not OutboxEvent.objects.exclude(next_attempt_at=None).exists()


def test_old_news_is_not_sent(shop: Shop, customer: Account) -> None:
    OutboxEvent.objects.update(happened_at=clock.now() - timedelta(days=4))

    assert post() == []


def test_a_plan_that_ended_long_ago_is_no_news(shop: Shop, customer: Account) -> None:
    shop.pay(shop.checkout(customer, item="pro"))
    shop.deliver()
    post()
    plan_changes.cancel_now(account=customer, now=clock.now())
    OutboxEvent.objects.filter(name="subscription.cancelled").delete()
    Subscription.objects.update(status="active", ended_at=None)  # as if no event had arrived
    shop.advance(days=5)
    shop.deliver()

    assert post() == []


def test_a_mail_server_that_is_down_costs_time_and_no_mail(
    shop: Shop, customer: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = OutboxEvent.objects.get(name="account.opened")
    with monkeypatch.context() as broken:

        def fail(*_: object, **__: object) -> int:
            raise ConnectionRefusedError

        broken.setattr(EmailMultiAlternatives, "send", fail)
        assert post() == []
    shop.advance(minutes=2)

    assert dispatching.dispatch(event_id=event.pk, now=clock.now())
    assert [message.subject for message in mail.outbox] == ["Welcome to Tegoed"]


# --- words -----------------------------------------------------------------------------------------

TEMPLATES = Path(configured.BASE_DIR) / "templates" / "mails"


def rendered(name: str, language: str) -> EmailMultiAlternatives:
    with translation.override(language):
        return mails.render(mails.MAILS[name], mails.example(), to="a@example.com", name="Ada")


@pytest.mark.parametrize("name", mails.MAILS)
def test_every_mail_is_complete_in_both_languages(name: str) -> None:
    english, dutch = (rendered(name, language) for language in ("en", "nl"))

    assert english.subject != dutch.subject
    for message in (english, dutch):
        assert message.body.count("\n\n") >= 2
        for form in (message.subject, message.body, html_of(message)):
            assert not re.search(r"%\(|{{|{%|None|\n\n\n", form)
    paragraphs = [set(message.body.split("\n\n")) for message in (english, dutch)]
    assert paragraphs[0] & paragraphs[1] == {configured.SITE_NAME}


# What an event says so that its mail is the one of that name (mails.VARIANTS).
OF_ITS_KIND = {
    "order.paid.plan": {"is_plan": True}, "order.paid.pack": {"is_plan": False},
    "subscription.changed.now": {"is_now": True}, "subscription.changed.later": {"is_now": False},
    "subscription.cancelled.over": {"is_over": True}, "subscription.cancelled.planned": {"is_over": False},
    "payment.failed.owner": {"needs_owner": True}, "payment.failed.card": {"needs_owner": False},
}  # fmt: skip


@pytest.mark.parametrize("name", mails.MAILS)
def test_every_mail_is_addressed_to_its_customer(shop: Shop, customer: Account, name: str) -> None:
    """The envelope, for each of them: a plan's change was once addressed to the plan. An invitation goes elsewhere."""
    kind = name.rpartition(".")[0] if name in OF_ITS_KIND else name
    to = {"mail_to": "bob@example.com"} if name == "team.invited" else {}
    data = mails.example() | OF_ITS_KIND.get(name, {}) | to
    event = OutboxEvent.objects.create(
        name=kind, key="k", account=customer, data=data, happened_at=clock.now(), created_at=clock.now()
    )
    mail.outbox.clear()

    mails.send(event)

    (message,) = mail.outbox
    assert message.recipients() == [to.get("mail_to", "ada@example.com")]
    assert (message.cc, message.bcc, message.reply_to) == ([], [], [])
    assert message.from_email == configured.DEFAULT_FROM_EMAIL
    assert message.subject == mails.subject_of(event)
    assert message.message()["To"] == message.to[0]


class TestANewAddress:
    """bitwarden#2042, better-auth#4995, cal#1663: mails and receipts went to the old address for ever."""

    @pytest.fixture
    def known(self, shop: Shop, customer: Account) -> str:
        shop.pay(shop.checkout(customer))
        shop.deliver()
        return stripe_customer(shop)

    def test_reaches_the_account_and_stripe(self, shop: Shop, ada: User, customer: Account, known: str) -> None:
        ada.email = "ada@lovelace.example"
        ada.save()
        address_sync.update_customers(now=clock.now())

        customer.refresh_from_db()
        assert customer.email == "ada@lovelace.example"
        assert shop.stripe.get("customer", known)["email"] == "ada@lovelace.example"
        assert address_sync.update_customers(now=clock.now()) == 0
        shop.checkout(customer, key="b")
        assert len(list(shop.stripe.store.all("customer"))) == 1

    def test_by_the_settings_page_too(
        self, shop: Shop, ada: User, customer: Account, known: str, client: Client
    ) -> None:
        """As the customer does it: add the address, confirm it by the code or link that is mailed, make it primary."""
        client.force_login(ada)
        EmailAddress.objects.create(user=ada, email=ada.email, verified=True, primary=True)
        EmailAddress.objects.create(user=ada, email="new@example.com", verified=True, primary=False)
        client.post("/accounts/email/", {"action_primary": "", "email": "new@example.com"})

        ada.refresh_from_db()
        customer.refresh_from_db()
        assert (ada.email, customer.email) == ("new@example.com", "new@example.com")

    def test_leaves_a_billing_address_of_its_own_alone(
        self, shop: Shop, ada: User, customer: Account, known: str
    ) -> None:
        Account.objects.filter(pk=customer.pk).update(email="books@example.com")
        ada.email = "ada@lovelace.example"
        ada.save()
        address_sync.update_customers(now=clock.now())

        customer.refresh_from_db()
        assert customer.email == "books@example.com"
        assert shop.stripe.get("customer", known)["email"] == "books@example.com"

    def test_waits_while_stripe_is_away(self, shop: Shop, ada: User, known: str) -> None:
        ada.email = "ada@lovelace.example"
        ada.save()
        faults.plan(shop.stripe.store, {"kinds": ["503"], "rate": 1.0})
        assert address_sync.update_customers(now=clock.now()) == 0
        faults.plan(shop.stripe.store, {"kinds": []})

        assert address_sync.update_customers(now=clock.now()) == 1
        assert shop.stripe.get("customer", known)["email"] == "ada@lovelace.example"


def test_amounts_and_days_are_the_reader_s() -> None:
    dutch = rendered("payment.failed.card", "nl").body

    assert "€\xa020,00" in dutch
    assert "21 november 2026" in dutch


def test_every_template_is_a_mail_s() -> None:
    used = {message.template for message in mails.MAILS.values()}

    assert {path.stem for path in TEMPLATES.glob("*.txt")} == used


def test_what_a_customer_is_called_is_escaped() -> None:
    data = mails.example() | {"description": "<script>alert(1)</script>"}
    message = mails.render(mails.MAILS["order.paid.pack"], data, to="a@example.com", name="Ada")

    assert "<script>" not in html_of(message)


def test_a_mail_is_in_the_account_s_language(shop: Shop, customer: Account) -> None:
    Account.objects.update(language="nl")

    assert post() == ["Welkom bij Tegoed"]


def test_days_in_mails_are_the_accounts_own(shop: Shop, customer: Account) -> None:
    """23:30 UTC on the 21st is the 22nd in Tokyo."""
    Account.objects.filter(pk=customer.pk).update(time_zone="Asia/Tokyo")
    customer.refresh_from_db()
    shop.pay(shop.checkout(customer, item="pro"))
    shop.deliver()
    Subscription.objects.update(
        cancel_at_period_end=True, current_period_end=datetime(2026, 12, 21, 23, 30, tzinfo=UTC)
    )
    post()

    domain_events.cancelled(
        Subscription.objects.get(), ends_at=datetime(2026, 12, 21, 23, 30, tzinfo=UTC), is_over=False, now=clock.now()
    )
    post()

    assert "22 December 2026" in mail.outbox[0].body
