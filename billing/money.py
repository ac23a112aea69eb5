"""Amounts of money in the reader's words."""

from decimal import Decimal

from babel.numbers import format_currency, get_currency_precision
from django.utils.translation import get_language


def amount_in_words(minor: int, currency: str) -> str:
    """An amount in minor units as the reader of the active language writes it: EUR 5.00 as €5.00 or € 5,00."""
    code = currency.upper()
    amount = Decimal(minor).scaleb(-get_currency_precision(code))
    return str(format_currency(amount, code, locale=(get_language() or "en").replace("-", "_")))
