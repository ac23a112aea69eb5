"""What Tegoed asks of Stripe's API: the permissions of a restricted key, call by call.

Every call that the tests make is held to this list (conftest.py), so that it is complete. Names are those of the
dashboard's page for restricted keys; `probe` is a call that shows whether the key may, and does nothing.
"""

import re
from dataclasses import dataclass

READ, WRITE = "read", "write"


@dataclass(frozen=True, kw_only=True)
class Permission:
    """One line of the dashboard's page, and the calls that need it."""

    name: str
    level: str
    paths: tuple[str, ...]  # regular expressions of the addresses, below /v1
    what_for: str
    probe: tuple[str, str]  # a method, and an address whose object does not exist
    is_for_setup: bool = False  # only `stripe_bootstrap` and `stripe_doctor` need it
    is_for_tax: bool = False

    def covers(self, method: str, path: str) -> bool:
        """Whether a call needs this permission."""
        is_allowed = self.level == WRITE or method == "GET"
        return is_allowed and any(re.fullmatch(pattern, path) for pattern in self.paths)


PERMISSIONS = (
    Permission(
        name="Accounts", level=READ, paths=("account", r"accounts/\w+"), probe=("GET", "account"),
        what_for="whose account this is (dj-stripe asks with its first copy)",
    ),
    Permission(
        name="Products", level=WRITE, paths=(r"products(/[\w-]+(/features)?)?",),
        probe=("POST", "products/prod_tegoed_doctor"),
        what_for="the catalogue; made and changed in the console and by `stripe_bootstrap`",
    ),
    Permission(
        name="Prices", level=WRITE, paths=(r"prices(/\w+)?",), probe=("POST", "prices/price_tegoed_doctor"),
        what_for="the catalogue; made and changed in the console and by `stripe_bootstrap`",
    ),
    Permission(
        name="Customers", level=WRITE, paths=(r"customers(/\w+(/tax_ids(/\w+)?)?)?",),
        probe=("POST", "customers/cus_tegoed_doctor"), what_for="customers, their addresses and tax numbers",
    ),
    Permission(
        name="Payment Methods", level=READ, paths=(r"payment_methods(/\w+)?",),
        probe=("GET", "payment_methods?limit=1"),
        what_for="the card that top-ups and plans are paid with",
    ),
    Permission(
        name="Checkout Sessions", level=WRITE, paths=(r"checkout/sessions(/\w+(/expire|/line_items)?)?",),
        probe=("POST", "checkout/sessions/cs_test_tegoeddoctor/expire"), what_for="payment pages",
    ),
    Permission(
        name="PaymentIntents", level=WRITE, paths=(r"payment_intents(/\w+(/cancel)?)?",),
        probe=("POST", "payment_intents/pi_tegoed_doctor/cancel"), what_for="card forms and automatic top-ups",
    ),
    Permission(
        name="Charges and Refunds", level=WRITE, paths=(r"charges(/\w+)?", r"refunds(/\w+)?"),
        probe=("POST", "refunds/re_tegoed_doctor"), what_for="what was paid, and money back",
    ),
    Permission(
        name="Balance", level=READ, paths=(r"balance_transactions(/\w+)?",),
        probe=("GET", "balance_transactions?limit=1"), what_for="dj-stripe's copies of charges and refunds",
    ),
    Permission(
        name="Disputes", level=READ, paths=(r"disputes(/\w+)?",), probe=("GET", "disputes?limit=1"),
        what_for="payments that a bank takes back",
    ),
    Permission(
        name="Subscriptions", level=WRITE,
        paths=(r"subscriptions(/\w+)?", r"subscription_items(/\w+)?", r"subscription_schedules(/\w+(/release)?)?"),
        probe=("POST", "subscriptions/sub_tegoed_doctor"), what_for="plans, and planned changes of them",
    ),
    Permission(
        name="Invoices", level=WRITE,
        paths=(r"invoices(/\w+(/pay|/finalize|/void|/lines)?)?", r"invoice_payments(/\w+)?"),
        probe=("POST", "invoices/in_tegoed_doctor/void"), what_for="what plans are paid with, renewals among them",
    ),
    Permission(
        name="Credit notes", level=READ, paths=(r"credit_notes(/\w+)?",), probe=("GET", "credit_notes?limit=1"),
        what_for="invoices that are lowered afterwards: credits follow",
    ),
    Permission(
        name="Coupons", level=WRITE, paths=(r"coupons(/\w+)?",), probe=("POST", "coupons/tegoed_doctor"),
        what_for="discount codes made in the console, and discounts, which dj-stripe copies with what they are on",
    ),
    Permission(
        name="Promotion Codes", level=WRITE, paths=(r"promotion_codes(/\w+)?",),
        probe=("POST", "promotion_codes/promo_tegoed_doctor"), what_for="the codes of discounts, as above",
    ),
    Permission(
        name="Customer portal", level=WRITE, paths=(r"billing_portal/(sessions|configurations)(/\w+)?",),
        probe=("POST", "billing_portal/configurations/bpc_tegoed_doctor"), what_for="the billing portal",
    ),
    Permission(
        name="Events", level=READ, paths=(r"events(/\w+)?",), probe=("GET", "events?limit=1"),
        what_for="what was missed: `replay_events --since`, the nightly reconciliation",
    ),
    Permission(
        name="Webhook Endpoints", level=WRITE, paths=(r"webhook_endpoints(/\w+)?",),
        probe=("POST", "webhook_endpoints/we_tegoed_doctor"), what_for="registering our address", is_for_setup=True,
    ),
    Permission(
        name="Payment Method Configurations", level=READ, paths=(r"payment_method_configurations(/\w+)?",),
        probe=("GET", "payment_method_configurations?limit=1"), what_for="which ways to pay are on", is_for_setup=True,
    ),
    Permission(
        name="Tax Calculations", level=WRITE, paths=(r"tax/calculations(/\w+)?",),
        probe=("POST", "tax/calculations"), what_for="VAT on card forms and automatic top-ups", is_for_tax=True,
    ),
    Permission(
        name="Tax Settings and Registrations", level=READ, paths=("tax/settings", r"tax/registrations(/\w+)?"),
        probe=("GET", "tax/settings"), what_for="whether tax is set up, and whether prices include it",
        is_for_tax=True,
    ),
)  # fmt: skip


def needed(method: str, path: str) -> Permission | None:
    """The permission that a call needs; None when the list does not know the call."""
    path = path.removeprefix("/v1/")
    return next((permission for permission in PERMISSIONS if permission.covers(method, path)), None)
