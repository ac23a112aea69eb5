"""What the API's description needs beside its operations: servers, tags, headers, codes, webhooks.

A hook of drf-spectacular: it runs after `api.problem_codes.describe`.
"""

from typing import Any

from django.conf import settings

from api.problem_codes import codes
from billing.notifications.webhook_payloads import webhooks
from common.json_types import JsonObject

TAGS = {
    "accounts": "The users of your app, looked after by its backend.",
    "api-keys": "Keys of an account, and their spending limits.",
    "auth": "Tokens for browsers and phones.",
    "billing": "What is for sale, purchases, plans and invoices.",
    "credits": "Balance, spends, holds, grants and the ledger.",
    "customer-sessions": "Links that let users of your app into the hosted pages.",
    "rate-card": "What each feature costs.",
    "spending-limits": "What is used of the limits of keys and members.",
    "usage": "What was used, summed.",
    "version": "Which release answers.",
    "webhook-endpoints": "Where events are sent.",
    "webhooks": "What is sent there.",
}
HEADERS = {
    "Request-Id": ("Under which the request is in the logs.", "string"),
    "RateLimit": ("What is left of each limit (IETF draft 10).", "string"),
    "RateLimit-Policy": ("The limits (IETF draft 10).", "string"),
    "Retry-After": ("In how many seconds to try again.", "integer"),
    "Idempotent-Replayed": ("`true` for an answer that was given before.", "string"),
    "Credits-Available": ("Credits available after it.", "integer"),
}
RETRIED = ("429", "503")
# What answers how many credits are available after it.
SAYS_AVAILABLE = ("spend_credits", "hold_credits", "capture_hold", "reverse_transaction")


def complete(result: JsonObject, **_about: object) -> JsonObject:
    """Add all of it."""
    result["info"] |= {"license": {"name": "MIT", "identifier": "MIT"}, "contact": {"name": "Support"}}
    if settings.SUPPORT_EMAIL:
        result["info"]["contact"]["email"] = settings.SUPPORT_EMAIL
    result["servers"] = [{"url": "/", "description": "This server."}]
    result["tags"] = [{"name": name, "description": about} for name, about in TAGS.items()]
    result["webhooks"] = webhooks()
    result["components"]["headers"] = {
        name: {"description": about, "schema": {"type": kind}} for name, (about, kind) in HEADERS.items()
    }
    result["components"]["schemas"]["Problem"]["properties"]["code"]["enum"] = sorted(codes())
    for schema in result["components"]["schemas"].values():
        _simplify(schema)
    for methods in result["paths"].values():
        for operation in methods.values():
            if {} in operation.get("security", [{}]):
                operation["security"] = [row for row in operation.get("security", []) if row] + [{}]
            for status, response in operation["responses"].items():
                response["headers"] = _headers(status, operation)
    return result


def _headers(status: str, operation: JsonObject) -> JsonObject:
    names = ["Request-Id"]
    if {} not in operation["security"]:
        names += ["RateLimit", "RateLimit-Policy"]
    if status in RETRIED:
        names.append("Retry-After")
    if status == "201" and any(row["name"] == "Idempotency-Key" for row in operation.get("parameters", [])):
        names.append("Idempotent-Replayed")
    if status in ("200", "201") and operation["operationId"] in SAYS_AVAILABLE:
        names.append("Credits-Available")
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _simplify(schema: Any) -> None:
    """What generators stumble over.

    A field with a default need not be sent, but `default` makes it one that is always there; a reference with a
    description need not be one of `allOf`, since OpenAPI 3.1.
    """
    if isinstance(schema, dict):
        if len(schema.get("allOf", ())) == 1:
            schema |= schema.pop("allOf")[0]
        if "default" in schema and ("type" in schema or "$ref" in schema):
            value = schema.pop("default")
            if value not in ("", None, {}, []):
                schema["description"] = f"{schema.get('description', '')} {value} by default.".strip()
        for inner in schema.values():
            _simplify(inner)
    elif isinstance(schema, list):
        for inner in schema:
            _simplify(inner)
