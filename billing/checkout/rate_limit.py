"""How often one customer may have Stripe called: its limit is the merchant's, and all customers share it.

Stripe takes 100 requests a second (docs.stripe.com/rate-limits); beyond, everybody's payments are refused.
"""

from django.conf import settings

from accounts.models import Account
from api import throttling


def check(account: Account) -> None:
    """Count a payment page or a visit to the billing portal. Raises RateLimitedError."""
    if most := settings.PAYMENT_PAGES_PER_MINUTE:
        throttling.count([throttling.Limit(name="payment_page", who=str(account.pk), most=most)])
