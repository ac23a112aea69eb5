"""Minor units as Stripe counts them, which is not always as CLDR does (docs.stripe.com/currencies, "Minor units").

CLDR writes eleven currencies without decimals that Stripe takes with two (RSD, ALL, ISK, UGX, ...): an amount of 200000
is RSD 2,000.00, not RSD 200,000.
"""

from decimal import Decimal

from babel.numbers import format_currency, get_currency_precision

# Zero-decimal currencies. (ISK and UGX were, and are sent with two digits all the same; so are HUF and TWD.)
WHOLE = frozenset(
    {
        "bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "vnd", "vuv", "xaf", "xof", "xpf",
    }
)  # fmt: skip
# Three-decimal currencies.
THOUSANDTHS = frozenset({"bhd", "jod", "kwd", "omr", "tnd"})


def digits(currency: str) -> int:
    """How many decimals an amount of this currency has in minor units."""
    code = currency.lower()
    return 0 if code in WHOLE else 3 if code in THOUSANDTHS else 2


def major(minor: int, currency: str) -> Decimal:
    """An amount in minor units as people count it: 500 of eur is 5.00."""
    return Decimal(minor).scaleb(-digits(currency))


def in_words(minor: int, currency: str, locale: str) -> str:
    """An amount in minor units as a reader of this language writes it: €5.00, € 5,00, ¥1,500."""
    code, amount = currency.upper(), major(minor, currency)
    if get_currency_precision(code) == digits(currency):
        return str(format_currency(amount, code, locale=locale))
    # Two decimals where CLDR has none: by the pattern of the language itself.
    return str(format_currency(amount, code, locale=locale, currency_digits=False))
