"""While MAINTENANCE is set, pages and API calls are answered with 503. The console, probes and webhooks get through."""

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from api.problems import json_problem

GetResponse = Callable[[HttpRequest], HttpResponse]

RETRY_AFTER_S = 120
# Operators sign in and look; what providers send is stored, and worked off by the worker.
OPEN = ("/admin/", "/accounts/", "/static/", "/api/webhooks/", "/healthz", "/readyz", "/metrics")


def refuse(get_response: GetResponse) -> GetResponse:
    """A middleware of pages and of API calls alike."""

    def middleware(request: HttpRequest) -> HttpResponse:
        if not settings.MAINTENANCE or request.path_info.startswith(OPEN):
            return get_response(request)
        if request.path_info.startswith("/api/"):
            answer: HttpResponse = json_problem(
                status=503, code="busy", title="Down for maintenance", detail="Try again in a few minutes."
            )
        else:
            answer = render(request, "503.html", status=503)
        answer.headers["Retry-After"] = str(RETRY_AFTER_S)
        return answer

    return middleware
