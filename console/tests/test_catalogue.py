"""The catalogue from the console: what is made, changed and taken off sale here is so at Stripe as well."""

from collections.abc import Callable
from datetime import timedelta
from threading import Thread
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.core import mail
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone, translation
from django.utils.formats import date_format

from accounts.models import Account, User
from accounts.opening import personal_account
from billing.catalogue import price_list, publishing
from billing.checkout import top_ups
from billing.errors import AlreadySubscribedError, CatalogueError, PriceNotSellableError
from billing.models import DiscountCode, Pack, Plan, Price, PriceMove, Subscription, TopUp
from billing.subscriptions import plan_changes, price_moves
from billing.tests.conftest import Shop, customer, shop
from billing.tests.test_mails import post
from common import clock
from console import roles
from console.models import AuditEvent
from sandbox.local_stripe.errors import StripeApiError

__all__ = ["customer", "shop"]


@pytest.fixture
def owner(shop: Shop) -> Client:
    browser = Client()
    browser.force_login(User.objects.create_superuser("owner@example.com"))
    return browser


@pytest.fixture
def operator(shop: Shop) -> Client:
    roles.keep_groups()
    user = User.objects.create_user("operator@example.com", is_staff=True)
    user.groups.add(Group.objects.get(name=roles.OPERATORS))
    browser = Client()
    browser.force_login(user)
    return browser


def confirm(browser: Client, address: str, fields: dict[str, Any]) -> Any:
    """Fill in, and confirm what is shown."""
    shown = browser.post(address, fields)
    assert "seen" in (shown.context or {}), shown.context and shown.context["form"].errors
    return browser.post(address, {**fields, "seen": shown.context["seen"]}, follow=True)


def at_stripe(shop: Shop, kind: str, **fields: Any) -> list[dict[str, Any]]:
    return [row for row in shop.stripe.store.all(kind) if all(row.get(name) == value for name, value in fields.items())]


def price_of(code: str, **about: Any) -> Price:
    return Price.objects.get(
        **{"is_active": True, **about, "plan__code" if about.get("interval") else "pack__code": code}
    )


NEW_PACK = {"name": "50 credits", "code": "fifty", "credits_each": "50", "amount": "10.00", "currency_code": "eur"}


class TestMaking:
    def test_new_pack_can_be_bought_at_once(self, shop: Shop, owner: Client, customer: Account) -> None:
        preview = owner.post("/admin/billing/pack/make/", NEW_PACK)
        assert not Pack.objects.filter(code="fifty").exists()  # only shown
        assert "0.2000 EUR" in preview.content.decode()

        confirm(owner, "/admin/billing/pack/make/", NEW_PACK)

        order = shop.checkout(customer, "fifty")
        shop.pay(order)
        shop.deliver()
        order.refresh_from_db()
        assert (order.status, order.credits, order.amount_minor) == ("completed", 50, 1_000)
        (made,) = at_stripe(shop, "price", product="tegoed_pack_fifty")
        assert (made["unit_amount"], made["currency"], made["recurring"]) == (1_000, "eur", None)

    def test_new_plan_has_its_features_and_price(self, shop: Shop, owner: Client) -> None:
        fields = {
            "name": "Atelier", "code": "atelier", "credits_each": "1000", "description": "For studios",
            "features": "Priority support\nTen seats", "amount": "50", "currency_code": "usd", "interval": "month",
        }  # fmt: skip

        confirm(owner, "/admin/billing/plan/make/", fields)

        plan = Plan.objects.get(code="atelier")
        assert (plan.monthly_credits, plan.feature_list(), plan.is_active) == (
            1_000,
            ["Priority support", "Ten seats"],
            True,
        )
        assert price_list.find_price(item="atelier", currency="usd").amount_minor == 5_000

    def test_same_code_is_refused_in_words(self, shop: Shop, owner: Client) -> None:
        answer = confirm(owner, "/admin/billing/pack/make/", {**NEW_PACK, "code": "credits-20"})

        assert "There is a plan or pack with the code credits-20 already." in answer.content.decode()
        assert Pack.objects.filter(code="credits-20").count() == 1

    def test_what_was_not_shown_is_not_done(self, shop: Shop, owner: Client) -> None:
        shown = owner.post("/admin/billing/pack/make/", NEW_PACK)

        answer = owner.post("/admin/billing/pack/make/", {**NEW_PACK, "amount": "20.00", "seen": shown.context["seen"]})

        assert "Look once more" in answer.content.decode()
        assert not Pack.objects.filter(code="fifty").exists()

    @pytest.mark.parametrize("amount", ["0", "-1", "x", "1.005", "1e9", "NaN", ""])
    def test_amount_that_is_none_is_refused(self, shop: Shop, owner: Client, amount: str) -> None:
        answer = owner.post("/admin/billing/pack/make/", {**NEW_PACK, "amount": amount})

        assert answer.context["form"].errors["amount"]
        assert "seen" not in answer.context

    def test_currency_without_decimals_counts_whole_units(self, shop: Shop, owner: Client) -> None:
        confirm(owner, "/admin/billing/pack/make/", {**NEW_PACK, "amount": "1500", "currency_code": "jpy"})

        assert price_list.find_price(item="fifty", currency="jpy").amount_minor == 1_500


