"""Errors as RFC 9457 problems: every refusal has a stable `code`, says what to do, and names its request."""

from typing import Any

import structlog
from django.conf import settings
from django.core.exceptions import PermissionDenied, RequestDataTooBig
from django.db import InternalError, OperationalError
from django.http import Http404, JsonResponse
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.views import set_rollback

from common.errors import Refusal
from common.json_types import JsonObject

TYPE = "application/problem+json"
BUSY_RETRY_S = 1

Refusing = type[Refusal]

# Of refusals that know no HTTP: the status that API clients get.
_statuses: dict[Refusing, int] = {}


def register_statuses(statuses: dict[Refusing, int]) -> None:
    """Say what refusals of the domain are over HTTP; for their subclasses as well."""
    _statuses.update(statuses)


def status_of(kind: Refusing) -> int:
    """The HTTP status of a refusal."""
    if own := getattr(kind, "status_code", None):
        return int(own)
    return next(_statuses[known] for known in kind.__mro__ if known in _statuses)


# DRF's own refusals, by class: our code and title.
FRAMEWORK: list[tuple[type[exceptions.APIException], str, str]] = [
    (exceptions.ParseError, "invalid_request", "The body is not the JSON it should be"),
    (exceptions.UnsupportedMediaType, "invalid_request", "The body must be JSON"),
    (exceptions.MethodNotAllowed, "method_not_allowed", "This address does not take that method"),
    (exceptions.NotAcceptable, "not_acceptable", "Answers are JSON"),
    (exceptions.NotAuthenticated, "unauthenticated", "No valid key"),
    (exceptions.AuthenticationFailed, "unauthenticated", "No valid key"),
    (exceptions.PermissionDenied, "insufficient_scope", "This is not allowed"),
    (exceptions.Throttled, "rate_limited", "Too many requests"),
]


def problem_response(error: Exception, _context: JsonObject) -> Response | None:
    """DRF's exception handler: a problem for what we refuse, None (and so a 500) for a defect of ours."""
    result = _described(error)
    if result is None:
        return None
    status, code, title, detail, extra, headers = result
    set_rollback()
    answer = Response(
        problem(status=status, code=code, title=title, detail=detail, **extra), status=status, headers=headers
    )
    answer.content_type = TYPE
    return answer


def problem(*, status: int, code: str, title: str, detail: str, **extra: Any) -> Any:
    """The members of a problem."""
    return {
        "type": f"{settings.BASE_URL}/api/problems/{code.replace('_', '-')}",
        "title": title,
        "status": status,
        "detail": detail,
        "code": code,
        "request_id": request_id(),
        **extra,
    }


def request_id() -> str:
    """The id under which this request is in the logs."""
    return str(structlog.contextvars.get_contextvars().get("request_id", ""))


def not_found() -> JsonResponse:
    """What an unknown address under /api/ is answered."""
    detail = "There is nothing at this address. See /api/v1/docs for what there is."
    return json_problem(status=404, code="not_found", title="Not found", detail=detail)


def server_error() -> JsonResponse:
    """What a defect of ours is answered under /api/."""
    detail = "Something went wrong on our side. Sending the same Idempotency-Key again is safe."
    return json_problem(status=500, code="internal_error", title="Our mistake", detail=detail)


def json_problem(**members: Any) -> JsonResponse:
    return JsonResponse(problem(**members), status=members["status"], content_type=TYPE)


def _described(  # noqa: PLR0911 - one line a kind of refusal
    error: Exception,
) -> tuple[int, str, str, str, JsonObject, dict[str, str]] | None:
    if isinstance(error, Refusal):
        status = status_of(type(error))
        headers = _challenge(status)
        if (seconds := getattr(error, "retry_after_s", None)) is not None:
            headers["Retry-After"] = str(seconds)
        return status, error.code, error.title, str(error), error.extra, headers
    if isinstance(error, OperationalError | InternalError) and (result := _database_trouble(error)):
        code, title, detail = result
        return 503, code, title, detail, {"retryable": True}, {"Retry-After": str(BUSY_RETRY_S)}
    if isinstance(error, Http404):
        return 404, "not_found", "Not found", "There is nothing at this address.", {}, {}
    if isinstance(error, PermissionDenied):
        return 403, "insufficient_scope", "This is not allowed", str(error), {}, {}
    if isinstance(error, RequestDataTooBig):
        return 413, "invalid_request", "The body is too large", "Send less at once.", {}, {}
    for kind, code, title in FRAMEWORK:
        if isinstance(error, kind):
            return error.status_code, code, title, str(error.detail), {}, _challenge(error.status_code)
    if isinstance(error, exceptions.APIException):
        return error.status_code, "invalid_request", "The request cannot be taken", str(error.detail), {}, {}
    return None


def _challenge(status: int) -> dict[str, str]:
    return {"WWW-Authenticate": 'Bearer realm="api"'} if status == 401 else {}  # noqa: PLR2004 - HTTP


def _database_trouble(error: OperationalError | InternalError) -> tuple[str, str, str] | None:
    """Trouble that passes: a wait that took too long, or a database that is away, full or read-only for the moment."""
    state = getattr(error.__cause__, "sqlstate", None) or ""
    again = "Send the same request, with the same key, again."
    if state in ("55P03", "57014", "40P01", "40001"):
        return "busy", "Busy", f"Others are changing this account. {again}"
    # Connections that fail have no state; classes 08 (connection), 53 (resources), 57 (shutting down), and read-only.
    if not state or state[:2] in ("08", "53", "57") or state == "25006":
        return "unavailable", "Not available right now", f"Nothing was changed, or it was and is kept. {again}"
    return None
