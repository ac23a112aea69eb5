from django.apps import AppConfig
from django.db.models.signals import post_migrate, post_save


class ConsoleConfig(AppConfig):
    """The operator's pages, on top of each app's own admin."""

    name = "console"
    verbose_name = "Console"

    def ready(self) -> None:
        from django.contrib.admin.models import LogEntry

        from console import alert_rules, audit_log, checks, roles
        from outbox import alerts, dispatching

        assert checks  # noqa: S101 - imported to be registered
        # Sent once per app; the last one finds every permission made.
        post_migrate.connect(roles.keep_groups, dispatch_uid="console.keep_groups")
        post_save.connect(audit_log.record_admin_log_entry, sender=LogEntry, dispatch_uid="console.keep_log_entry")
        dispatching.subscribe("console", alerts.EVENT, alert_rules.mail_alert)
