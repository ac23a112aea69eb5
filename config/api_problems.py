"""Every code that a problem can have: what it means, and which operations may answer it.

The description of the API lists them (`describe`, a hook of drf-spectacular), and the address in a problem's `type`
explains them (`explain`).
"""

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse

from accounts import errors as who
from accounts import issuers, keys, throttling
from accounts.api import TokenFromTokenError
from accounts.api_parts import InvalidCursorError
from accounts.api_requests import IdempotencyKeyMissingError
from billing import errors as money
from billing.checkout import NoCustomerError
from config import api_errors
from credits import errors as ledger
from outbox.webhooks import TooManyAttemptsError, TooManyEndpointsError
from usage import rates

Refusal = type[Any]

# What everybody may be answered, and what those who have to say who they are may be.
ALWAYS: list[Refusal] = [who.InvalidRequestError, who.NotFoundError]
GUARDED: list[Refusal] = [
    who.UnauthenticatedError,
    who.KeyRevokedError,
    who.TokenExpiredError,
    who.InsufficientScopeError,
    who.AccountClosedError,
    throttling.RateLimitedError,
    issuers.IssuerUnavailableError,
]
WITH_A_KEY: list[Refusal] = [IdempotencyKeyMissingError, ledger.KeyReusedError]
SPENDING: list[Refusal] = [
    ledger.InsufficientCreditsError,
    ledger.AccountInDebtError,
    ledger.SpendingFrozenError,
    ledger.DailyCapReachedError,
    rates.UnknownFeatureError,
]
SETTLING: list[Refusal] = [who.SellerOnlyError, ledger.HoldExpiredError, ledger.HoldNotOpenError]
BUYING: list[Refusal] = [money.PaymentProviderUnavailableError, money.PaymentProviderRefusedError]

# By the operation's id: what it may refuse beyond that.
OPERATIONS: dict[str, list[Refusal]] = {
    "create_token": [TokenFromTokenError],
    "create_api_key": [keys.TooManyKeysError],
    "rotate_api_key": [keys.TooManyKeysError, keys.KeyNotWorkingError],
    "check_credits": [rates.UnknownFeatureError],
    "spend_credits": [*WITH_A_KEY, *SPENDING],
    "spend_batch": [],  # each spend of it has its own problem
    "hold_credits": [who.SellerOnlyError, *WITH_A_KEY, *SPENDING, ledger.TooManyHoldsError],
    "capture_hold": [*SETTLING, rates.UnknownFeatureError],
    "release_hold": SETTLING,
    "extend_hold": SETTLING,
    "grant_credits": [
        IdempotencyKeyMissingError,
        ledger.GrantConflictError,
        ledger.GrantLimitExceededError,
        ledger.InvalidAmountError,
    ],
    "list_grants": [InvalidCursorError],
    "list_transactions": [InvalidCursorError],
    "reverse_transaction": [
        who.SellerOnlyError,
        *WITH_A_KEY,
        ledger.NotReversibleError,
        ledger.AlreadyReversedError,
        ledger.ReversalTooLargeError,
    ],
    "list_usage_events": [InvalidCursorError],
    "create_checkout": [
        *WITH_A_KEY,
        *BUYING,
        money.PriceNotSellableError,
        money.ArchivedItemError,
        money.AlreadySubscribedError,
        money.CurrencyMixError,
        money.AddressNeededError,
        money.PaymentDeclinedError,
    ],
    "set_top_up": [money.PriceNotSellableError, money.ArchivedItemError],
    "list_orders": [InvalidCursorError],
    "create_portal_session": [*BUYING, NoCustomerError],
    "sync_prices": BUYING,
    "create_webhook_endpoint": [TooManyEndpointsError],
    "test_webhook_endpoint": [TooManyAttemptsError],
    "replay_webhook_delivery": [TooManyAttemptsError],
    "list_webhook_deliveries": [InvalidCursorError],
}

# What our own pages and the console are told.
ELSEWHERE: list[Refusal] = [
    keys.KeyApprovalRefusedError,
    money.NotSubscribedError,
    money.PaymentActionRequiredError,
    money.PaymentOnItsWayError,
    money.PlanNotPaidError,
    money.RefundRefusedError,
    money.WorkUnderWayError,
    rates.TooSoonError,
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
    found = {
        code: Code(status=status, title=title, meaning=meaning) for code, (status, title, meaning) in OTHERS.items()
    }
    for refusal in _refusals():
        meaning = " ".join((refusal.__dict__.get("__doc__") or "").split())
        found.setdefault(refusal.code, Code(status=refusal.status_code, title=refusal.title, meaning=meaning))
    return found


def explain(_request: HttpRequest, code: str) -> HttpResponse:
    """What the address in a problem's `type` tells."""
    found = codes().get(code.replace("-", "_"))
    if found is None:
        raise Http404
    text = f"{found.title} ({found.status})\n\n{found.meaning}\n".replace("\n\n\n", "\n")
    return HttpResponse(text, content_type="text/plain; charset=utf-8")


def describe(result: dict[str, Any], **_about: Any) -> dict[str, Any]:
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
                *OPERATIONS.get(operation["operationId"], ()),
            ]
            _add(operation, refusals)
    return result


def _add(operation: dict[str, Any], refusals: list[Refusal]) -> None:
    by_status: dict[int, dict[str, str]] = defaultdict(dict)
    for refusal in refusals:
        by_status[refusal.status_code][refusal.code] = refusal.title
    if "requestBody" in operation:
        by_status[413]["invalid_request"] = "The body is too large"
        by_status[415]["invalid_request"] = "The body must be JSON"
    by_status[503]["busy"] = OTHERS["busy"][1]
    by_status[406]["not_acceptable"] = OTHERS["not_acceptable"][1]
    for status, told in sorted(by_status.items()):
        operation["responses"][str(status)] = {
            "description": " ".join(f"`{code}`: {title}." for code, title in told.items()),
            "content": {api_errors.TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }


def _refusals() -> list[Refusal]:
    """Every class of ours that becomes a problem."""
    by_operation = [refusal for refusals in OPERATIONS.values() for refusal in refusals]
    return [*ALWAYS, *GUARDED, *by_operation, *ELSEWHERE]


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
        "required_scope": {"type": "string", "description": "With insufficient_scope."},
        "debt": {"type": "integer", "description": "With account_in_debt: the credits owed."},
        "resets_at": {"type": ["string", "null"], "format": "date-time", "description": "With daily_cap_reached."},
    },
    "required": ["type", "title", "status", "detail", "code", "request_id"],
    "examples": [
        {
            "type": "https://credits.example.com/api/problems/insufficient-credits",
            "title": ledger.InsufficientCreditsError.title,
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
