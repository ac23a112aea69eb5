"""Whether what is taken may be less, or more, than what is listed."""

from django.conf import settings

from billing.models import DiscountCode


def are_codes_taken() -> bool:
    """Whether payment pages have a field for a code: of those made in the console, or in Stripe's dashboard."""
    return bool(settings.STRIPE_PROMOTION_CODES) or DiscountCode.objects.filter(is_active=True).exists()


def may_differ_from_list() -> bool:
    """Whether what is taken may be another amount than is listed: Stripe counts VAT and the customer's discounts."""
    return bool(settings.STRIPE_TAX) or are_codes_taken()
