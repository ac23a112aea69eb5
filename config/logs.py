"""Structured logs: one event a line, with the request's id, and no secret ever."""

import re
from collections.abc import Mapping, MutableMapping
from typing import Any

import structlog

from common.json_types import JsonObject

# What a secret looks like, whatever field it arrives in: keys and webhook secrets, JSON web tokens.
SECRETS = re.compile(
    r"\b(sk_(?:live|test)_|rk_(?:live|test)_|whsec_|tg_(?:live|test)_|eyJ)(?:[A-Za-z0-9_-]{6,}(?:\.[A-Za-z0-9_-]+){0,2})"
)
SECRET_FIELDS = {"password", "secret", "authorization", "cookie", "token", "api_key", "x-admin-key"}
# An address may hold a secret in its query, and in a part of its path: a link for a new password, an invitation. A part
# that is no name of ours (acc_...), no uuid and no file is blanked once it is as long as a secret.
QUERY = re.compile(r"(?<=[A-Za-z0-9/_-])\?[^\s\"'<>]+")
PART = re.compile(r"(?<=/)[^/\s\"'<>?]{16,}")
PLAIN_PART = re.compile(
    r"[a-z]{2,5}_[0-9a-z]{26}"  # acc_..., txn_...
    r"|(?:cs|pi|in|ch|sub|cus|evt|re|dp|price|prod)_[A-Za-z0-9_]+"  # Stripe's names
    r"|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
    r"|[a-z]+(?:[_-][a-z]+)*"  # words: webhook-endpoints
    r"|[\w.-]+\.(?:css|js|svg|png|ico|py|map|woff2?|csv|pdf|txt|json|yaml)"
)
DEEPEST = 6


def blanked(text: str) -> str:
    """A text without what a secret looks like, and without the parts of addresses that may be one."""
    text = QUERY.sub("?***", SECRETS.sub(r"\1***", text))
    return PART.sub(lambda found: found[0] if PLAIN_PART.fullmatch(found[0]) else "***", text)


def clean(value: Any, depth: int = 0) -> Any:
    """A value of a log line without secrets: texts, and whatever is inside lists and mappings. Objects become text."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return blanked(value)
    if depth > DEEPEST:
        return "…"
    if isinstance(value, Mapping):
        return {
            str(key): "***" if str(key).lower() in SECRET_FIELDS else clean(inner, depth + 1)
            for key, inner in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [clean(inner, depth + 1) for inner in value]
    return blanked(str(value))


def redact(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Blank secrets by field name and by shape, the last thing before a line is written."""
    for key, value in event.items():
        # A traceback names files, whose paths are no addresses.
        kept = SECRETS.sub(r"\1***", value) if key == "exception" and isinstance(value, str) else clean(value)
        event[key] = "***" if key.lower() in SECRET_FIELDS else kept
    return event


def configure(*, level: str, as_json: bool) -> JsonObject:
    """Set structlog up and answer Django's LOGGING so that both write the same lines."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.stdlib.ExtraAdder(),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,  # first: what is not written costs nothing
            *shared,
            structlog.processors.StackInfoRenderer(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    renderer: Any = structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer(colors=False)
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "lines": {
                "()": structlog.stdlib.ProcessorFormatter,
                "foreign_pre_chain": shared,
                "processors": [
                    structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                    structlog.processors.format_exc_info,
                    redact,
                    renderer,
                ],
            }
        },
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "lines"}},
        "root": {"handlers": ["stderr"], "level": level},
        "loggers": {
            "django.server": {"handlers": ["stderr"], "level": "WARNING", "propagate": False},
            "stripe": {"level": "WARNING"},
            "kombu.connection": {"level": "ERROR"},  # it warns of every connection that has no host name
        },
    }
