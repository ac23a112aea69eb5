from django.apps import AppConfig


class BillingConfig(AppConfig):
    """Money: what is for sale, what was bought, and bringing credits in line with what Stripe says was paid."""

    name = "billing"
    verbose_name = "Billing"

    def ready(self) -> None:
        from billing import receivers
        from billing.stripe import stripe_client

        receivers.connect()
        stripe_client.configure()
