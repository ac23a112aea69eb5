from django.apps import AppConfig
from django.db.models.signals import post_migrate


class ConsoleConfig(AppConfig):
    """The operator's pages, on top of each app's own admin."""

    name = "console"
    verbose_name = "Console"

    def ready(self) -> None:
        from console import roles

        # Sent once per app; the last one finds every permission made.
        post_migrate.connect(roles.keep_groups, dispatch_uid="console.keep_groups")
