"""What stands on a customer's invoices: name, address, tax number. Stripe keeps it; here it is read and changed."""

from dataclasses import dataclass

import stdnum.exceptions
from stdnum.eu import vat
from stdnum.gb import vat as british_vat
from stdnum.util import clean

from accounts.models import Account
from billing.checkout.providers.stripe import customer_of
from billing.errors import TaxNumberRefusedError
from billing.models import StripeCustomer
from billing.stripe import djstripe_store, stripe_client

# Two letters that a VAT number of the union starts with where they are not the country's own (VIES).
VIES = {"GR": "EL"}


@dataclass(frozen=True, kw_only=True)
class BillingProfile:
    """As an invoice shows them; `tax_number` without spaces."""

    name: str = ""
    line1: str = ""
    line2: str = ""
    postal_code: str = ""
    city: str = ""
    country: str = ""
    tax_number: str = ""


@dataclass(frozen=True, kw_only=True)
class Card:
    """The card that is charged, as Stripe shows it."""

    brand: str
    last4: str
    exp_month: int
    exp_year: int


def stored_address(account: Account) -> BillingProfile:
    """Name and address as last received, without asking Stripe."""
    return _profile(djstripe_store.customer_data(account.pk), "")


def fetch(account: Account) -> BillingProfile:
    """All of it as Stripe has it now. Raises PaymentProviderUnavailableError."""
    customer_id = djstripe_store.customer_of_account(account.pk)
    if not customer_id:
        return BillingProfile(name=account.name)
    numbers = stripe_client.tax_ids_of(customer_id)
    result = stripe_client.plain(stripe_client.retrieve("customer", customer_id))
    return _profile(result, str(numbers[0]["value"]) if numbers else "")


def save(account: Account, details: BillingProfile) -> None:
    """Put it on every invoice from now on.

    Raises TaxNumberRefusedError before anything is changed, and PaymentProviderUnavailableError.
    """
    kind, number = tax_number(details.tax_number, country=details.country) if details.tax_number else ("", "")
    customer_id = customer_of(account)
    stripe_client.set_tax_id(customer_id, kind=kind, number=number)
    address = {name: getattr(details, name) for name in ("line1", "line2", "postal_code", "city", "country")}
    changed = stripe_client.update_customer(customer_id, name=details.name, address=address)
    djstripe_store.store("customer", changed)
    StripeCustomer.objects.filter(pk=customer_id).update(name="")  # theirs now, and not the account's


def tax_number(text: str, *, country: str) -> tuple[str, str]:
    """Stripe's type of a VAT number and the number as Stripe wants it, its check digits checked.

    Raises TaxNumberRefusedError.
    """
    try:
        if country == "GB":
            return "gb_vat", f"GB{british_vat.validate(text)}"
        number = clean(text, " .-/").upper()
        prefix = VIES.get(country, country)
        if number[:2] != prefix and number[:2].isalpha():
            raise TaxNumberRefusedError("This VAT number is of another country than the address.")
        return "eu_vat", str(vat.validate(f"{prefix}{number.removeprefix(prefix)}"))
    except stdnum.exceptions.ValidationError as error:
        raise TaxNumberRefusedError("This is no valid VAT number: look for a mistyped letter or digit.") from error


def saved_card(account: Account) -> Card | None:
    """The card that is charged for this account, if it left one."""
    card_id = djstripe_store.saved_card(account.pk)
    for _account_id, known_id, card in djstripe_store.cards_of([account.pk]):
        if known_id == card_id:
            shown = {name: card[name] for name in ("last4", "exp_month", "exp_year")}
            return Card(brand=str(card["brand"]).replace("_", " ").title(), **shown)
    return None


def _profile(customer: dict[str, object], number: str) -> BillingProfile:
    address = customer.get("address")
    known = address if isinstance(address, dict) else {}
    parts = {name: str(known.get(name) or "") for name in ("line1", "line2", "postal_code", "city", "country")}
    return BillingProfile(name=str(customer.get("name") or ""), tax_number=number, **parts)
