"""The brand's files: images and colours, each at an address of its version, so that browsers keep them for ever."""

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.cache import cache_control
from django.views.decorators.http import require_safe

from branding.models import IMAGES, Brand

YEAR_S = 365 * 86_400
# A drawing opened by itself runs nothing, and loads nothing.
IMAGE_CSP = "default-src 'none'; style-src 'unsafe-inline'; sandbox"


@require_safe
@cache_control(public=True, max_age=YEAR_S, immutable=True)
def image(_request: HttpRequest, version: int, name: str) -> HttpResponse:
    """One of a version's images."""
    if name not in IMAGES:
        raise Http404
    row = get_object_or_404(Brand.objects.only(name, f"{name}_type"), pk=version)
    content = bytes(getattr(row, name))
    if not content:
        raise Http404
    headers = {"Content-Security-Policy": IMAGE_CSP, "X-Content-Type-Options": "nosniff"}
    return HttpResponse(content, content_type=getattr(row, f"{name}_type"), headers=headers)


@require_safe
@cache_control(public=True, max_age=YEAR_S, immutable=True)
def colours(_request: HttpRequest, version: int) -> HttpResponse:
    """A version's accent, in place of the one of the style sheet."""
    row = get_object_or_404(Brand.objects.only("accent"), pk=version)
    if row.light is None or row.dark is None:
        raise Http404
    rules = (
        ":root {{ --accent: {0.accent}; --accent-soft: {0.soft}; --one: {0.accent}; "
        "--button: {0.button}; --button-ink: {0.on_button}; }}\n"
    )
    text = rules.format(row.light) + "@media (prefers-color-scheme: dark) { " + rules.format(row.dark).strip() + " }\n"
    return HttpResponse(text, content_type="text/css")
