from django.apps import AppConfig


class ConsoleConfig(AppConfig):
    """The operator's pages, on top of each app's own admin."""

    name = "console"
    verbose_name = "Console"
