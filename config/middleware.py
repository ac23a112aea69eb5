"""Small things that every request passes: its id in the answer, slashes of the API, the console's CSP."""

import time
import uuid
from collections.abc import Callable

import structlog
from csp.constants import UNSAFE_EVAL, UNSAFE_INLINE
from django.conf import settings
from django.core.exceptions import DisallowedHost, SuspiciousOperation
from django.http import HttpRequest, HttpResponse

from api import throttling
from api.problems import json_problem, request_id
from common.json_types import JsonObject

logger = structlog.get_logger(__name__)

LONGEST_REQUEST_ID = 64
NAMES_AN_ACCOUNT = "/api/v1/accounts/ext:"

# An answer that is data shows nothing, whoever opens it in a browser.
DATA_CSP = "default-src 'none'; frame-ancestors 'none'"
# The card form of a payment provider is the one thing that asks the browser for more.
PERMISSIONS = 'camera=(), geolocation=(), microphone=(), usb=(), payment=(self "https://js.stripe.com")'

GetResponse = Callable[[HttpRequest], HttpResponse]

# unfold's scripts are evaluated and its styles are inline: allowed on the operator's pages, nowhere else.
CONSOLE_CSP = {"script-src": ["'self'", UNSAFE_EVAL], "style-src": ["'self'", UNSAFE_INLINE]}


def add_security_headers(get_response: GetResponse) -> GetResponse:
    """Headers of every answer, pages and data alike: no framing, no devices, no scripts from elsewhere."""
    page = _policy(settings.CONTENT_SECURITY_POLICY["DIRECTIVES"])

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        headers = response.headers
        headers.setdefault("X-Frame-Options", "DENY")
        headers.setdefault("Permissions-Policy", PERMISSIONS)
        if "Content-Security-Policy" not in headers:
            is_page = headers.get("Content-Type", "").startswith("text/html")
            headers["Content-Security-Policy"] = page if is_page else DATA_CSP
        return response

    return middleware


def answer_request_id(get_response: GetResponse) -> GetResponse:
    """Every answer says under which id its request is in the logs."""

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        response.headers.setdefault("Request-Id", request_id())
        return response

    return middleware


def answer_rate_limits(get_response: GetResponse) -> GetResponse:
    """Answers of the API say how its caller's limits stand."""

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        _add_rate_limits(request, response)
        return response

    return middleware


def answer_api_call(get_response: GetResponse) -> GetResponse:
    """All that a call of the API passes: a checked host, an id, its headers, and one line in the log."""

    def middleware(request: HttpRequest) -> HttpResponse:
        started = time.perf_counter()
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=_request_id_of(request))
        try:
            request.get_host()
            response = get_response(request)
        except DisallowedHost:
            response = json_problem(
                status=400, code="invalid_request", title="Unknown host", detail="Check the address."
            )
        response.headers["Request-Id"] = request_id()
        if not response.streaming:
            response.headers["Content-Length"] = str(len(response.content))
        _add_rate_limits(request, response)
        log = logger.error if response.status_code >= 500 else logger.info  # noqa: PLR2004 - HTTP
        log(
            "request_finished",
            request=f"{request.method} {request.path}",
            code=response.status_code,
            took_ms=round(1000 * (time.perf_counter() - started), 1),
        )
        return response

    return middleware


def take_api_slash(get_response: GetResponse) -> GetResponse:
    """The API's addresses have no trailing slash; one that was sent all the same is overlooked.

    Not of an account that is named by another system's id: there it is a part of the name.
    """

    def middleware(request: HttpRequest) -> HttpResponse:
        path = request.path_info
        if path.startswith("/api/") and path.endswith("/") and not path.startswith(NAMES_AN_ACCOUNT):
            request.path_info = request.path_info.rstrip("/")
        return get_response(request)

    return middleware


def refuse_nul(get_response: GetResponse) -> GetResponse:
    """Forms and addresses hold no NUL character: PostgreSQL keeps none, nobody types one. (The API sees to its own.)"""

    def middleware(request: HttpRequest) -> HttpResponse:
        if not request.path_info.startswith("/api/"):
            sent = [
                value for query in (request.GET, request.POST) for values in dict(query).values() for value in values
            ]
            if any("\x00" in str(value) for value in sent):
                raise SuspiciousOperation("a NUL character was sent")
        return get_response(request)

    return middleware


def relax_console_csp(get_response: GetResponse) -> GetResponse:
    """The console's pages need a wider Content-Security-Policy than the customers'."""

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        if request.path_info.startswith("/admin/"):
            response._csp_update = CONSOLE_CSP  # type: ignore[attr-defined]  # django-csp's own
        return response

    return middleware


def _add_rate_limits(request: HttpRequest, response: HttpResponse) -> None:
    """The headers of the IETF draft (ratelimit-headers-10)."""
    if states := getattr(request, "rate_limits", None):
        policies = [f'"{state.limit.name}";q={state.limit.most};w={throttling.WINDOW_S}' for state in states]
        now = [f'"{state.limit.name}";r={state.remaining};t={state.resets_in_s}' for state in states]
        response.headers["RateLimit-Policy"], response.headers["RateLimit"] = ", ".join(policies), ", ".join(now)


def _policy(directives: JsonObject) -> str:
    return "; ".join(f"{name} {' '.join(map(str, sources))}" for name, sources in directives.items())


def _request_id_of(request: HttpRequest) -> str:
    """What the proxy in front of us calls the request, else a new id."""
    reported = request.headers.get("X-Request-Id", "")
    return (
        reported
        if 0 < len(reported) <= LONGEST_REQUEST_ID and reported.isascii() and reported.isprintable()
        else uuid.uuid4().hex
    )
