"""What Prometheus asks of the business, read when it asks: queues, webhooks, jobs, alerts, what is owed."""

import time
from collections.abc import Iterator
from datetime import timedelta

from django.core.cache import cache
from django.db import connection
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from billing.payments import books
from common import clock
from config import heartbeats
from console import reports
from outbox.models import Alert

# What is owed is summed over all grants: not for every scrape.
OWED_EVERY_S = 300


class BusinessCollector(Collector):
    """Gauges of this moment."""

    def collect(self) -> Iterator[Metric]:
        now = clock.now()
        queues = reports.queues(now=now)
        waiting = GaugeMetricFamily("tegoed_queue_age_seconds", "How long the oldest has waited.", labels=["queue"])
        for name in ("inbox", "outbox"):
            waiting.add_metric([name], queues[f"{name}_s"])
        yield waiting
        hooks = reports.webhooks(since=now - timedelta(hours=1), until=now)
        yield GaugeMetricFamily(
            "tegoed_webhook_lag_seconds", "Within which 95 % of the last hour's were done.", value=hooks["p95_s"]
        )
        yield GaugeMetricFamily("tegoed_webhooks_dead", "Given up within the last hour.", value=hooks["dead"])
        jobs = GaugeMetricFamily("tegoed_job_age_seconds", "Since a job last ended well.", labels=["job"])
        for job, age in heartbeats.ages():
            jobs.add_metric([job], age)
        yield jobs
        yield GaugeMetricFamily(
            "tegoed_alerts_open", "That wait for an operator.", value=Alert.objects.filter(resolved_at=None).count()
        )
        yield from _held()
        yield from _owed()


def _held() -> Iterator[Metric]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*), coalesce(sum(amount), 0) FROM credits_hold WHERE status = 'open'")
        count, credits = cursor.fetchone()
    yield GaugeMetricFamily("tegoed_holds_open", "Holds that are neither captured nor released.", value=count)
    yield GaugeMetricFamily("tegoed_credits_held", "Credits in them.", value=int(credits))


def _owed() -> Iterator[Metric]:
    money = GaugeMetricFamily(
        "tegoed_owed_minor", "Paid for and not used, months to come included, in minor units.", labels=["currency"]
    )
    credits = GaugeMetricFamily("tegoed_owed_credits", "Paid for and not used, in credits.", labels=["currency"])
    period = int(time.time()) // OWED_EVERY_S
    rows = cache.get_or_set(f"metrics.owed.{period}", _read_owed, OWED_EVERY_S)
    for currency, owed, owed_credits in rows or ():
        money.add_metric([currency], owed)
        credits.add_metric([currency], owed_credits)
    yield money
    yield credits


def _read_owed() -> list[tuple[str, int, int]]:
    now = clock.now()
    return [(row.currency, row.owed, row.owed_credits) for row in books.at(now)]
