"""Amounts of money in the reader's words, and whether they are the last word."""

from django.conf import settings
from django.utils.translation import get_language

from common import currencies


def amount_in_words(minor: int, currency: str) -> str:
    """An amount in minor units as the reader of the active language writes it: EUR 5.00 as €5.00 or € 5,00."""
    return currencies.in_words(minor, currency, (get_language() or "en").replace("-", "_"))


def may_differ_from_list() -> bool:
    """Whether what is taken may be another amount than is listed: Stripe counts VAT and the customer's discounts."""
    return bool(settings.STRIPE_TAX or settings.STRIPE_PROMOTION_CODES)
