"""Starting for real: the portal's settings, what a restricted key needs, and the doctor that looks at it all."""

import json
from io import StringIO

import pytest
import stripe
from django.conf import settings as configured
from django.core.management import call_command
from pytest_django import Settings

from accounts.models import Account
from billing.checkout import purchases
from billing.errors import PortalNotSetUpError
from billing.models import Plan, Price, Subscription
from billing.setup import bootstrap, doctor, permissions, presets
from billing.setup.doctor import Verdict
from billing.setup.permissions import PERMISSIONS
from billing.stripe import portal_configuration
from billing.tests.conftest import Shop
from sandbox.local_stripe import faults, portal
from sandbox.local_stripe.core import LocalStripe
from sandbox.local_stripe.errors import StripeApiError

CONFIGURATION = "billing_portal.configuration"


@pytest.fixture
def public(settings: Settings) -> Settings:
    """A site that Stripe can reach."""
    settings.BASE_URL = "https://credits.example.com"
    return settings


def quiet(_line: str) -> None:
    pass


def told() -> dict[tuple[str, str], str]:
    """What the doctor says that is not good: by point and verdict, its text."""
    return {(p.about, p.verdict): p.text for p in doctor.run_checks() if p.verdict != Verdict.GOOD}


def problems() -> set[str]:
    return {point.about for point in doctor.run_checks() if point.verdict == Verdict.PROBLEM}


class TestPortal:
    """docs.stripe.com/api/customer_portal/configurations."""

    def test_bootstrap_makes_its_settings_by_our_rules(self, shop: Shop) -> None:
        (created,) = shop.stripe.store.all(CONFIGURATION)
        features = created["features"]

        update, plans = features["subscription_update"], Plan.objects.filter(stripe_product_id__isnull=False)
        assert update["proration_behavior"] == "always_invoice"
        assert {row["type"] for row in update["schedule_at_period_end"]["conditions"]} == {
            "decreasing_item_amount", "shortening_interval",
        }  # fmt: skip
        assert {row["product"] for row in update["products"]} == {plan.stripe_product_id for plan in plans}
        assert features["subscription_cancel"]["mode"] == "at_period_end"

    def test_once_however_often_and_it_follows_the_catalogue(self, shop: Shop) -> None:
        Plan.objects.filter(code="studio").update(is_active=False)
        said: list[str] = []

        portal_configuration.keep(say=said.append)
        portal_configuration.keep(say=said.append)

        (created,) = shop.stripe.store.all(CONFIGURATION)
        offered = {row["product"] for row in created["features"]["subscription_update"]["products"]}
        assert ("tegoed_plan_studio" in offered, len(said)) == (False, 1)

    def test_without_plans_nothing_can_be_changed_there(self, local_stripe: LocalStripe, db: None) -> None:
        bootstrap.push(presets.load("pay-per-use"), say=quiet)

        (created,) = local_stripe.store.all(CONFIGURATION)
        assert not created["features"]["subscription_update"]["enabled"]

    def test_a_session_names_them(self, shop: Shop, customer: Account) -> None:
        shop.pay(shop.checkout(customer))
        shop.deliver()

        assert "/p/session/" in purchases.portal_url(account=customer)
        (session,) = shop.stripe.store.all("billing_portal.session")
        assert session["configuration"] == portal_configuration.known_id()

    def test_settings_that_were_made_anew_are_found(self, shop: Shop, customer: Account) -> None:
        shop.pay(shop.checkout(customer))
        shop.deliver()
        purchases.portal_url(account=customer)
        shop.stripe.store.remove(CONFIGURATION, portal_configuration.known_id())

        with pytest.raises(PortalNotSetUpError):
            purchases.portal_url(account=customer)
        portal_configuration.keep(say=quiet)

        assert "/p/session/" in purchases.portal_url(account=customer)

    @pytest.mark.parametrize(
        ("wanted", "at_once"), [(("studio", "month"), True), (("studio", "year"), True), (("pro", "month"), False)]
    )
    def test_what_a_customer_does_there_is_as_on_our_pages(
        self, shop: Shop, customer: Account, wanted: tuple[str, str], at_once: bool
    ) -> None:
        shop.pay(shop.checkout(customer, item="pro" if at_once else "studio"))
        shop.deliver()
        subscription = Subscription.objects.get()
        url = purchases.portal_url(account=customer)
        price = Price.objects.get(plan__code=wanted[0], interval=wanted[1])

        act(shop, url, subscription, "switch", price.stripe_price_id)
        act(shop, url, subscription, "cancel") if at_once else None
        shop.deliver()

        subscription.refresh_from_db()
        assert (subscription.price == price, subscription.next_price == price) == (at_once, not at_once)
        assert subscription.cancel_at_period_end == at_once
        assert shop.failures() == []

    def test_nobody_gets_a_price_or_a_plan_that_is_not_theirs(self, shop: Shop, customer: Account) -> None:
        shop.pay(shop.checkout(customer, item="pro"))
        shop.deliver()
        url, subscription = purchases.portal_url(account=customer), Subscription.objects.get()
        hidden = stripe.Price.create(
            product="tegoed_plan_pro", currency="eur", unit_amount=1, recurring={"interval": "month"}
        )

        with pytest.raises(StripeApiError, match="does not offer"):
            act(shop, url, subscription, "switch", hidden.id)


