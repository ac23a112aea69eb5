"""What gunicorn serves: pages through all of MIDDLEWARE, calls of the API through what they need of it."""

import os
from collections.abc import Iterable
from typing import Any

from common.json_types import JsonObject

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

import django
from django.conf import settings
from django.core.handlers.exception import convert_exception_to_response
from django.core.handlers.wsgi import WSGIHandler
from django.utils.module_loading import import_string

API = "/api/v1/"


class ApiHandler(WSGIHandler):
    """Django's handler with API_MIDDLEWARE."""

    def load_middleware(self, is_async: bool = False) -> None:
        self._view_middleware: list[Any] = []
        self._template_response_middleware: list[Any] = []
        self._exception_middleware: list[Any] = []
        handler: Any = convert_exception_to_response(self._get_response)  # type: ignore[attr-defined]  # Django's own
        for path in reversed(settings.API_MIDDLEWARE):
            handler = convert_exception_to_response(import_string(path)(handler))
        self._middleware_chain = handler


class Application:
    """Sends each request through the one or the other. Who brings a cookie may have a session: all of it, then."""

    def __init__(self) -> None:
        django.setup(set_prefix=False)
        self._pages, self._api = WSGIHandler(), ApiHandler()

    def __call__(self, environ: JsonObject, start_response: Any) -> Iterable[bytes]:
        is_call = environ.get("PATH_INFO", "").startswith(API) and "HTTP_COOKIE" not in environ
        answer: Iterable[bytes] = (self._api if is_call else self._pages)(environ, start_response)
        return answer


application = Application()
