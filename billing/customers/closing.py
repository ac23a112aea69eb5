"""Closing a customer's account: the plan first, then the credits, then the person."""

from contextlib import suppress
from datetime import datetime

from accounts import closing
from accounts.models import Account, User
from billing.checkout import top_ups
from billing.models import Order
from billing.stripe import erasing, stripe_client
from billing.stripe.stripe_client import NotAtStripeError
from billing.subscriptions import plan_changes
from credits import allowances, ledger, limits, selectors
from credits.models import Hold
from outbox.models import Alert, OutboxEvent, WebhookDelivery, WebhookEndpoint

REASON = "The account was closed."


def close_account(*, account: Account, user: User | None, now: datetime, actor: str = "") -> None:
    """End the plan, take what credits are left, and forget who it was. A second call does what the first did not.

    Raises PaymentProviderUnavailableError before anything else has happened: nobody is charged for a closed account.
    """
    plan_changes.end_all(account=account, now=now)
    _close_payment_pages(account)
    top_ups.switch_off(account=account)
    for series in selectors.active_series(account.pk):
        allowances.end(account_id=account.pk, series=series, keep_paid=False, now=now)
    selectors.settled_wallet(account_id=account.pk, now=now)
    for hold in selectors.open_holds(account.pk):
        ledger.release(account_id=account.pk, hold_id=hold.pk, now=now)
    left = selectors.balance(account_id=account.pk, now=now).available
    if left:
        ledger.adjust(
            account_id=account.pk,
            idempotency_key=f"closing:{account.pk}:{left}",
            reason=REASON,
            actor=actor or (f"user:{user.pk}" if user else ""),
            take=left,
            now=now,
        )
    limits.close(account_id=account.pk, now=now)
    Hold.objects.filter(account=account).update(description="", metadata={})
    WebhookEndpoint.objects.filter(account=account).delete()
    OutboxEvent.objects.filter(account=account).update(data={}, next_attempt_at=None)
    WebhookDelivery.objects.filter(event__account=account).update(answer="")
    Alert.objects.filter(account=account).update(detail="", note="")
    if user is not None:
        # Invitations of others, which were mailed to this address.
        OutboxEvent.objects.filter(data__mail_to=user.email).update(data={}, next_attempt_at=None)
    erasing.erase_at_stripe(account, now=now)
    erasing.redact_stored(account)
    is_team = account.kind == Account.Kind.TEAM
    closing.forget(account=account, user=None if is_team else user, now=now)


def _close_payment_pages(account: Account) -> None:
    """What was begun is not paid any more."""
    waiting = Order.objects.filter(account=account, status=Order.Status.OPEN, provider="stripe")
    for order in waiting:
        with suppress(NotAtStripeError):
            if order.stripe_session_id:
                stripe_client.expire_session(order.stripe_session_id)
            elif order.payment_id:
                stripe_client.cancel_payment(order.payment_id)
