"""Errors to Sentry: without what a person typed, and with every secret blanked as in the logs."""

from typing import Any

from config.logs import SECRET_FIELDS, SECRETS

DEEPEST = 12


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
    """The event without secrets, by field name and by shape."""
    return _clean(event)


def _clean(value: Any, depth: int = 0) -> Any:
    if depth > DEEPEST:
        return "…"
    if isinstance(value, dict):
        return {
            key: "***" if str(key).lower() in SECRET_FIELDS else _clean(inner, depth + 1)
            for key, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return [_clean(inner, depth + 1) for inner in value]
    return SECRETS.sub(r"\1***", value) if isinstance(value, str) else value
