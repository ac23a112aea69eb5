"""Errors in Stripe's own shape, so that the official client raises what it would raise."""

from typing import Any


class StripeApiError(Exception):
    """An error answer: an HTTP status and the `error` object."""

    def __init__(self, status: int, kind: str, message: str, **extra: Any) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"error": {"type": kind, "message": message, **extra}}


def invalid(message: str, *, param: str | None = None, code: str | None = None, status: int = 400) -> StripeApiError:
    """`invalid_request_error`: the request cannot be carried out as it is."""
    extra = {name: value for name, value in (("param", param), ("code", code)) if value}
    return StripeApiError(status, "invalid_request_error", message, **extra)


def missing(kind: str, identifier: str) -> StripeApiError:
    """There is no such object."""
    return invalid(f"No such {kind}: '{identifier}'", param="id", code="resource_missing", status=404)


def declined(message: str, *, code: str = "card_declined", **extra: Any) -> StripeApiError:
    """`card_error`: the bank said no."""
    return StripeApiError(402, "card_error", message, code=code, **extra)
