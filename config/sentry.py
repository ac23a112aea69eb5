"""Errors to Sentry: without what a person typed, and with every secret blanked as in the logs."""

from typing import Any

from config import logs

DEEPEST = 12
STRUCTURE = ("exception", "threads", "stacktrace", "modules", "sdk", "contexts")


def start(*, dsn: str, environment: str) -> None:
    """From now on, errors go there."""
    import sentry_sdk

    sentry_sdk.init(
        dsn=dsn,
        environment=environment,
        send_default_pii=False,
        max_request_body_size="never",
        include_local_variables=False,
        traces_sample_rate=0.0,
        before_send=scrub,
    )


def scrub(event: Any, _hint: Any) -> Any:
    """The event without secrets, by field name and by shape: as the logs have it."""
    cleaned = {key: value if key in STRUCTURE else logs.clean(value) for key, value in dict(event).items()}
    return cleaned | {key: _without_secrets(event[key]) for key in STRUCTURE if key in event}


def _without_secrets(value: Any, depth: int = 0) -> Any:
    """Tracebacks: their files keep their paths."""
    if depth > DEEPEST:
        return "…"
    if isinstance(value, dict):
        return {
            key: "***" if str(key).lower() in logs.SECRET_FIELDS else _without_secrets(inner, depth + 1)
            for key, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return [_without_secrets(inner, depth + 1) for inner in value]
    return logs.SECRETS.sub(r"\1***", value) if isinstance(value, str) else value
