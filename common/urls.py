"""Addresses of our own pages, for payment providers, mails and API clients."""

from django.conf import settings
from django.urls import reverse


def absolute_url(name: str, *arguments: object) -> str:
    """The whole address, with scheme and host, of what the URL configuration calls `name`."""
    return f"{settings.BASE_URL}{reverse(name, args=arguments)}"
