from django.apps import AppConfig


class OutboxConfig(AppConfig):
    """What has happened and others must be told: kept with the change that caused it, told once, tried again."""

    name = "outbox"
    verbose_name = "Outbox"

    def ready(self) -> None:
        from outbox import alerts, dispatching, webhooks

        dispatching.subscribe("operators", alerts.EVENT, alerts.mail_operators)
        dispatching.subscribe("webhooks", "", webhooks.create_deliveries)
