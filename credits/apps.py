from django.apps import AppConfig


class CreditsConfig(AppConfig):
    """The ledger: who has which credits, and every change of them. Knows no Stripe and no prices."""

    name = "credits"
    verbose_name = "Credits"

    def ready(self) -> None:
        # Models exist from here on.
        from accounts.signals import key_created
        from credits import spending_limits

        key_created.connect(spending_limits.count_new_key, dispatch_uid="credits.count_new_key")
