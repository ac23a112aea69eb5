"""The brand at the head of the operator console, as unfold asks for it."""

from django.http import HttpRequest

from branding import brand


def site_name(_request: HttpRequest) -> str:
    """What the console is called."""
    return brand.current().name


def icon(_request: HttpRequest) -> str:
    """The icon of its browser tab."""
    return brand.current().icon_url
