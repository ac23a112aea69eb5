"""What the OpenAPI document says of how to authenticate, and of what an operation refuses."""

from collections.abc import Callable
from typing import Any, TypeVar

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema

from api.problems import Refusing

Method = TypeVar("Method", bound=Callable[..., Any])


def refuses(*errors: Refusing) -> Callable[[Method], Method]:
    """Declare what a view's method may refuse, beyond what every operation may."""

    def declare(method: Method) -> Method:
        method.refusals = errors  # type: ignore[attr-defined]  # read back by OperationSchema
        return method

    return declare


class OperationSchema(AutoSchema):
    """Takes what a method refuses along, for `api.problem_codes.describe` to write down."""

    def get_operation(self, *args: Any, **kwargs: Any) -> Any:
        operation = super().get_operation(*args, **kwargs)
        if operation is not None:
            operation["x-refusals"] = getattr(getattr(self.view, self.method.lower()), "refusals", ())
        return operation


class BearerScheme(OpenApiAuthenticationExtension):
    target_class = "api.authentication.BearerAuthentication"
    name = "bearer"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "description": "An API key (`tg_…`), or a token."}


class BrowserSessionScheme(OpenApiAuthenticationExtension):
    target_class = "api.authentication.BrowserSessionAuthentication"
    name = "session"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "apiKey", "in": "cookie", "name": "sessionid", "description": "Our own pages, with CSRF."}
