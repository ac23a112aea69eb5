"""`/healthz`: the process is up. `/readyz`: and what it cannot do without is there; `degraded` says that Redis is away.

Answered before hosts, sessions and redirects are looked at, so that any probe gets through.
"""

from collections.abc import Callable

import redis
from django.conf import settings
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse, JsonResponse

from common.version import VERSION

PROBE_TIMEOUT_S = 2


class HealthMiddleware:
    """Serves the two probes."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.path_info == "/healthz":
            return JsonResponse({"status": "ok", "version": VERSION})
        if request.path_info == "/readyz":
            result = {"database": _database(), "migrations": _migrations(), "redis": _redis()}
            # Without Redis, spending and buying go on: taking the process out would stop what works.
            is_ready = result["database"] == result["migrations"] == "ok"
            status = "not ready" if not is_ready else "ok" if result["redis"] == "ok" else "degraded"
            return JsonResponse({"status": status, **result}, status=200 if is_ready else 503)
        return self._get_response(request)


def _database() -> str:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError:
        return "cannot be reached"
    return "ok"


def _migrations() -> str:
    try:
        executor = MigrationExecutor(connection)
        waiting = executor.migration_plan(executor.loader.graph.leaf_nodes())
    except DatabaseError:
        return "cannot be read"
    return f"{len(waiting)} to apply: run manage.py migrate" if waiting else "ok"


def _redis() -> str:
    if not settings.REDIS_URL:
        return "ok" if settings.SANDBOX else "not configured"
    try:
        client = redis.Redis.from_url(
            settings.REDIS_URL, socket_timeout=PROBE_TIMEOUT_S, socket_connect_timeout=PROBE_TIMEOUT_S
        )
        client.ping()
        client.close()
    except redis.RedisError:
        return "cannot be reached"
    return "ok"
