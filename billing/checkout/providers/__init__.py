"""Who takes the money for an order. Each provider is one module with one object that does what Provider says.

Adding one: docs/providers.md.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from django.conf import settings
from django.utils.module_loading import import_string

from billing.errors import PriceNotSellableError
from billing.models import Order


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A payment that a customer can make now: at `url`, or with the provider's script and `client_secret`."""

    session_id: str = ""
    payment_id: str = ""
    url: str = ""
    client_secret: str = ""
    total_minor: int = 0  # of a payment with a client secret: what it comes to, VAT included
    expires_at: datetime | None = None


class Provider(Protocol):
    """What billing asks of a provider. Calls may take seconds: never inside a transaction."""

    def open(self, order: Order) -> Opened:
        """Prepare the payment of an order. Called again for the same order, the same payment is answered.

        Raises PriceNotSellableError, or PaymentProviderUnavailableError: then the same order may be tried again.
        """

    def refresh(self, order: Order, *, now: datetime) -> None:
        """Fetch how the payment stands, and sync the order and its credits with it. Raises FulfilmentError."""

    def refund(self, order: Order, *, amount_minor: int, reason: str, idempotency_key: str, now: datetime) -> None:
        """Give money back, and claw its credits back. Raises RefundRefusedError, which says why."""


# By the name that an order keeps; PAYMENT_PROVIDERS says which are switched on.
PROVIDERS = {
    "stripe": "billing.checkout.providers.stripe.StripeProvider",
    "payconiq": "billing.checkout.providers.payconiq.PayconiqProvider",
}


def get(name: str) -> Provider:
    """The provider of an order, on or off: what was begun with it can be ended with it."""
    provider: Provider = import_string(PROVIDERS[name])()
    return provider


def check_is_on(name: str) -> None:
    """Raises PriceNotSellableError for a provider that takes no new payments here."""
    if name not in settings.PAYMENT_PROVIDERS:
        raise PriceNotSellableError(f"Payments through {name!r} are not taken here.")
