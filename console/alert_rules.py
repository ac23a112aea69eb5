"""Numbers that wake somebody: each above (or below) its threshold is one alert, resolved when it is back."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.core.mail import EmailMessage
from django.utils.translation import gettext as _

from branding import brand
from common.json_types import JsonObject
from common.urls import absolute_url
from console import reports
from console.models import AlertThreshold
from outbox import alerts, safe_http
from outbox.models import Alert, OutboxEvent

Kind = Alert.Kind
WEEK = timedelta(days=7)
# Features that earn less than this in a week are not worth waking anybody for.
LEAST_REVENUE_MICROS = 1_000_000
LEAST_COST_MICROS = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One number beside its threshold."""

    kind: Kind
    subject: str
    is_bad: bool
    detail: str


def evaluate(*, now: datetime) -> list[Measurement]:
    """Raise and resolve; answers what was measured."""
    thresholds = AlertThreshold.objects.first() or AlertThreshold()
    result = list(measure(thresholds, now=now))
    for row in result:
        if row.is_bad:
            alerts.raise_alert(row.kind, row.subject, detail=row.detail, now=now)
        else:
            alerts.resolve(row.kind, subject=row.subject, now=now, note="back to normal")
    _resolve_gone(result, now=now)
    return result


def measure(thresholds: AlertThreshold, *, now: datetime) -> Iterator[Measurement]:
    """Every number, good or bad."""
    queues = reports.queues(now=now)
    for name in ("inbox", "outbox"):
        waited = queues[f"{name}_s"]
        yield Measurement(
            kind=Kind.QUEUE_AGE,
            subject=name,
            is_bad=waited > thresholds.queue_age_minutes * 60,
            detail=_("The oldest event of the %(queue)s waits for %(minutes)d minutes. Is a worker running?")
            % {"queue": name, "minutes": waited // 60},
        )
    hooks = reports.webhooks(since=now - timedelta(hours=1), until=now)
    yield Measurement(
        kind=Kind.WEBHOOK_LAG,
        subject="stripe",
        is_bad=hooks["p95_s"] > thresholds.webhook_lag_seconds,
        detail=_("One webhook in twenty of the last hour took longer than %d seconds.") % hooks["p95_s"],
    )
    failed = reports.payments(since=now - timedelta(days=1), until=now)["failed"]
    yield Measurement(
        kind=Kind.PAYMENTS_FAILING,
        subject="day",
        is_bad=failed > thresholds.failed_payments_a_day,
        detail=_("%d payments failed within a day.") % failed,
    )
    for margin in reports.margins(since=now - WEEK, until=now):
        loses = margin.revenue_micros < LEAST_REVENUE_MICROS and margin.cost_micros >= LEAST_COST_MICROS
        earns = margin.revenue_micros >= LEAST_REVENUE_MICROS and margin.cost_micros > 0
        percent = margin.percent if margin.percent is not None else -100
        yield Measurement(
            kind=Kind.LOW_MARGIN,
            subject=margin.feature or "-",
            is_bad=(earns or loses) and percent < thresholds.margin_percent,
            detail=_("%(feature)s: a margin of %(percent)d %% in seven days.")
            % {"feature": margin.feature or "–", "percent": percent},
        )
    odd = reports.oddities(now=now, factor=thresholds.spike_factor, least=thresholds.spike_credits)
    for row in odd:
        if row.kind == "spike" and row.account is not None:
            yield Measurement(
                kind=Kind.SPIKE,
                subject=row.account.public_id,
                is_bad=True,
                detail=_("%(account)s spends far more than usual: %(detail)s credits a day (usually).")
                % {"account": row.what, "detail": row.detail},
            )


def _resolve_gone(found: list[Measurement], *, now: datetime) -> None:
    """Spikes and features that are not measured any more are no news."""
    bad = {(row.kind, row.subject) for row in found if row.is_bad}
    for alert in Alert.objects.filter(kind__in=[Kind.SPIKE, Kind.LOW_MARGIN], resolved_at=None):
        if (alert.kind, alert.subject) not in bad:
            alerts.resolve(Kind(alert.kind), subject=alert.subject, now=now, note="back to normal")


def mail_alert(event: OutboxEvent) -> None:
    """Mail a new alert to those who are named in the console. (A subscriber of the outbox.)"""
    thresholds = AlertThreshold.objects.first()
    if thresholds is None:
        return
    emails = [line.strip() for line in thresholds.emails.splitlines() if line.strip()]
    emails = [email for email in emails if email not in settings.OPERATOR_EMAILS]
    address = absolute_url("admin:outbox_alert_changelist")
    if emails:
        body = f"{event.data['detail']}\n\n{address}\n"
        EmailMessage(f"[{brand.current().name}] {event.data['title']}", body, to=emails).send()
    if thresholds.webhook_url:
        reported: JsonObject = {
            "text": f"{event.data['title']}: {event.data['detail']}",
            "title": event.data["title"],
            "detail": event.data["detail"],
            "opened_at": event.data["opened_at"],
            "url": address,
        }
        answer = safe_http.post(
            thresholds.webhook_url,
            body=json.dumps(reported).encode(),
            headers={"Content-Type": "application/json", "User-Agent": "Tegoed-Alerts/1"},
        )
        if answer.status_code >= 400:  # noqa: PLR2004 - HTTP
            raise RuntimeError(f"{thresholds.webhook_url} answered {answer.status_code}")
