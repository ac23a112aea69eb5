"""One account's story, latest first: the ledger, payments, webhooks, e-mails, logins, and what staff did."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from allauth.usersessions.models import UserSession
from django.urls import reverse
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy as later

from accounts.models import Account
from billing.models import InboxEvent, Order
from billing.notifications import mails
from billing.stripe import djstripe_store
from billing.stripe.payloads import moment
from common.admin import money
from console.models import AuditEvent
from credits import selectors
from credits.models import Transaction
from outbox.models import Alert, OutboxEvent

KINDS = {
    "ledger": later("Ledger"),
    "payment": later("Payments"),
    "webhook": later("Webhooks"),
    "mail": later("E-mails"),
    "login": later("Logins"),
    "staff": later("Staff"),
    "alert": later("Alerts"),
}
EACH = 40
LEDGER_ROWS = 400  # which are grouped
SHOWN = 80
GROUPED_FOR = timedelta(hours=1)


@dataclass(frozen=True, kw_only=True)
class Moment:
    """One thing that happened."""

    at: datetime
    kind: str
    text: str
    detail: str = ""
    url: str = ""
    is_bad: bool = False
    # Neighbours of one group within GROUPED_FOR are one row, whose text `of_many` makes of their number and sum.
    group: str = ""
    amount: int = 0
    of_many: str = ""
    names: tuple[str, ...] = ()  # what they are, where that differs
    count: int = 1

    @property
    def label(self) -> str:
        """The kind, for a reader."""
        return str(KINDS[self.kind])


def timeline(account: Account, *, kinds: Iterable[str] = ()) -> list[Moment]:
    """The latest things of each kind (all, if none is named), merged."""
    wanted = [kind for kind in kinds if kind in _SOURCES] or list(_SOURCES)
    rows = [row for kind in wanted for row in _SOURCES[kind](account)]
    return _grouped(sorted(rows, key=lambda row: row.at, reverse=True))[:SHOWN]


def _grouped(rows: Iterable[Moment]) -> list[Moment]:
    """Like with like: a hundred spends in a minute, or an invoice's seven webhooks, are one thing that happened."""
    result: list[Moment] = []
    for row in rows:
        last = result[-1] if result else None
        if last and row.group and row.group == last.group and last.at - row.at <= GROUPED_FOR:
            count, amount = last.count + 1, last.amount + row.amount
            since = _("since %(moment)s") % {"moment": date_format(row.at, "DATETIME_FORMAT")}
            text = row.of_many % {"count": count, "amount": f"{amount:+d}"}
            names = (*last.names, *(name for name in row.names if name not in last.names))
            detail = ": ".join([since, ", ".join(names)]) if names else since
            result[-1] = replace(last, count=count, amount=amount, names=names, text=text, detail=detail)
        else:
            result.append(row)
    return result


def _ledger(account: Account) -> Iterator[Moment]:
    for row in selectors.transactions(account.pk)[:LEDGER_ROWS]:
        change = f"{row.amount:+d}" if row.amount else _("owed %(change)s") % {"change": f"{row.debt_change:+d}"}
        text = f"{change} → {row.balance_after}: {row.description or row.feature or row.get_kind_display()}"
        url = reverse("admin:credits_transaction_change", args=[row.pk])
        is_spend = row.kind == Transaction.Kind.SPEND
        name = (row.feature or row.description or row.get_kind_display()).replace("%", "%%")
        yield Moment(
            at=row.created_at, kind="ledger", text=text, detail=f"{row.get_kind_display()}, {row.actor}", url=url,
            group=f"{row.feature}:{row.description}:{row.actor}" if is_spend else "", amount=row.amount,
            of_many=f"%(amount)s: %(count)d × {name}",
        )  # fmt: skip


def _payments(account: Account) -> Iterator[Moment]:
    for row in Order.objects.filter(account=account).order_by("-id")[:EACH]:
        text = f"{row.description}, {money(row.charged_minor, row.currency)}: {row.get_status_display()}"
        url = reverse("admin:billing_order_change", args=[row.pk])
        bad = row.status in (Order.Status.FAILED, Order.Status.REVIEW) or row.is_disputed
        at = row.completed_at or row.created_at
        yield Moment(at=at, kind="payment", text=text, detail=row.problem or row.public_id, url=url, is_bad=bad)
    for invoice in djstripe_store.invoices_of(account.pk, limit=EACH):
        text = _("Invoice %(number)s, %(total)s: %(state)s") % {
            "number": invoice.get("number") or invoice["id"],
            "total": money(invoice["total"], invoice["currency"]),
            "state": invoice["status"],
        }
        bad = invoice["status"] == "open" and bool(invoice.get("attempt_count"))
        yield Moment(at=moment(invoice["created"]), kind="payment", text=text, detail=invoice["id"], is_bad=bad)


def _webhooks(account: Account) -> Iterator[Moment]:
    customer_id = djstripe_store.customer_of_account(account.pk)
    rows = InboxEvent.objects.filter(customer_id=customer_id) if customer_id else InboxEvent.objects.none()
    for row in rows.order_by("-received_at", "-pk")[:EACH]:
        bad = row.state in (InboxEvent.State.FAILED, InboxEvent.State.DEAD)
        url = reverse("admin:billing_inboxevent_change", args=[row.pk])
        detail = row.error[:120] or f"{row.get_state_display()}, {row.object_id}"
        yield Moment(
            at=row.received_at, kind="webhook", text=row.type, detail=detail, url=url, is_bad=bad,
            group="" if bad else "webhooks", of_many=_("%(count)d webhooks"), names=(row.type,),
        )  # fmt: skip


def _mails(account: Account) -> Iterator[Moment]:
    for row in OutboxEvent.objects.filter(account=account).order_by("-pk")[:EACH]:
        if subject := mails.subject_of(row):
            detail = row.error[:120] or (_("sent") if "mail" in row.handled_by else _("on its way"))
            url = reverse("admin:outbox_outboxevent_change", args=[row.pk])
            yield Moment(at=row.happened_at, kind="mail", text=subject, detail=detail, url=url, is_bad=bool(row.error))


def _logins(account: Account) -> Iterator[Moment]:
    users = account.memberships.values("user")
    for row in UserSession.objects.filter(user__in=users).select_related("user").order_by("-created_at")[:EACH]:
        yield Moment(at=row.created_at, kind="login", text=str(row.user), detail=f"{row.ip}, {row.user_agent[:60]}")


def _staff(account: Account) -> Iterator[Moment]:
    rows = AuditEvent.objects.filter(account=account).select_related("operator").order_by("-at")
    for row in rows[:EACH]:
        url = reverse("admin:console_auditevent_change", args=[row.pk])
        text = f"{row.action}: {row.result or row.reason}"
        yield Moment(at=row.at, kind="staff", text=text, detail=f"{row.operator or '–'}: {row.reason}", url=url)


def _alerts(account: Account) -> Iterator[Moment]:
    for row in Alert.objects.filter(account=account).order_by("-opened_at")[:EACH]:
        url = reverse("admin:outbox_alert_change", args=[row.pk])
        is_open = row.resolved_at is None
        yield Moment(at=row.opened_at, kind="alert", text=str(row), detail=row.detail[:120], url=url, is_bad=is_open)


_SOURCES = {
    "ledger": _ledger,
    "payment": _payments,
    "webhook": _webhooks,
    "mail": _mails,
    "login": _logins,
    "staff": _staff,
    "alert": _alerts,
}
