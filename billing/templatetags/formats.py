"""Filters for templates: money, credits, identifiers, as a reader knows them."""

from datetime import UTC, datetime
from decimal import Decimal

from babel import Locale
from babel.numbers import format_currency
from django import template
from django.utils import formats
from django.utils.timesince import timeuntil
from django.utils.translation import get_language, gettext

from accounts.models import Scope
from billing.models import Order, PaymentRecord, Price, Subscription
from billing.money import amount_in_words
from billing.subscriptions import price_moves
from common import currencies
from credits.models import Transaction
from usage import rate_card

register = template.Library()

BUCKET_NAMES = {
    "free_daily": "Free today",
    "free_monthly": "Free this month",
    "plan": "From your plan",
    "purchased": "Bought",
    "promo": "Bonus",
    "grant": "Given to you",
}


INVOICE_STATES = {
    "draft": "In the making",
    "open": "To be paid",
    "paid": "Paid",
    "uncollectible": "Not collected",
    "void": "Void",
}
GRANT_NAMES = {
    ("free", "day"): "Free credits of the day",
    ("free", "month"): "Free credits of the month",
    ("plan", "month"): "Credits of your plan",
    ("purchase", None): "Credits bought",
    ("bonus", None): "Bonus credits",
    ("adjustment", None): "Credits given",
}


@register.filter
def money(priced: Price | Order) -> str:
    """What something costs, in the reader's format."""
    return money_of(priced.amount_minor, priced.currency)


@register.simple_tag
def money_of(minor: int, currency: str) -> str:
    """An amount in minor units, in the reader's format."""
    return amount_in_words(minor, currency)


@register.simple_tag
def coming_price(subscription: Subscription) -> tuple[Price, datetime] | None:
    """The price that was announced to a plan, and from when on."""
    return price_moves.coming(subscription)


@register.simple_tag
def price_per_credit(price: Price, credits: int) -> str:
    """What one credit of a pack costs."""
    return each_of(price.amount_minor, price.currency, credits)


@register.simple_tag
def each_of(minor: int, currency: str, credits: int) -> str:
    """What one of so many credits comes to."""
    code = currency.upper()
    exact = currencies.major(minor, currency) / credits
    # Three digits behind the point; of what is tiny, two that count.
    places = max(3, 1 - exact.adjusted()) if exact else 3
    amount = exact.quantize(Decimal(1).scaleb(-places))
    locale = Locale.parse(get_language() or "en", sep="-")
    # As the language writes money, with a third digit where it is needed.
    pattern = (
        str(locale.currency_formats["standard"].pattern).partition(";")[0].replace("0.00", f"0.00{'#' * (places - 2)}")
    )
    return str(format_currency(amount, code, locale=locale, decimal_quantization=False, format=pattern))


@register.filter
def span_until(moment: datetime, now: datetime) -> str:
    """How long it is until then, in its largest unit: `5 hours`."""
    return timeuntil(moment, now, depth=1)


@register.filter
def country_name(code: str) -> str:
    """A country in the reader's language."""
    return str(Locale.parse(get_language() or "en", sep="-").territories.get(code, code))


@register.filter
def from_micros(micros: int) -> str:
    """Millionths of a currency's unit as that unit, in the reader's format: for sums of many small costs."""
    return formats.number_format(Decimal(micros).scaleb(-6), decimal_pos=2)


@register.filter
def invoice_state(state: str) -> str:
    """Stripe's word for how an invoice stands, in plain words."""
    return gettext(INVOICE_STATES[state]) if state in INVOICE_STATES else state


@register.filter
def payment_state(payment: PaymentRecord | None) -> str:
    """What became of a payment's money, in plain words; nothing where all of it is here."""
    if payment is None or payment.state == PaymentRecord.State.PAID:
        return ""
    if payment.state == PaymentRecord.State.PARTLY_REFUNDED:
        back = amount_in_words(payment.refunded_minor, payment.currency)
        return gettext("%(amount)s refunded") % {"amount": back}
    return str(payment.state.label)


@register.filter
def scope_name(scope: str) -> str:
    """What a key may do, in plain words."""
    return str(Scope(scope).label) if scope in Scope.values else scope


@register.filter
def bucket_name(kind: str) -> str:
    """A kind of credits in plain words."""
    return gettext(BUCKET_NAMES[kind])


@register.filter
def signed(amount: int) -> str:
    """A change of the balance, with its sign."""
    return f"+{amount}" if amount > 0 else f"−{abs(amount)}" if amount else "0"


@register.filter
def moved(row: Transaction) -> str:
    """What a transaction did to the balance; where it moved none of it, what it did to the debt."""
    if row.amount or not row.debt_change:
        return signed(row.amount)
    return gettext("owed %(change)s") % {"change": signed(row.debt_change)}


@register.filter
def in_words(row: Transaction) -> str:
    """What a transaction was, for the customer."""
    if row.kind == Transaction.Kind.GRANT:
        came = row.metadata.get("source"), row.metadata.get("period")
        name = gettext(GRANT_NAMES.get(came, "Credits added"))
        return f"{name}: {row.description}" if row.description else name
    if row.kind in (Transaction.Kind.REVOKE, Transaction.Kind.RESTORE) and ":" in row.description:
        # What follows is the payment's id at its provider, which is for operators.
        return gettext(row.description.partition(":")[0])
    if row.description:
        return row.description
    if row.feature:
        name = rate_card.name_of(row.feature)
        return f"{row.quantity} × {name}" if row.quantity and row.quantity > 1 else name
    return str(row.get_kind_display())


@register.filter
def in_words_alone(row: Transaction) -> str:
    """What one of several spends was: its feature without a quantity."""
    return rate_card.name_of(row.feature) if row.feature else row.description or str(row.get_kind_display())


@register.filter
def abs_number(number: int) -> int:
    return abs(number)


@register.filter
def from_timestamp(seconds: int) -> datetime:
    """Stripe's seconds since 1970 as a moment."""
    return datetime.fromtimestamp(seconds, UTC)


@register.filter
def split(text: str) -> list[str]:
    """The parts of a text between bars."""
    return text.split("|")