def act(shop: Shop, url: str, subscription: Subscription, action: str, price: str = "") -> None:
    portal.act(shop.stripe, url.rsplit("/", 1)[-1], subscription.stripe_subscription_id, action, price)


class TestDoctor:
    def test_a_set_up_that_is_right_has_no_problem(self, shop: Shop, public: Settings) -> None:
        bootstrap.register_endpoint("https://credits.example.com/api/webhooks/stripe", say=quiet)
        out = StringIO()

        call_command("stripe_doctor", stdout=out)

        assert "Ready to take payments" in out.getvalue()
        assert {"permission", "portal", "catalogue", "renewals", "ways to pay"} <= {
            p.about for p in doctor.run_checks()
        }

    @pytest.mark.parametrize("permission", PERMISSIONS, ids=lambda permission: permission.name)
    def test_each_permission_that_is_missing_is_named(
        self, shop: Shop, settings: Settings, permission: permissions.Permission
    ) -> None:
        """docs.stripe.com/keys-best-practices: a call that a restricted key may not make is 403."""
        settings.STRIPE_TAX = True
        paths = "|".join(permission.paths)
        faults.plan(shop.stripe.store, {"kinds": ["403"], "path": rf"^/v1/({paths})$"})

        result = [point for point in doctor.run_checks() if point.about == "permission"]

        (missing,) = [point for point in result if point.verdict != Verdict.GOOD]
        assert missing.text.startswith(permission.name)
        assert (missing.verdict == Verdict.LOOK) == permission.is_for_setup
        assert "rak_sandbox" in missing.text

    def test_webhooks_that_go_nowhere_are_a_problem(self, shop: Shop, public: Settings) -> None:
        assert "webhooks" in problems()
        bootstrap.register_endpoint("https://credits.example.com/api/webhooks/stripe", say=quiet)
        assert "webhooks" not in problems()
        (endpoint,) = [row for row in shop.stripe.store.all("webhook_endpoint") if row["url"].startswith("https")]
        endpoint["enabled_events"] = ["invoice.paid"]
        assert "does not get" in told()["webhooks", Verdict.PROBLEM]
        endpoint["status"] = "disabled"
        public.STRIPE_WEBHOOK_SECRETS = []
        assert "webhooks" in problems()

    def test_a_catalogue_of_another_account_is_a_problem(self, shop: Shop) -> None:
        price = Price.objects.get(pack__code="credits-20")
        Price.objects.filter(pk=price.pk).update(amount_minor=999)
        assert "999 eur here, 500 eur at Stripe" in told()["catalogue", Verdict.PROBLEM]
        Price.objects.filter(pk=price.pk).update(stripe_price_id="price_elsewhere")
        assert "catalogue" in problems()

    def test_a_portal_that_somebody_changed_is_a_problem(self, shop: Shop) -> None:
        (created,) = shop.stripe.store.all(CONFIGURATION)
        created["features"]["subscription_cancel"]["mode"] = "immediately"
        assert "subscription_cancel" in told()["portal", Verdict.PROBLEM]
        created["active"] = False
        assert "no settings of ours" in told()["portal", Verdict.PROBLEM]

    def test_keys_of_two_modes_are_a_problem(self, shop: Shop, settings: Settings) -> None:
        settings.STRIPE_PUBLISHABLE_KEY = "pk_live_x"
        assert "key" in problems()

    def test_doctor_reports_a_rejected_key_and_exits_1(self, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
        faults.plan(shop.stripe.store, {"kinds": ["403"]})
        out = StringIO()

        with pytest.raises(SystemExit):
            call_command("stripe_doctor", "--json", stdout=out)

        points = json.loads(out.getvalue())
        assert {"permission", "portal", "catalogue"} <= {p["about"] for p in points if p["verdict"] == "problem"}
        assert all(point["remedy"] for point in points if point["verdict"] != "good")


def test_another_preset_is_added_to_the_one_there_is(shop: Shop) -> None:
    """`stripe_bootstrap --preset` for a second time: what everybody has stays what it was."""
    default = Plan.objects.get(is_default=True)

    bootstrap.push(presets.load("pay-per-use"), say=quiet)

    assert Plan.objects.get(is_default=True) == default


def test_the_documentation_lists_the_permissions() -> None:
    text = (configured.BASE_DIR / "docs" / "going-live.md").read_text()

    for permission in PERMISSIONS:
        assert f"| {permission.name} | {permission.level} |" in text
    assert permissions.needed("GET", "/v1/payouts") is None
    assert permissions.needed("POST", "/v1/disputes/du_1") is None