class TestRights:
    def test_giveaway_price_takes_an_administrator(self, shop: Shop, operator: Client, owner: Client) -> None:
        cheap = {**NEW_PACK, "credits_each": "100000"}

        refused = operator.post("/admin/billing/pack/make/", cheap)

        assert "an administrator sets this" in str(refused.context["form"].errors)
        confirm(operator, "/admin/billing/pack/make/", NEW_PACK)
        confirm(owner, "/admin/billing/pack/make/", {**cheap, "code": "many"})
        assert set(Pack.objects.filter(code__in=["fifty", "many"]).values_list("code", flat=True)) == {"fifty", "many"}

    def test_operator_halves_no_price(self, shop: Shop, operator: Client) -> None:
        price = price_of("pro", interval="month")
        address = f"/admin/billing/plan/prices/{price.pk}/replace"

        answer = operator.post(address, {"amount": "10.00", "runs": "stay", "notice_days": "30"})

        assert "an administrator sets this" in str(answer.context["form"].errors)

    def test_many_small_cuts_are_one_large_one(self, shop: Shop, operator: Client) -> None:
        for amount in ("4.00", "3.00"):
            price = price_of("credits-20")
            confirm(operator, f"/admin/billing/pack/prices/{price.pk}/replace", {"amount": amount})
        price = price_of("credits-20")

        answer = operator.post(f"/admin/billing/pack/prices/{price.pk}/replace", {"amount": "2.50"})

        assert "an administrator sets this" in str(answer.context["form"].errors)

    @pytest.mark.parametrize(("currency", "amount"), [("jpy", "1"), ("usd", "0.01")])
    def test_first_price_in_a_currency_takes_an_administrator(
        self, shop: Shop, operator: Client, owner: Client, currency: str, amount: str
    ) -> None:
        pack = Pack.objects.get(code="credits-20")
        address, fields = f"/admin/billing/pack/{pack.pk}/add-price/", {"amount": amount, "currency_code": currency}

        answer = operator.post(address, fields)

        assert "an administrator sets this" in str(answer.context["form"].errors)
        confirm(owner, address, fields)

    def test_price_is_measured_by_those_off_sale_too(self, shop: Shop, operator: Client) -> None:
        pack = Pack.objects.get(code="credits-20")
        for price in Price.objects.filter(pack__isnull=False):
            confirm(operator, f"/admin/billing/pack/prices/{price.pk}/retire", {})

        answer = operator.post(f"/admin/billing/pack/{pack.pk}/add-price/", {"amount": "0.01", "currency_code": "eur"})

        assert "an administrator sets this" in str(answer.context["form"].errors)

    @pytest.mark.parametrize("steps", [[2_000_000_000], [39, 77]])
    def test_more_credits_for_the_same_price_are_a_cut(self, shop: Shop, operator: Client, steps: list[int]) -> None:
        pack = Pack.objects.get(code="credits-20")
        address = f"/admin/billing/pack/{pack.pk}/change/"
        inline = {f"prices-{name}": 0 for name in ("TOTAL_FORMS", "INITIAL_FORMS")}
        for credits in steps:
            initial = operator.get(address).context["adminform"].form.initial
            fields = {name: value for name, value in initial.items() if value is not None} | inline
            answer = operator.post(address, fields | {"credits": credits})

        assert "an administrator sets this" in answer.content.decode()
        pack.refresh_from_db()
        assert pack.credits < 40

    def test_what_was_shown_is_all_that_is_done(self, shop: Shop, owner: Client, operator: Client) -> None:
        shown = owner.post("/admin/billing/pack/make/", NEW_PACK)
        seen = {"seen": shown.context["seen"]}

        other_code = owner.post("/admin/billing/pack/make/", {**NEW_PACK, "code": "other", **seen})
        other_person = operator.post("/admin/billing/pack/make/", {**NEW_PACK, **seen})

        assert "Look once more" in other_code.content.decode()
        assert "Look once more" in other_person.content.decode()
        assert not Pack.objects.filter(code__in=["other", "fifty"]).exists()

    def test_support_reaches_none_of_it(self, shop: Shop, client: Client) -> None:
        roles.keep_groups()
        user = User.objects.create_user("support@example.com", is_staff=True)
        user.groups.add(Group.objects.get(name=roles.SUPPORT))
        client.force_login(user)
        pack, price = Pack.objects.first(), Price.objects.filter(pack__isnull=False).first()
        assert pack
        assert price

        for address in (
            "/admin/billing/pack/make/", f"/admin/billing/pack/{pack.pk}/add-price/",
            f"/admin/billing/pack/{pack.pk}/sale/",
            f"/admin/billing/pack/prices/{price.pk}/replace", f"/admin/billing/pack/prices/{price.pk}/retire",
            "/admin/billing/discountcode/make/",
        ):  # fmt: skip
            assert client.post(address, NEW_PACK).status_code == 403, address


