"""Where the API's description is read, by programs and by people, under the brand's name."""

from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView
from rest_framework.request import Request
from rest_framework.response import Response

from branding import brand


class SchemaView(SpectacularAPIView):
    """The OpenAPI document."""

    def _get_schema_response(self, request: Request) -> Response:
        response: Response = super()._get_schema_response(request)  # type: ignore[no-untyped-call]  # spectacular's own
        response.data["info"]["title"] = _title()
        return response


class DocsView(SpectacularSwaggerSplitView):
    """The same for people."""

    @property
    def title(self) -> str:  # type: ignore[override]  # it reads it, and sets it never
        return _title()


def _title() -> str:
    return f"{brand.current().name} API"
