"""Structured logs: one event a line, with the request's id, and no secret ever."""

import re
from collections.abc import MutableMapping
from typing import Any

import structlog

# What a secret looks like, whatever field it arrives in.
SECRETS = re.compile(r"\b(sk_(?:live|test)_|rk_(?:live|test)_|whsec_|tg_(?:live|test)_)[A-Za-z0-9_]{6,}")
SECRET_FIELDS = {"password", "secret", "authorization", "cookie", "token", "api_key"}


def redact(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Blank secrets by field name and by shape, the last thing before a line is written."""
    for key, value in event.items():
        if key.lower() in SECRET_FIELDS:
            event[key] = "***"
        elif isinstance(value, str):
            event[key] = SECRETS.sub(r"\1***", value)
    return event


def configure(*, level: str, as_json: bool) -> dict[str, Any]:
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
