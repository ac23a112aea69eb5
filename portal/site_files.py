"""What browsers and search engines ask of a site beside its pages."""

from pathlib import Path

from django.contrib.staticfiles import finders
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.views.decorators.cache import cache_control
from django.views.decorators.http import require_GET, require_safe

from branding import brand
from common.urls import absolute_url

HOUR_S, DAY_S = 3_600, 86_400
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
    look = brand.current()
    icon = {"src": look.icon_url, "sizes": "any", "type": look.icon_type or "image/svg+xml"}
    about = {
        "name": look.name,
        "short_name": look.name[:12],
        "start_url": absolute_url("home"),
        "display": "minimal-ui",
        "theme_color": look.light.accent if look.light else GREEN,
        "background_color": PAPER,
        "icons": [icon],
    }
    return JsonResponse(about, content_type="application/manifest+json")


@require_safe
@cache_control(public=True, max_age=HOUR_S)
def embed(_request: HttpRequest) -> HttpResponse:
    """The custom elements for other sites' pages: the address stays, and what it gives only grows."""
    path = finders.find("portal/embed/v1.js")
    return HttpResponse(
        Path(str(path)).read_bytes(),
        content_type="text/javascript; charset=utf-8",
        # A module of another origin is fetched with CORS. There is nobody's data in it.
        headers={"Access-Control-Allow-Origin": "*", "Cross-Origin-Resource-Policy": "cross-origin"},
    )


@require_GET
@cache_control(public=True, max_age=DAY_S)
def favicon(_request: HttpRequest) -> HttpResponseRedirect:
    """For whatever asks at the usual address instead of reading the page."""
    return HttpResponseRedirect(brand.current().icon_url)
