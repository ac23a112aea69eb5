"""Small things that every request passes: its id in the answer, slashes of the API, the console's CSP."""

from collections.abc import Callable

from csp.constants import UNSAFE_EVAL, UNSAFE_INLINE
from django.http import HttpRequest, HttpResponse

from accounts import throttling
from config.api_errors import request_id

GetResponse = Callable[[HttpRequest], HttpResponse]

# unfold's scripts are evaluated and its styles are inline: allowed on the operator's pages, nowhere else.
CONSOLE_CSP = {"script-src": ["'self'", UNSAFE_EVAL], "style-src": ["'self'", UNSAFE_INLINE]}


def answer_request_id(get_response: GetResponse) -> GetResponse:
    """Every answer says under which id its request is in the logs."""

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        response.headers.setdefault("Request-Id", request_id())
        return response

    return middleware


def answer_rate_limits(get_response: GetResponse) -> GetResponse:
    """Answers of the API say how its caller's limits stand, as the IETF draft (ratelimit-headers-10) has it."""

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        if states := getattr(request, "rate_limits", None):
            policies = [f'"{state.limit.name}";q={state.limit.most};w={throttling.WINDOW_S}' for state in states]
            now = [f'"{state.limit.name}";r={state.remaining};t={state.resets_in_s}' for state in states]
            response.headers["RateLimit-Policy"], response.headers["RateLimit"] = ", ".join(policies), ", ".join(now)
        return response

    return middleware


def take_api_slash(get_response: GetResponse) -> GetResponse:
    """The API's addresses have no trailing slash; one that was sent all the same is overlooked."""

    def middleware(request: HttpRequest) -> HttpResponse:
        if request.path_info.startswith("/api/") and request.path_info.endswith("/"):
            request.path_info = request.path_info.rstrip("/")
        return get_response(request)

    return middleware


def relax_console_csp(get_response: GetResponse) -> GetResponse:
    """The console's pages need a wider Content-Security-Policy than the customers'."""

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        if request.path.startswith("/admin/"):
            response._csp_update = CONSOLE_CSP  # type: ignore[attr-defined]
        return response

    return middleware
