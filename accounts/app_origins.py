"""Which apps may call the API from a browser, and where customers may be sent back to: by setting, and in the console.

Remembered for ten seconds: a browser asks before many a call.
"""

import re
import time

from corsheaders.signals import check_request_enabled
from django.conf import settings
from django.http import HttpRequest

from accounts.models import AppOrigin

REMEMBERED_S = 10
_remembered: tuple[float, dict[str, AppOrigin]] = (0.0, {})


def may_return(origin: str) -> bool:
    """Whether customers may be sent to pages of this origin."""
    if origin in (settings.BASE_URL, *settings.RETURN_ORIGINS) or _is_on_this_machine(origin):
        return True
    return (known := _known().get(origin)) is not None and known.may_return


def may_call(request: HttpRequest, **_signal: object) -> bool:
    """Whether the console lets this request's origin call the API: corsheaders asks for what no setting names."""
    known = _known().get(request.headers.get("Origin", "")) if request.path_info.startswith("/api/v1/") else None
    return known is not None and known.may_call


def forget() -> None:
    """Look again: an address was changed."""
    global _remembered  # noqa: PLW0603 - one for the process
    _remembered = (0.0, {})


def connect() -> None:
    """Have corsheaders ask here."""
    check_request_enabled.connect(may_call, dispatch_uid="accounts.app_origins")


def _known() -> dict[str, AppOrigin]:
    global _remembered  # noqa: PLW0603 - one for the process
    until, known = _remembered
    if until <= time.monotonic():
        known = {row.origin: row for row in AppOrigin.objects.all()}
        _remembered = (time.monotonic() + REMEMBERED_S, known)
    return known


def _is_on_this_machine(origin: str) -> bool:
    """Of a sandbox: an app that is tried out beside it, on whichever port."""
    return any(re.match(pattern, origin) for pattern in settings.CORS_ALLOWED_ORIGIN_REGEXES)
