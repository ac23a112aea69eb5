"""Is Stripe set up as the product needs it? Looked at point by point, each with what to do about it.

Nothing is changed at Stripe. What only its dashboard knows is named, to be looked at by a person.
"""

import enum
import re
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import timedelta

import stripe
from django.conf import settings

from billing.catalogue import price_sync
from billing.errors import BillingError
from billing.models import InboxEvent, Price
from billing.setup import permissions
from billing.setup.permissions import Permission
from billing.stripe import event_types, portal_configuration, stripe_client
from billing.stripe.payloads import Stripe, reference
from common import clock
from common.urls import absolute_url

DASHBOARD = "https://dashboard.stripe.com"
FEW = 5  # of one kind are named, the others counted


class Verdict(enum.StrEnum):
    """How a point stands; only a problem makes the doctor fail."""

    GOOD = "good"
    LOOK = "look"  # Stripe's API does not say: a person checks
    PROBLEM = "problem"


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that was looked at: what it is, how it stands, and what to do."""

    about: str
    verdict: Verdict
    text: str
    remedy: str = ""

    def as_data(self) -> dict[str, str]:
        return asdict(self)


def run_checks() -> Iterator[Check]:
    """Every point, in the order of a set-up. What cannot be asked is a problem of that point; the others go on."""
    for about, look in _EXAMINATIONS:
        try:
            yield from look()
        except BillingError as error:
            cause = error.__cause__ or error
            yield _problem(about, f"Stripe does not answer this: {cause}", "See the point about the key.")


def _good(about: str, text: str) -> Check:
    return Check(about=about, verdict=Verdict.GOOD, text=text)


def _problem(about: str, text: str, remedy: str) -> Check:
    return Check(about=about, verdict=Verdict.PROBLEM, text=text, remedy=remedy)


def _look(about: str, text: str, remedy: str) -> Check:
    return Check(about=about, verdict=Verdict.LOOK, text=text, remedy=remedy)


# --- the key -----------------------------------------------------------------------------------------


def _key() -> Iterator[Check]:
    key, public = settings.STRIPE_SECRET_KEY, settings.STRIPE_PUBLISHABLE_KEY
    mode = "live" if settings.STRIPE_LIVE_MODE else "test"
    if not key:
        yield _problem("key", "There is no key.", "Set STRIPE_SECRET_KEY.")
        return
    yield _good("key", f"A {'restricted' if key.startswith('rk_') else 'secret'} key of the {mode} mode.")
    if public and not public.startswith(f"pk_{mode}_"):
        yield _problem("key", f"STRIPE_PUBLISHABLE_KEY is not of the {mode} mode.", "Take both keys from one mode.")
    if settings.STRIPE_LIVE_MODE and not key.startswith("rk_"):
        yield _look("key", "A secret key may do everything.", "A restricted key with the permissions below is safer.")


def _permissions() -> Iterator[Check]:
    """Each permission is tried with a call about an object that does not exist: allowed is 404, forbidden 403."""
    for permission in permissions.PERMISSIONS:
        if permission.is_for_tax and not settings.STRIPE_TAX:
            continue
        name = f"{permission.name}: {permission.level}"
        missing = _missing_permission(permission)
        if missing is None:
            yield _good("permission", name)
        elif permission.is_for_setup:
            yield _look("permission", f"{name} is missing ({missing}).", "Only stripe_bootstrap and this use it.")
        else:
            yield _problem("permission", f"{name} is missing ({missing}).", f"It is for {permission.what_for}.")


def _missing_permission(permission: Permission) -> str | None:
    """What Stripe calls the permission that the key lacks; None when it has it."""
    method, address = permission.probe
    path, _, query = address.partition("?")
    params = dict(pair.split("=") for pair in query.split("&")) if query else {}
    try:
        stripe.StripeClient(
            settings.STRIPE_SECRET_KEY,
            stripe_version=settings.STRIPE_API_VERSION,
            base_addresses={"api": stripe.api_base},
            http_client=stripe.default_http_client,
        ).raw_request(method.lower(), f"/v1/{path}", **params)
    except (stripe.PermissionError, stripe.AuthenticationError) as error:
        named = re.search(r"rak_\w+", str(error))
        return named.group(0) if named else str(error)[:120]
    except stripe.APIConnectionError as error:
        return f"Stripe does not answer: {error}"
    except stripe.StripeError:
        return None  # it is not there, or not asked for rightly: allowed, at any rate
    return None


def _account() -> Iterator[Check]:
    with stripe_client.calling():
        account = stripe_client.plain(stripe.Account.retrieve())
    name = (account.get("settings") or {}).get("dashboard", {}).get("display_name") or account["id"]
    if not settings.STRIPE_LIVE_MODE or account.get("charges_enabled"):
        yield _good("account", f"{name} ({account['id']}), {account.get('country')}.")
    else:
        due = ", ".join((account.get("requirements") or {}).get("currently_due") or [])
        yield _problem("account", f"{name} may not take payments yet. {due}", f"Finish it at {DASHBOARD}/account.")


# --- webhooks ----------------------------------------------------------------------------------------


def _webhooks() -> Iterator[Check]:
    url = absolute_url("stripe-webhook")
    if not settings.STRIPE_WEBHOOK_SECRETS:
        yield _problem(
            "webhooks", "STRIPE_WEBHOOK_SECRETS is empty: nothing would be credited.", "stripe_bootstrap prints it."
        )
    if not settings.BASE_URL.startswith("https://"):
        yield _look("webhooks", f"{url} is not public: Stripe cannot reach it.", "`stripe listen --forward-to` can.")
        return
    with stripe_client.calling():
        rows = [stripe_client.plain(row) for row in stripe.WebhookEndpoint.list(limit=100).auto_paging_iter()]
    result = [row for row in rows if row["url"] == url]
    if not result:
        yield _problem("webhooks", f"{url} is not registered.", "Run stripe_bootstrap.")
    for row in result:
        yield from _endpoint(row)
    if len(result) > 1:
        yield _look("webhooks", "The address is registered twice.", "Put both secrets in STRIPE_WEBHOOK_SECRETS.")
    latest = InboxEvent.objects.order_by("-received_at").values_list("received_at", flat=True).first()
    if latest is None:
        yield _look("webhooks", "None has come in yet.", "Buy something, or send a test event from the dashboard.")
    else:
        yield _good("webhooks", f"The latest came in {_ago(clock.now() - latest)} ago.")


def _endpoint(row: Stripe) -> Iterator[Check]:
    url, version = row["url"], settings.STRIPE_API_VERSION
    missing = [] if "*" in row["enabled_events"] else sorted(set(event_types.EVENTS) - set(row["enabled_events"]))
    if row["status"] != "enabled":
        yield _problem("webhooks", f"{url} is switched off.", f"Switch it on at {DASHBOARD}/webhooks.")
    if row.get("api_version") not in (None, version):
        yield _look(
            "webhooks",
            f"{url} speaks version {row['api_version']}, not {version}.",
            "It works (objects are asked for anew); make it anew to have both alike.",
        )
    if missing:
        yield _problem("webhooks", f"{url} does not get {_some(missing)}.", "Run stripe_bootstrap.")
    if row["status"] == "enabled" and not missing:
        yield _good("webhooks", f"{url} gets all {len(event_types.EVENTS)} kinds of events.")


# --- what customers meet -----------------------------------------------------------------------------


def _portal() -> Iterator[Check]:
    known = portal_configuration.find()
    if known is None:
        yield _problem("portal", "It has no settings of ours.", "Run stripe_bootstrap.")
    elif changed := portal_configuration.differences(known):
        yield _problem("portal", f"Its settings differ: {', '.join(changed)}.", "Run stripe_bootstrap.")
    else:
        yield _good("portal", f"Set up ({known['id']}).")


def _ways_to_pay() -> Iterator[Check]:
    with stripe_client.calling():
        rows = [
            stripe_client.plain(row) for row in stripe.PaymentMethodConfiguration.list(limit=100).auto_paging_iter()
        ]
    default = next((row for row in rows if row.get("is_default")), None)
    if default is None:
        yield _look("ways to pay", "There is no default configuration.", f"{DASHBOARD}/settings/payment_methods")
        return
    available = sorted(
        name for name, value in default.items() if isinstance(value, dict) and value.get("available") is True
    )
    if "card" in available:
        yield _good("ways to pay", f"{', '.join(available)}.")
    else:
        yield _problem(
            "ways to pay", "Cards are off: top-ups and plans need them.", f"{DASHBOARD}/settings/payment_methods"
        )


def _tax() -> Iterator[Check]:
    if not settings.STRIPE_TAX:
        yield _look("tax", "STRIPE_TAX is off: no VAT is charged or shown.", "Right only if you need not charge any.")
        return
    with stripe_client.calling():
        own_settings = stripe_client.plain(stripe.tax.Settings.retrieve())
        registered = [stripe_client.plain(row) for row in stripe.tax.Registration.list(status="active", limit=100).data]
    where = f"{DASHBOARD}/settings/tax"
    if own_settings.get("status") != "active":
        yield _problem("tax", "Stripe Tax is not active.", f"Give your head office and a tax code at {where}.")
    if not registered:
        yield _problem("tax", "There is no registration: nothing is charged anywhere.", f"Add one at {where}.")
    else:
        yield _good("tax", f"Registered in {', '.join(sorted(row['country'] for row in registered))}.")
    if not (own_settings.get("defaults") or {}).get("tax_behavior"):
        unsaid = [
            str(price["id"])
            for price in map(stripe_client.plain, stripe_client.list_all("price", active=True))
            if price.get("tax_behavior") in (None, "unspecified")
        ]
        if unsaid:
            yield _problem("tax", f"{_some(unsaid)} say not whether VAT is inside.", f"Choose a default at {where}.")


def _dunning() -> Iterator[Check]:
    yield _look(
        "renewals",
        "Stripe's API does not tell how failed renewals are tried again.",
        f"{DASHBOARD}/settings/billing/automatic: smart retries, then cancel the subscription; mails to customers off, "
        "as ours say the same.",
    )
    yield _look(
        "renewals",
        "A renewal's invoice is a draft for an hour."
        + (" Ours are charged at once (FINALIZE_RENEWALS)." if settings.FINALIZE_RENEWALS else ""),
        "Leave the finalisation's delay at its default.",
    )


# --- the catalogue -----------------------------------------------------------------------------------


def _catalogue() -> Iterator[Check]:
    theirs = {str(row["id"]): row for row in map(stripe_client.plain, stripe_client.list_all("price"))}
    wrong = 0
    for price in Price.objects.select_related("plan", "pack"):
        for text in _differences(price, theirs.get(price.stripe_price_id)):
            wrong += 1
            named = f"{price.plan or price.pack}, {price.stripe_price_id}"
            yield _problem("catalogue", f"{named}: {text}", "Run sync_prices.")
    known = set(Price.objects.values_list("stripe_price_id", flat=True))
    for product in map(stripe_client.plain, stripe_client.list_all("product", active=True)):
        is_ours = (product.get("metadata") or {}).get(price_sync.KIND) in price_sync.MODELS
        prices = [row for row in theirs.values() if reference(row["product"]) == product["id"] and row["active"]]
        if is_ours and prices and not any(str(row["id"]) in known for row in prices):
            wrong += 1
            yield _problem("catalogue", f"{product['name']} is for sale at Stripe, and not here.", "Run sync_prices.")
    if not known:
        yield _problem("catalogue", "Nothing is for sale.", "Run stripe_bootstrap --preset …")
    elif not wrong:
        yield _good("catalogue", f"{len(known)} prices are the same at Stripe and here.")


def _differences(price: Price, theirs: Stripe | None) -> Iterator[str]:
    if theirs is None:
        yield "not at Stripe (of another account or mode?)"
        return
    if (price.amount_minor, price.currency) != (theirs["unit_amount"], theirs["currency"]):
        yield f"{price.amount_minor} {price.currency} here, {theirs['unit_amount']} {theirs['currency']} at Stripe"
    if price.is_active != price_sync.is_on_sale(price, theirs):
        yield f"{'on' if theirs['active'] else 'off'} sale at Stripe"


_EXAMINATIONS: tuple[tuple[str, Callable[[], Iterator[Check]]], ...] = (
    ("key", _key),
    ("permission", _permissions),
    ("account", _account),
    ("webhooks", _webhooks),
    ("portal", _portal),
    ("ways to pay", _ways_to_pay),
    ("tax", _tax),
    ("renewals", _dunning),
    ("catalogue", _catalogue),
)


def _some(names: list[str]) -> str:
    more = len(names) - FEW
    return ", ".join(names[:FEW]) + (f" and {more} more" if more > 0 else "")


def _ago(span: timedelta) -> str:
    minutes = int(span.total_seconds() // 60)
    return f"{minutes} minutes" if minutes < 120 else f"{minutes // 60} hours"  # noqa: PLR2004 - as people say it
