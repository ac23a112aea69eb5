from django.apps import AppConfig


class PortalConfig(AppConfig):
    """The customer's pages. They combine the other apps and store nothing of their own."""

    name = "portal"
    verbose_name = "Portal"
