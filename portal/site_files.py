"""What browsers and search engines ask of a site beside its pages."""

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponsePermanentRedirect, JsonResponse
from django.templatetags.static import static
from django.views.decorators.cache import cache_control
from django.views.decorators.http import require_GET

from common.urls import absolute_url

DAY_S = 86_400
# What is somebody's own, or for machines: nothing of it belongs in a search engine.
PRIVATE = ("/admin/", "/api/", "/accounts/", "/billing/", "/settings/", "/invitations/")
GREEN, PAPER = "#236857", "#ffffff"  # as portal/static/portal/site.css has them


@require_GET
@cache_control(public=True, max_age=DAY_S)
def robots(_request: HttpRequest) -> HttpResponse:
    """The pages that search engines may show: the first one, and the prices."""
    lines = ["User-agent: *", *(f"Disallow: {path}" for path in PRIVATE), ""]
    return HttpResponse("\n".join(lines), content_type="text/plain")


@require_GET
@cache_control(public=True, max_age=DAY_S)
def manifest(_request: HttpRequest) -> JsonResponse:
    """What a phone needs to put the site on its home screen."""
    icon = {"src": static("portal/icon.svg"), "sizes": "any", "type": "image/svg+xml"}
    about = {
        "name": settings.SITE_NAME,
        "short_name": settings.SITE_NAME[:12],
        "start_url": absolute_url("home"),
        "display": "minimal-ui",
        "theme_color": GREEN,
        "background_color": PAPER,
        "icons": [icon],
    }
    return JsonResponse(about, content_type="application/manifest+json")


@require_GET
@cache_control(public=True, max_age=DAY_S)
def favicon(_request: HttpRequest) -> HttpResponsePermanentRedirect:
    """For whatever asks at the usual address instead of reading the page."""
    return HttpResponsePermanentRedirect(static("portal/icon.svg"))