class TestPrices:
    def test_further_currency_is_for_sale_beside_the_first(self, shop: Shop, owner: Client) -> None:
        pack = Pack.objects.get(code="credits-20")
        fields = {"amount": "6.00", "currency_code": "usd"}

        confirm(owner, f"/admin/billing/pack/{pack.pk}/add-price/", fields)
        again = confirm(owner, f"/admin/billing/pack/{pack.pk}/add-price/", {**fields, "amount": "7.00"})

        assert price_list.find_price(item="credits-20", currency="usd").amount_minor == 600
        assert price_list.find_price(item="credits-20", currency="eur").amount_minor == 500
        assert "Replace that one" in again.content.decode()

    def test_replaced_price_sells_at_the_new_amount_only(self, shop: Shop, owner: Client, customer: Account) -> None:
        old = price_of("credits-20")

        confirm(owner, f"/admin/billing/pack/prices/{old.pk}/replace", {"amount": "5.50"})

        assert price_list.find_price(item="credits-20").amount_minor == 550
        assert [row["active"] for row in at_stripe(shop, "price", id=old.stripe_price_id)] == [False]
        assert shop.checkout(customer, "credits-20").amount_minor == 550
        assert "5.00 EUR → 5.50 EUR" in str(list(AuditEvent.objects.values_list("result", "effects")))

    def test_price_of_before_comes_back(self, shop: Shop, owner: Client) -> None:
        old = price_of("credits-20")
        confirm(owner, f"/admin/billing/pack/prices/{old.pk}/replace", {"amount": "5.50"})
        new = price_of("credits-20")

        confirm(owner, f"/admin/billing/pack/prices/{new.pk}/replace", {"amount": "5.00"})

        assert price_of("credits-20").stripe_price_id == old.stripe_price_id
        assert price_list.find_price(item="credits-20").amount_minor == 500

    def test_sync_does_not_bring_a_replaced_price_back(self, shop: Shop, owner: Client, customer: Account) -> None:
        shop.pay(shop.checkout(customer, "pro"))
        shop.deliver()
        old = price_of("pro", interval="month")
        address = f"/admin/billing/plan/prices/{old.pk}/replace"
        confirm(owner, address, {"amount": "25.00", "runs": "stay", "notice_days": "30"})

        owner.post("/admin/billing/plan/sync/")

        assert price_list.find_price(item="pro").amount_minor == 2_500
        assert [row["active"] for row in at_stripe(shop, "price", id=old.stripe_price_id)] == [True]  # still billed

    def test_default_price_of_a_product_can_be_replaced(self, shop: Shop, owner: Client) -> None:
        """Stripe archives no default price: "This price cannot be archived because it is the default price of its
        product." (stripe-python issue 658). Products made in the dashboard have one."""
        old = price_of("credits-20")
        assert old.pack
        product = shop.stripe.store.get("product", old.pack.stripe_product_id or "")
        assert product
        shop.stripe.changed("product", product | {"default_price": old.stripe_price_id})

        confirm(owner, f"/admin/billing/pack/prices/{old.pk}/replace", {"amount": "5.50"})

        after = shop.stripe.store.get("product", old.pack.stripe_product_id or "")
        assert after
        assert after["default_price"] == price_of("credits-20").stripe_price_id

    def test_price_off_sale_is_not_sold(self, shop: Shop, owner: Client) -> None:
        year = price_of("pro", interval="year")

        confirm(owner, f"/admin/billing/plan/prices/{year.pk}/retire", {})

        with pytest.raises(PriceNotSellableError):
            price_list.find_price(item="pro", interval="year")
        assert price_list.find_price(item="pro").interval == "month"

    def test_item_goes_off_and_on_sale(self, shop: Shop, owner: Client) -> None:
        plan = Plan.objects.get(code="pro")

        confirm(owner, f"/admin/billing/plan/{plan.pk}/sale/", {})
        assert not Plan.objects.get(code="pro").is_active
        assert at_stripe(shop, "product", id=plan.stripe_product_id)[0]["active"] is False

        confirm(owner, f"/admin/billing/plan/{plan.pk}/sale/", {})
        assert Plan.objects.get(code="pro").is_active

    def test_automatic_top_ups_follow_a_lower_price_only(self, shop: Shop, owner: Client, customer: Account) -> None:
        old = price_of("credits-20")
        top_ups.switch_on(account=customer, price=old, below=5, max_per_month=3, now=clock.now())

        confirm(owner, f"/admin/billing/pack/prices/{old.pk}/replace", {"amount": "4.50"})
        assert TopUp.objects.get().price.amount_minor == 450

        lower = price_of("credits-20")
        preview = owner.post(f"/admin/billing/pack/prices/{lower.pk}/replace", {"amount": "9.00"})
        assert "are switched off" in preview.content.decode()
        confirm(owner, f"/admin/billing/pack/prices/{lower.pk}/replace", {"amount": "9.00"})

        row = TopUp.objects.get()
        assert (row.is_on, row.problem) == (False, "The price of this pack has gone up.")
        assert "Your auto top-up is off: 20 credits costs more" in post()


