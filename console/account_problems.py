"""What is wrong with one account, and which operation or page solves it."""

from dataclasses import dataclass
from datetime import datetime

from django.urls import reverse
from django.utils.translation import gettext as _

from accounts.models import Account
from billing.models import InboxEvent, Order
from billing.stripe import djstripe_store
from billing.subscriptions import invoice_retry, plan_changes
from credits import selectors
from outbox.models import Alert


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing to solve, and the button for it."""

    text: str
    button: str
    url: str
    is_grave: bool = False


def find_problems(account: Account, *, now: datetime) -> list[Problem]:
    """The account's open problems, the gravest first."""
    result: list[Problem] = []
    balance = selectors.balance(account_id=account.pk, now=now)
    if balance.is_frozen:
        result.append(
            Problem(text=_("Spending is stopped."), button=_("Allow it"), url=_do(account, "unfreeze"), is_grave=True)
        )
    current = plan_changes.find_running(account)
    if current and current.is_payment_failed:
        text = _("The payment of %s failed.") % current.price.plan
        result.append(Problem(text=text, button=_("Try again"), url=_do(account, "retry-payment"), is_grave=True))
    elif invoice_retry.open_invoices(account):
        text = _("An invoice waits to be paid.")
        result.append(Problem(text=text, button=_("Try the payment"), url=_do(account, "retry-payment")))
    if balance.debt:
        text = _("%d credits are owed; spending is refused until they are paid.") % balance.debt
        result.append(Problem(text=text, button=_("Forgive"), url=_do(account, "adjust") + f"?forgive={balance.debt}"))
    for order in Order.objects.filter(account=account, status=Order.Status.REVIEW)[:5]:
        text = _("%(order)s is paid, but not as ordered: %(problem)s") % {
            "order": order.public_id,
            "problem": order.problem,
        }
        url = reverse("admin:billing_order_change", args=[order.pk])
        result.append(Problem(text=text, button=_("Look at it"), url=url, is_grave=True))
    if customer_id := djstripe_store.customer_of_account(account.pk):
        failing = InboxEvent.objects.filter(customer_id=customer_id, state__in=["failed", "dead"]).count()
        if failing:
            url = reverse("admin:billing_inboxevent_changelist") + f"?q={customer_id}"
            result.append(Problem(text=_("%d webhooks failed.") % failing, button=_("Replay them"), url=url))
    for alert in Alert.objects.filter(account=account, resolved_at=None).exclude(kind="payment_failed")[:5]:
        url = reverse("admin:outbox_alert_change", args=[alert.pk])
        result.append(Problem(text=f"{alert}: {alert.detail}"[:300], button=_("See the alert"), url=url))
    return sorted(result, key=lambda problem: not problem.is_grave)


def _do(account: Account, code: str) -> str:
    return reverse("admin:accounts_account_do", args=[account.pk, code])
