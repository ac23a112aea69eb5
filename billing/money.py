"""Amounts of money in the reader's words."""

from django.utils.translation import get_language

from common import currencies


def amount_in_words(minor: int, currency: str) -> str:
    """An amount in minor units as the reader of the active language writes it: EUR 5.00 as €5.00 or € 5,00."""
    return currencies.in_words(minor, currency, (get_language() or "en").replace("-", "_"))
