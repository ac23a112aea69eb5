"""Addresses of our own pages, for payment providers, mails and API clients."""

from django.conf import settings
from django.urls import reverse


def absolute_url(name: str, *arguments: object) -> str:
    """The whole address, with scheme and host, of what the URL configuration calls `name`."""
    return absolute(reverse(name, args=arguments))


def absolute(path: str) -> str:
    """The whole address of a path of ours."""
    return f"{settings.BASE_URL}{path}"
