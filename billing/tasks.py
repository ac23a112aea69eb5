"""Celery's side of billing: each task is one call of a function that is tested without Celery."""

import uuid
from datetime import timedelta

import structlog
from celery import shared_task

from accounts import customer_sessions
from billing.checkout import purchases, top_ups, waiting_orders
from billing.customers import address_sync
from billing.errors import PaymentProviderRefusedError, PaymentProviderUnavailableError
from billing.models import Order
from billing.notifications import ending_trials, expiring_cards
from billing.payments import books, manual_settlement
from billing.reconciliation import comparison
from billing.stripe import djstripe_store, erasing, stripe_client
from billing.subscriptions import price_moves
from billing.webhooks import inbox, webhook_monitor
from common import clock
from outbox import alerts
from outbox.models import Alert

logger = structlog.get_logger(__name__)

BUSY_PAUSE_S = 1
# Stripe itself tries a webhook for three days; a week leaves room for a long weekend.
RECONCILED = timedelta(days=7)


@shared_task
def process_event(*, event_id: str) -> None:
    """Act on one event of the inbox; wait a moment when its customer is being worked on."""
    state = inbox.process(event_id=event_id, now=clock.now())
    if state == inbox.STATE.RECEIVED:
        process_event.apply_async(kwargs={"event_id": event_id}, countdown=BUSY_PAUSE_S)


@shared_task
def sweep_inbox() -> None:
    """Take up the events that nobody has processed though it is time."""
    for event_id in inbox.due(now=clock.now()):
        process_event.delay(event_id=event_id)


@shared_task
def move_prices() -> None:
    """Move running plans to the price that replaced theirs, as an operator decided."""
    if planned := price_moves.run(now=clock.now()):
        logger.info("prices_moved", count=planned)


@shared_task
def reconcile() -> None:
    """Repair what webhooks of the last days missed, and log as an error what cannot be mended."""
    now = clock.now()
    since = now - RECONCILED
    result = list(comparison.differences(since=since))
    mended = [row for row in result if comparison.repair(row, now=now)]
    if mended:
        logger.warning("reconciliation_mended", count=len(mended), objects=[row.object_id for row in mended])
    for row in result:
        if row in mended:
            alerts.resolve(Alert.Kind.RECONCILIATION, subject=row.object_id, now=now, note="mended")
        else:
            logger.error("reconciliation_differs", kind=row.kind, object_id=row.object_id, problem=row.problem)
            manual_settlement.record_difference(
                kind=row.kind, object_id=row.object_id, problem=row.problem, account_id=row.account_id, now=now
            )
            detail = f"{row.kind}: {row.problem}. Mend it, or settle it: on the customer's page, or with "
            detail += f"`manage.py reconcile --settle {row.kind}:{row.object_id} --reason …`"
            alerts.raise_alert(
                Alert.Kind.RECONCILIATION, row.object_id, detail=detail, account_id=row.account_id, now=now
            )
    manual_settlement.forget_resolved(than=now)


@shared_task
def audit_books() -> None:
    """See that what was paid is earned, owed, given back or tax; what is not is an error in the log, and one alert."""
    now = clock.now()
    problems = list(books.problems(now))
    for problem in problems:
        logger.error("books_disagree", problem=problem)
    if problems:
        detail = f"{len(problems)} differences; `manage.py audit_books` lists them. The first: {problems[0]}"
        alerts.raise_alert(Alert.Kind.LEDGER, "books", detail=detail, now=now)
    else:
        alerts.resolve(Alert.Kind.LEDGER, subject="books", now=now, note="agree again")


@shared_task
def top_up(*, account_id: str) -> None:
    """Buy an account's pack if its balance is below its line."""
    try:
        top_ups.buy_if_due(account_id=uuid.UUID(account_id), now=clock.now())
    except PaymentProviderUnavailableError as error:
        logger.warning("top_up_unanswered", account_id=account_id, error=str(error))  # the next round asks again


@shared_task
def top_up_accounts() -> None:
    """Take up the accounts whose balance is below their line."""
    for account_id in top_ups.due():
        top_up.delay(account_id=str(account_id))


@shared_task
def warn_of_expiring_cards() -> None:
    """Mail the customers whose saved card ends soon."""
    expiring_cards.warn(now=clock.now())


@shared_task
def warn_of_ending_trials() -> None:
    """Mail the customers whose trial ends soon what it costs from then on."""
    ending_trials.warn(now=clock.now())


@shared_task
def update_customers() -> None:
    """Send Stripe the billing addresses that have changed here."""
    address_sync.update_customers(now=clock.now())


@shared_task
def refresh_order(*, order_id: str) -> None:
    """Fetch how one order's payment stands: its provider reported a change."""
    order = Order.objects.with_related().get(pk=order_id)
    purchases.refresh(order, now=clock.now())


@shared_task
def refresh_waiting_orders() -> None:
    """Fetch how payments stand that no event came for."""
    waiting_orders.refresh(now=clock.now())


@shared_task
def close_abandoned_orders() -> None:
    """End the orders that nobody will pay any more."""
    waiting_orders.close_abandoned(now=clock.now())


@shared_task
def retry_copies() -> None:
    """Copy again what dj-stripe could not store."""
    now = clock.now()
    for kind, object_id in djstripe_store.failures_due(now=now):
        try:
            djstripe_store.store(kind, stripe_client.retrieve(kind, object_id), now=now)
        except stripe_client.NotAtStripeError:
            djstripe_store.dismiss_failure(object_id, "gone at Stripe", now=now)
        except (PaymentProviderUnavailableError, PaymentProviderRefusedError) as error:
            logger.warning("copy_not_retried", kind=kind, object_id=object_id, error=str(error))


@shared_task
def forget_payloads() -> None:
    """Empty stored webhooks that are older than they may be kept; forget which links were opened long ago."""
    erasing.purge_payloads(now=clock.now())
    customer_sessions.forget_used(before=clock.now() - customer_sessions.LINK_FOR - timedelta(days=1))


@shared_task
def watch_webhooks() -> None:
    """Alert when Stripe's webhooks do not come in."""
    webhook_monitor.check(now=clock.now())
