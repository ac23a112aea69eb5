"""Each request begins without a time zone of somebody's: `portal.current_account` sets the account's."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponseBase
from django.utils import timezone


def forget_time_zone(
    get_response: Callable[[HttpRequest], HttpResponseBase],
) -> Callable[[HttpRequest], HttpResponseBase]:
    """Middleware: a thread that has shown one customer's page shows nobody else their time."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        try:
            return get_response(request)
        finally:
            timezone.deactivate()

    return middleware
