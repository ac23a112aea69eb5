"""Every code that a problem can have, and what it means. Which operations may answer it, their views say (`refuses`).

The description of the API lists them (`describe`, a hook of drf-spectacular), and the address in a problem's `type`
explains them (`explain`).
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from django.http import Http404, HttpRequest, HttpResponse

from accounts import errors as who
from accounts import issuers
from api import throttling
from api.problems import TYPE, Refusing, status_of
from common.errors import InvalidRequestError, NotFoundError, Refusal
from common.json_types import JsonObject

# What everybody may be answered, and what those who have to say who they are may be.
ALWAYS: list[Refusing] = [InvalidRequestError, NotFoundError]
GUARDED: list[Refusing] = [
    who.UnauthenticatedError,
    who.KeyRevokedError,
    who.TokenExpiredError,
    who.InsufficientScopeError,
    who.AccountClosedError,
    throttling.RateLimitedError,
    issuers.IssuerUnavailableError,
]

# What comes from the framework or the database, not from a class of ours.
OTHERS = {
    "busy": (503, "Busy", "Others are changing this account. Sending the same request, with the same key, is safe."),
    "method_not_allowed": (405, "This address does not take that method", "The description lists those it takes."),
    "not_acceptable": (406, "Answers are JSON", "Leave out Accept, or send application/json."),
    "internal_error": (500, "Our mistake", "Sending the same Idempotency-Key again is safe."),
}


@dataclass(frozen=True, kw_only=True)
class Code:
    """What a code means."""

    status: int
    title: str
    meaning: str


def codes() -> dict[str, Code]:
    """All codes that there are."""
    result = {
        code: Code(status=status, title=title, meaning=meaning) for code, (status, title, meaning) in OTHERS.items()
    }
    for refusal in _kinds(Refusal):
        if hasattr(refusal, "code"):
            meaning = " ".join((refusal.__dict__.get("__doc__") or "").split())
            result.setdefault(refusal.code, Code(status=status_of(refusal), title=refusal.title, meaning=meaning))
    return result


def explain(_request: HttpRequest, code: str) -> HttpResponse:
    """What the address in a problem's `type` answers."""
    result = codes().get(code.replace("-", "_"))
    if result is None:
        raise Http404
    text = f"{result.title} ({result.status})\n\n{result.meaning}\n".replace("\n\n\n", "\n")
    return HttpResponse(text, content_type="text/plain; charset=utf-8")


def describe(result: JsonObject, **_about: object) -> JsonObject:
    """Add every operation's summary and refusals to the description of the API."""
    result["components"]["schemas"]["Problem"] = PROBLEM
    for path, methods in result["paths"].items():
        for operation in methods.values():
            operation["summary"] = operation["description"].partition(". ")[0].partition(": ")[0].rstrip(".")
            is_guarded = {} not in operation.get("security", [{}])
            has_parts = "{" in path or "requestBody" in operation or "parameters" in operation
            refusals = [
                *(ALWAYS if has_parts else ()),
                *(GUARDED if is_guarded else ()),
                *operation.pop("x-refusals"),
            ]
            _add(operation, refusals)
    return result


def _add(operation: JsonObject, refusals: list[Refusing]) -> None:
    by_status: dict[int, dict[str, str]] = defaultdict(dict)
    for refusal in refusals:
        by_status[status_of(refusal)][refusal.code] = refusal.title
    if "requestBody" in operation:
        by_status[413]["invalid_request"] = "The body is too large"
        by_status[415]["invalid_request"] = "The body must be JSON"
    by_status[503]["busy"] = OTHERS["busy"][1]
    by_status[406]["not_acceptable"] = OTHERS["not_acceptable"][1]
    for status, reported in sorted(by_status.items()):
        operation["responses"][str(status)] = {
            "description": " ".join(f"`{code}`: {title}." for code, title in reported.items()),
            "content": {TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }


def _kinds(refusal: Refusing) -> Iterator[Refusing]:
    """Every kind of refusal that there is."""
    for kind in refusal.__subclasses__():
        yield kind
        yield from _kinds(kind)


PROBLEM = {
    "type": "object",
    "description": "A refusal, after RFC 9457. `code` is stable; what else there is depends on it.",
    "properties": {
        "type": {"type": "string", "description": "Where the code is explained."},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What happened, and what to do."},
        "code": {"type": "string"},
        "request_id": {"type": "string", "description": "Under which this request is in the logs."},
        "retryable": {"type": "boolean", "description": "Whether the same request may succeed later."},
        "errors": {
            "type": "array",
            "description": "Which fields cannot be taken.",
            "items": {
                "type": "object",
                "properties": {
                    "pointer": {"type": "string", "description": "A JSON pointer into the body."},
                    "code": {"type": "string"},
                    "detail": {"type": "string"},
                },
                "required": ["pointer", "code", "detail"],
            },
        },
        "required": {"type": "integer", "description": "With insufficient_credits: what it costs."},
        "available": {"type": "integer"},
        "shortfall": {"type": "integer"},
        "buy_url": {"type": "string", "description": "Where there are more credits."},
        "next_refill": {
            "type": ["object", "null"],
            "description": "With insufficient_credits: what comes by itself.",
            "properties": {"amount": {"type": "integer"}, "at": {"type": "string", "format": "date-time"}},
            "required": ["amount", "at"],
        },
        "account": {"type": "string", "description": "With account_exists: the one that there is."},
        "required_scope": {"type": "string", "description": "With insufficient_scope."},
        "debt": {"type": "integer", "description": "With account_in_debt: the credits owed."},
        "resets_at": {
            "type": ["string", "null"],
            "format": "date-time",
            "description": "With daily_cap_reached and spending_limit_reached.",
        },
    },
    "required": ["type", "title", "status", "detail", "code", "request_id"],
    "examples": [
        {
            "type": "https://credits.example.com/api/problems/insufficient-credits",
            "title": "Not enough credits",
            "status": 402,
            "detail": "This costs 5 credits; 3 are available.",
            "code": "insufficient_credits",
            "request_id": "0f1c2d3e",
            "required": 5,
            "available": 3,
            "shortfall": 2,
            "next_refill": {"amount": 3, "at": "2026-11-21T23:00:00Z"},
            "buy_url": "https://credits.example.com/credits",
            "retryable": False,
        }
    ],
}