class TestMovingPlans:
    @pytest.fixture
    def subscribed(self, shop: Shop, customer: Account) -> Account:
        shop.pay(shop.checkout(customer, "pro"))
        shop.deliver()
        return customer

    @pytest.fixture
    def raise_price(self, shop: Shop, owner: Client) -> Callable[..., Price]:
        def act(amount: str = "25.00", notice: int = 10, runs: str = "move") -> Price:
            old = price_of("pro", interval="month")
            fields = {"amount": amount, "runs": runs, "notice_days": str(notice)}
            confirm(owner, f"/admin/billing/plan/prices/{old.pk}/replace", fields)
            return price_of("pro", interval="month")

        return act

    def running(self, account: Account) -> Subscription:
        found = plan_changes.find_running(account)
        assert found is not None
        return found

    def test_preview_says_who_pays_more_and_when(self, shop: Shop, owner: Client, subscribed: Account) -> None:
        old = price_of("pro", interval="month")
        address = f"/admin/billing/plan/prices/{old.pk}/replace"

        page = owner.post(address, {"amount": "25.00", "runs": "move", "notice_days": "10"}).content.decode()

        end = self.running(subscribed).current_period_end
        assert date_format(timezone.localtime(end)) in page
        assert "+5.00 EUR" in page
        assert "pay 25.00 EUR from a renewal on" in page

    def test_plan_renews_at_the_new_price_after_notice(
        self, shop: Shop, owner: Client, subscribed: Account, raise_price: Callable[..., Price]
    ) -> None:
        new = raise_price()

        assert price_moves.run(now=clock.now()) == 1

        assert self.running(subscribed).next_price == new
        theirs = Client()
        theirs.force_login(User.objects.get(email="ada@example.com"))
        billing = theirs.get("/billing").content.decode()
        assert "Costs €25.00 a month from" in billing
        assert "Stay with Pro" not in billing
        page = owner.get(f"/admin/billing/plan/{new.plan_id}/change/").content.decode()
        assert "moving: 1 planned, 0 to go" in page
        assert "1 planned, 0 to go" in owner.get("/admin/billing/pricemove/").content.decode()
        assert any("The price of Pro changes on" in subject for subject in post())
        assert "€25.00 a month" in mail.outbox[-1].body
        shop.advance(days=32)
        shop.deliver()
        now_paid = self.running(subscribed)
        assert now_paid.price == new
        invoices = sorted(at_stripe(shop, "invoice"), key=lambda row: row["created"])
        assert [row["amount_paid"] for row in invoices] == [2_000, 2_500]
        assert price_moves.run(now=clock.now()) == 0
        move = PriceMove.objects.get()
        assert move.ended_at is not None
        assert at_stripe(shop, "price", id=move.from_price.stripe_price_id)[0]["active"] is False

    def test_renewal_within_the_notice_is_at_the_old_price(
        self, shop: Shop, subscribed: Account, raise_price: Callable[..., Price]
    ) -> None:
        raise_price(notice=40)

        assert price_moves.run(now=clock.now()) == 0
        shop.advance(days=32)
        shop.deliver()
        assert price_moves.run(now=clock.now()) == 1

        shop.advance(days=31)
        shop.deliver()
        invoices = sorted(at_stripe(shop, "invoice"), key=lambda row: row["created"])
        assert [row["amount_paid"] for row in invoices] == [2_000, 2_000, 2_500]

    def test_plan_that_ends_is_not_moved(
        self, shop: Shop, subscribed: Account, raise_price: Callable[..., Price]
    ) -> None:
        plan_changes.cancel(account=subscribed, now=clock.now())
        raise_price()

        assert price_moves.run(now=clock.now()) == 0

        plan_changes.resume(account=subscribed, now=clock.now())
        assert price_moves.run(now=clock.now()) == 1

    def test_planned_change_of_the_customer_stands(
        self, shop: Shop, subscribed: Account, raise_price: Callable[..., Price]
    ) -> None:
        shop.advance(days=1)
        plan_changes.change(account=subscribed, price=price_of("pro", interval="year"), now=clock.now())
        raise_price()

        assert price_moves.run(now=clock.now()) == 0

    def test_plans_that_stay_keep_the_old_price(
        self, shop: Shop, subscribed: Account, raise_price: Callable[..., Price]
    ) -> None:
        raise_price(runs="stay")

        assert price_moves.run(now=clock.now()) == 0
        shop.advance(days=32)
        shop.deliver()

        assert self.running(subscribed).price.amount_minor == 2_000
        assert not PriceMove.objects.exists()

    def test_stripe_that_does_not_answer_is_asked_again(
        self, shop: Shop, subscribed: Account, raise_price: Callable[..., Price], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        raise_price()
        with monkeypatch.context() as broken:
            broken.setattr(plan_changes, "_plan", _refuse)
            assert price_moves.run(now=clock.now()) == 0
        assert "no answer" in PriceMove.objects.get().problem

        assert price_moves.run(now=clock.now()) == 1
        assert PriceMove.objects.get().problem == ""


def _refuse(*_arguments: object) -> None:
    raise CatalogueError("no answer")


class TestTexts:
    def test_new_name_is_on_stripes_pages(
        self, shop: Shop, owner: Client, django_capture_on_commit_callbacks: Any
    ) -> None:
        pack = Pack.objects.get(code="credits-20")
        page = owner.get(f"/admin/billing/pack/{pack.pk}/change/")
        fields = {**page.context["adminform"].form.initial, "name": "A score of credits"}
        inline = {f"prices-{name}": 0 for name in ("TOTAL_FORMS", "INITIAL_FORMS")}
        fields = {name: value for name, value in fields.items() if value is not None} | inline

        with django_capture_on_commit_callbacks(execute=True):
            owner.post(f"/admin/billing/pack/{pack.pk}/change/", fields)

        assert at_stripe(shop, "product", id=pack.stripe_product_id)[0]["name"] == "A score of credits"


class TestDiscounts:
    FIELDS = {"code": "spring-25", "name": "Spring", "percent": "25", "duration": "once", "max_uses": "100"}

    def test_code_takes_its_part_off_a_payment(self, shop: Shop, owner: Client, customer: Account) -> None:
        preview = owner.post("/admin/billing/discountcode/make/", self.FIELDS).content.decode()
        assert "3.75 EUR" in preview

        confirm(owner, "/admin/billing/discountcode/make/", self.FIELDS)

        order = shop.checkout(customer, "credits-20")
        shop.pay(order, promotion_code="SPRING-25")
        shop.deliver()
        order.refresh_from_db()
        assert (order.status, order.paid_minor, order.credits) == ("completed", 375, 20)
        page = owner.get(f"/admin/billing/discountcode/{DiscountCode.objects.get().pk}/change/").content.decode()
        assert "SPRING-25" in page

    def test_code_is_switched_off_and_on(self, shop: Shop, owner: Client) -> None:
        confirm(owner, "/admin/billing/discountcode/make/", self.FIELDS)
        row = DiscountCode.objects.get()

        confirm(owner, f"/admin/billing/discountcode/{row.pk}/switch/", {})

        assert at_stripe(shop, "promotion_code")[0]["active"] is False
        assert not DiscountCode.objects.get().is_active

    def test_terms_reach_stripe(self, shop: Shop, owner: Client) -> None:
        plan, day = Plan.objects.get(code="pro"), (clock.now() + timedelta(days=30)).date()
        fields = {
            **self.FIELDS, "duration": "repeating", "months": "3", "plans": [plan.pk], "is_first_purchase": "on",
            "ends_on": day.isoformat(),
        }  # fmt: skip

        confirm(owner, "/admin/billing/discountcode/make/", fields)

        order = shop.checkout(personal_account(user=User.objects.create_user("b@example.com"), now=clock.now()))
        with pytest.raises(StripeApiError, match="does not apply"):  # a pack
            shop.pay(order, promotion_code="SPRING-25")
        (coupon,), (code,) = at_stripe(shop, "coupon"), at_stripe(shop, "promotion_code")
        assert (coupon["percent_off"], coupon["duration_in_months"]) == (25, 3)
        assert coupon["applies_to"] == {"products": [plan.stripe_product_id]}
        assert code["max_redemptions"] == 100
        assert code["expires_at"] > clock.now().timestamp()

    def test_more_than_half_takes_an_administrator(self, shop: Shop, operator: Client) -> None:
        answer = operator.post("/admin/billing/discountcode/make/", {**self.FIELDS, "percent": "51"})

        assert "an administrator sets this" in str(answer.context["form"].errors)

    def test_same_code_is_refused(self, shop: Shop, owner: Client) -> None:
        confirm(owner, "/admin/billing/discountcode/make/", self.FIELDS)

        again = owner.post("/admin/billing/discountcode/make/", {**self.FIELDS, "code": "Spring-25"})

        assert "There is a code like this." in str(again.context["form"].errors)
        with pytest.raises(CatalogueError):
            publishing.make_discount(
                DiscountCode(code="SPRING-25", name="x", percent=5, duration="once"), plans=[], packs=[]
            )


class TestPricesThatAreReplacedAgain:
    """An operator thinks better of it while a move runs: nobody pays what is not on the price list for them."""

    @pytest.fixture
    def subscribed(self, shop: Shop, customer: Account) -> Account:
        shop.pay(shop.checkout(customer, "pro"))
        shop.deliver()
        return customer

    def replace(self, owner: Client, amount: str, runs: str = "move") -> None:
        price = price_of("pro", interval="month")
        fields = {"amount": amount, "runs": runs, "notice_days": "0"}
        answer = confirm(owner, f"/admin/billing/plan/prices/{price.pk}/replace", fields)
        assert answer.status_code == 200

    def paid(self, shop: Shop) -> list[int]:
        for _ in range(3):
            price_moves.run(now=clock.now())
            shop.advance(days=32)
            shop.deliver()
        invoices = sorted(at_stripe(shop, "invoice"), key=lambda row: row["created"])
        return [row["amount_paid"] for row in invoices]

    @pytest.mark.parametrize("runs", ["stay", "move"])
    def test_raise_that_is_taken_back_raises_nobody(
        self, shop: Shop, owner: Client, subscribed: Account, runs: str
    ) -> None:
        self.replace(owner, "25")
        price_moves.run(now=clock.now())
        post()

        self.replace(owner, "20", runs)
        price_moves.run(now=clock.now())

        assert "The price of Pro stays as it is" in post()
        new = personal_account(user=User.objects.create_user("new@example.com"), now=clock.now())
        shop.pay(shop.checkout(new, "pro"))
        shop.deliver()
        assert set(self.paid(shop)) == {2_000}
        assert price_list.find_price(item="pro").amount_minor == 2_000
        assert at_stripe(shop, "price", id=price_of("pro", interval="month").stripe_price_id)[0]["active"]

    def test_price_that_plans_move_to_stays_at_stripe(self, shop: Shop, owner: Client, subscribed: Account) -> None:
        """Stripe takes no inactive price into a schedule: "This field only accepts active prices." """
        old = price_of("pro", interval="month")
        fields = {"amount": "25", "runs": "move", "notice_days": "40"}
        confirm(owner, f"/admin/billing/plan/prices/{old.pk}/replace", fields)
        price_moves.run(now=clock.now())
        to = price_of("pro", interval="month")

        refused = confirm(owner, f"/admin/billing/plan/prices/{to.pk}/retire", {})
        self.replace(owner, "30", "stay")

        assert "Running plans are moving to this price" in refused.content.decode()
        assert at_stripe(shop, "price", id=to.stripe_price_id)[0]["active"]
        assert self.paid(shop) == [2_000, 2_000, 2_500, 2_500]

    def test_notice_counts_from_the_mail(self, shop: Shop, owner: Client, subscribed: Account) -> None:
        """Whoever cannot be moved yet is written to all the same; whoever comes later has the notice from then."""
        plan_changes.cancel(account=subscribed, now=clock.now())
        old = price_of("pro", interval="month")
        fields = {"amount": "25", "runs": "move", "notice_days": "20"}
        post()
        confirm(owner, f"/admin/billing/plan/prices/{old.pk}/replace", fields)
        plan_changes.resume(account=subscribed, now=clock.now())
        shop.advance(days=25)
        shop.deliver()

        assert price_moves.run(now=clock.now()) == 0  # nobody was told yet, and the renewal is in a few days
        assert [subject for subject in post() if "The price of Pro changes on" in subject]
        theirs = Client()
        theirs.force_login(User.objects.get(email="ada@example.com"))
        page = theirs.get("/billing").content.decode()
        assert "Costs €25.00 a month from" in page
        assert not [subject for subject in post() if "The price of Pro" in subject]
        assert self.paid(shop)[:2] == [2_000, 2_000]

    def test_second_raise_from_a_price_that_came_back(self, shop: Shop, owner: Client, subscribed: Account) -> None:
        self.replace(owner, "25")
        self.replace(owner, "20", "stay")

        self.replace(owner, "30")

        assert self.paid(shop) == [2_000, 3_000, 3_000, 3_000]

    def test_raise_upon_a_raise_leads_to_the_last_one(self, shop: Shop, owner: Client, subscribed: Account) -> None:
        self.replace(owner, "25")
        price_moves.run(now=clock.now())
        self.replace(owner, "30")

        assert self.paid(shop) == [2_000, 3_000, 3_000, 3_000]

    def test_raise_that_newcomers_alone_pay_leaves_the_one_before(
        self, shop: Shop, owner: Client, subscribed: Account
    ) -> None:
        self.replace(owner, "25")
        price_moves.run(now=clock.now())
        self.replace(owner, "30", "stay")

        assert self.paid(shop) == [2_000, 2_500, 2_500, 2_500]
        assert price_list.find_price(item="pro").amount_minor == 3_000


def test_two_operators_leave_one_price_on_sale(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second confirms while the first one's call is at Stripe."""
    old, stale = price_of("credits-20"), price_of("credits-20")
    assert stale.pack is not None  # read here: the other connection sees nothing of this test's transaction
    create: Any = publishing.create_price
    refused: list[CatalogueError] = []

    def meanwhile(*about: Any, **how: Any) -> Any:
        monkeypatch.setattr(publishing, "create_price", create)
        with_another_connection(lambda: publishing.replace_price(stale, amount_minor=550), refused)
        return create(*about, **how)

    monkeypatch.setattr(publishing, "create_price", meanwhile)

    publishing.replace_price(old, amount_minor=600)

    assert [str(error) for error in refused] == ["Somebody else is changing its prices. Look again in a minute."]
    with pytest.raises(CatalogueError, match="not on sale"):
        publishing.replace_price(stale, amount_minor=550)
    assert [price.amount_minor for price in Price.objects.filter(pack=old.pack, is_active=True)] == [600]


def with_another_connection(act: Callable[[], object], refused: list[CatalogueError]) -> None:
    """Do it as another worker would: the lock is the connection's own."""

    def run() -> None:
        try:
            act()
        except CatalogueError as error:
            refused.append(error)
        finally:
            connection.close()

    worker = Thread(target=run)
    worker.start()
    worker.join(10)


class TestWhatCustomersSee:
    def test_two_currencies_are_one_card_and_a_switch(self, shop: Shop, owner: Client, client: Client) -> None:
        pack = Pack.objects.get(code="credits-20")
        confirm(owner, f"/admin/billing/pack/{pack.pk}/add-price/", {"amount": "6.00", "currency_code": "usd"})

        euros, dollars = client.get("/pricing").content.decode(), client.get("/pricing?currency=usd").content.decode()

        assert ("€5.00" in euros, "$6.00" in euros) == (True, False)
        assert ("€5.00" in dollars, "$6.00" in dollars) == (False, True)
        assert "?currency=usd" in euros

    def test_who_has_paid_pays_on_in_that_currency(self, shop: Shop, owner: Client, customer: Account) -> None:
        pack = Pack.objects.get(code="credits-20")
        confirm(owner, f"/admin/billing/pack/{pack.pk}/add-price/", {"amount": "6.00", "currency_code": "usd"})
        shop.pay(shop.checkout(customer))
        shop.deliver()
        theirs = Client()
        theirs.force_login(User.objects.get(email="ada@example.com"))

        page = theirs.get("/credits?currency=usd").content.decode()

        assert "€5.00" in page
        assert "$6.00" not in page

    def test_raised_plan_is_still_their_plan_and_sells_nothing(
        self, shop: Shop, owner: Client, customer: Account
    ) -> None:
        """A subscriber was offered to pay the difference at once, for nothing."""
        shop.pay(shop.checkout(customer, "pro"))
        shop.deliver()
        old = price_of("pro", interval="month")
        fields = {"amount": "25", "runs": "stay", "notice_days": "30"}
        confirm(owner, f"/admin/billing/plan/prices/{old.pk}/replace", fields)
        theirs = Client()
        theirs.force_login(User.objects.get(email="ada@example.com"))

        page = theirs.get("/credits").content.decode()
        theirs.post("/billing/plan", {"item": "pro", "interval": "month"})

        assert "€20.00" in page
        assert "€25.00" not in page
        assert "item=pro&amp;interval=month" not in page
        assert [row["amount_paid"] for row in at_stripe(shop, "invoice")] == [2_000]
        with pytest.raises(AlreadySubscribedError):
            plan_changes.change(account=customer, price=price_of("pro", interval="month"), now=clock.now())

    def test_who_planned_to_leave_a_raised_plan_can_stay(self, shop: Shop, owner: Client, customer: Account) -> None:
        shop.pay(shop.checkout(customer, "studio"))
        shop.deliver()
        plan_changes.change(account=customer, price=price_of("pro", interval="month"), now=clock.now())
        old = price_of("studio", interval="month")
        fields = {"amount": "80", "runs": "stay", "notice_days": "30"}
        confirm(owner, f"/admin/billing/plan/prices/{old.pk}/replace", fields)

        plan_changes.change(account=customer, price=price_of("studio", interval="month"), now=clock.now())

        running = plan_changes.find_running(customer)
        assert running is not None
        assert (running.price, running.next_price) == (old, None)


class TestTranslations:
    """Texts that operators write, in the customers' languages."""

    def change(self, client: Client, row: Plan | Pack, **texts: str) -> None:
        address = reverse(f"admin:billing_{row._meta.model_name}_change", args=[row.pk])
        form = client.get(address).context["adminform"].form
        fields = {name: "" if value is None else value for name, value in form.initial.items() if name in form.fields}
        inline = {f"prices-{name}": 0 for name in ("TOTAL_FORMS", "INITIAL_FORMS", "MIN_NUM_FORMS", "MAX_NUM_FORMS")}
        answer = client.post(address, {**fields, **inline, **texts})
        assert answer.status_code == 302, answer.context["adminform"].form.errors
        row.refresh_from_db()

    def test_dutch_page_and_mail_have_the_dutch_texts(
        self, shop: Shop, admin_client: Client, customer: Account
    ) -> None:
        pro, pack = Plan.objects.get(code="pro"), Pack.objects.get(code="credits-20")
        self.change(admin_client, pro, name_nl="Vakman", features_nl="Eén regel\nNog een")
        self.change(admin_client, pack, name_nl="Twintig")
        visitor = Client(headers={"accept-language": "nl"})

        page = visitor.get("/pricing").content.decode()
        assert "Vakman" in page
        assert "<li>Eén regel</li><li>Nog een</li>" in page
        assert "Twintig" in page
        assert "Voor elke dag." in page  # of the preset, untouched
        english = Client().get("/pricing").content.decode()
        assert "Vakman" not in english
        assert "For using it every day." in english

        customer.language = "nl"
        customer.save(update_fields=["language"])
        shop.pay(shop.checkout(customer))
        shop.deliver()
        post()
        assert "Twintig" in mail.outbox[-1].body
        assert "20 credits voor" not in mail.outbox[-1].body

    def test_stripe_keeps_the_first_language(
        self, shop: Shop, admin_client: Client, django_capture_on_commit_callbacks: Any
    ) -> None:
        pro = Plan.objects.get(code="pro")
        with translation.override("nl"), django_capture_on_commit_callbacks(execute=True):
            self.change(admin_client, pro, description="New words.", description_nl="Nieuwe woorden.")

        product = shop.stripe.get("product", pro.stripe_product_id or "")
        assert product["description"] == "New words."
        assert {row["name"] for row in product["marketing_features"]} == set(pro.feature_list("en"))

    def test_translation_that_is_emptied_is_gone(self, shop: Shop, admin_client: Client) -> None:
        pack = Pack.objects.get(code="credits-20")
        self.change(admin_client, pack, name_nl="Twintig")
        self.change(admin_client, pack, name_nl="")

        assert pack.text("name", "nl") == "20 credits"
