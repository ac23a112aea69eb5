"""Addresses of our own pages, as payment providers, mails and API clients are told them."""

from django.conf import settings
from django.urls import reverse


def own(name: str, *arguments: object) -> str:
    """The whole address, with scheme and host, of what the URL configuration calls `name`."""
    return f"{settings.BASE_URL}{reverse(name, args=arguments)}"
