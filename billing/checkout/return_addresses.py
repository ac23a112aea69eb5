"""Where a browser goes after the payment page: to what was asked for, else to a page that its customer can open."""

from django.conf import settings

from accounts.models import Account
from billing.models import Order
from common.urls import absolute_url


def after_payment(order: Order) -> str:
    """Our page that waits for the payment: of a user of an app, it opens without a login."""
    return order.success_url or absolute_url("checkout", order.public_id)


def without_payment(order: Order) -> str:
    """Back to what is for sale. Who has no login here is led to the app, or sees how the checkout stands."""
    if order.cancel_url:
        return order.cancel_url
    if order.account.kind == Account.Kind.EXTERNAL:
        return order.success_url or settings.APP_URL or absolute_url("checkout", order.public_id)
    return f"{absolute_url('credits')}?left={order.public_id}"
