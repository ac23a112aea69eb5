"""Refusals of views that charge in this very process: answered with what to do, instead of as a defect."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from api.problems import json_problem, status_of
from common.errors import Refusal
from common.urls import absolute_url
from credits.errors import InsufficientCreditsError

RETRY_AFTER = "Retry-After"


class AnswerRefusals:
    """A refused spend in somebody's own view is its status, with the way to buy: as a page, or as a problem.

    The API's views see to theirs by themselves.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self._get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """Django asks this for what a view raises; None leaves it a defect."""
        if not isinstance(error, Refusal):
            return None
        status = status_of(type(error))
        is_short = isinstance(error, InsufficientCreditsError)
        if wants_json(request):
            extra = {**error.extra, **({"buy_url": absolute_url("credits")} if is_short else {})}
            answer: HttpResponse = json_problem(
                status=status, code=error.code, title=error.title, detail=str(error), **extra
            )
        else:
            answer = render(request, "portal/refused.html", {"refusal": error, "is_short": is_short}, status=status)
        if (seconds := getattr(error, "retry_after_s", None)) is not None:
            answer.headers[RETRY_AFTER] = str(seconds)
        return answer


def wants_json(request: HttpRequest) -> bool:
    """Whether a script asks, and not somebody who looks at a page."""
    return not request.accepts("text/html") or request.content_type == "application/json"
