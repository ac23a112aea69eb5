"""`/metrics`: what Prometheus asks for, of all the server's processes together. Only for who sends METRICS_TOKEN."""

import os
import time
from collections.abc import Callable

import prometheus_client
from django.conf import settings
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse
from django.utils.crypto import constant_time_compare
from prometheus_client import Counter, Histogram, multiprocess

# Where gunicorn's processes keep their counters; set before any of them is made (config/gunicorn.py).
SHARED = "PROMETHEUS_MULTIPROC_DIR"

REQUESTS = Counter("tegoed_requests", "Requests, by route and status.", ["method", "route", "status"])
DURATION = Histogram(
    "tegoed_request_seconds", "How long requests took.", ["route"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)  # fmt: skip


def serve_metrics(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Answers before hosts and sessions are looked at."""

    def middleware(request: HttpRequest) -> HttpResponse:
        if request.path_info != "/metrics":
            return get_response(request)
        sent = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if not settings.METRICS_TOKEN or not constant_time_compare(sent, settings.METRICS_TOKEN):
            return HttpResponse("Send METRICS_TOKEN as a bearer token.\n", status=401, content_type="text/plain")
        return HttpResponse(
            prometheus_client.generate_latest(_registry()) + _business(),
            content_type=prometheus_client.CONTENT_TYPE_LATEST,
        )

    return middleware


def _registry() -> prometheus_client.CollectorRegistry:
    if SHARED not in os.environ:
        return prometheus_client.REGISTRY
    registry = prometheus_client.CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)
    return registry


def _business() -> bytes:
    """What the database says; nothing while it is away: the rest is wanted then more than ever."""
    from config.business_metrics import BusinessCollector

    registry = prometheus_client.CollectorRegistry()
    try:
        registry.register(BusinessCollector())
        return prometheus_client.generate_latest(registry)
    except DatabaseError:
        return b""


def count_requests(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Counts each request by its route and status, and how long it took."""

    def middleware(request: HttpRequest) -> HttpResponse:
        began = time.perf_counter()
        response = get_response(request)
        match = getattr(request, "resolver_match", None)
        route = match.route if match else "none"
        REQUESTS.labels(request.method, route, response.status_code).inc()
        DURATION.labels(route).observe(time.perf_counter() - began)
        return response

    return middleware
