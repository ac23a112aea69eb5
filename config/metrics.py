"""`/metrics`: what Prometheus asks for, of all the server's processes together. Only for who sends METRICS_TOKEN."""

import os
from collections.abc import Callable

import prometheus_client
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils.crypto import constant_time_compare
from prometheus_client import multiprocess

# Where gunicorn's processes keep their counters; set before any of them is made (config/gunicorn.py).
SHARED = "PROMETHEUS_MULTIPROC_DIR"


def serve_metrics(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Answers before hosts and sessions are looked at."""

    def middleware(request: HttpRequest) -> HttpResponse:
        if request.path != "/metrics":
            return get_response(request)
        sent = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if not settings.METRICS_TOKEN or not constant_time_compare(sent, settings.METRICS_TOKEN):
            return HttpResponse("Send METRICS_TOKEN as a bearer token.\n", status=401, content_type="text/plain")
        return HttpResponse(
            prometheus_client.generate_latest(_registry()), content_type=prometheus_client.CONTENT_TYPE_LATEST
        )

    return middleware


def _registry() -> prometheus_client.CollectorRegistry:
    if SHARED not in os.environ:
        return prometheus_client.REGISTRY
    registry = prometheus_client.CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return registry
