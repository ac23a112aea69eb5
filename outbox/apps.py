from django.apps import AppConfig


class OutboxConfig(AppConfig):
    """Domain events: stored with the change that caused them, dispatched once to each subscriber, tried again."""

    name = "outbox"
    verbose_name = "Outbox"

    def ready(self) -> None:
        from outbox import alerts, dispatching, webhooks

        dispatching.subscribe("operators", alerts.EVENT, alerts.mail_operators)
        dispatching.subscribe("webhooks", "", webhooks.create_deliveries)
