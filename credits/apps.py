from django.apps import AppConfig


class CreditsConfig(AppConfig):
    """The ledger: who has which credits, and every change of them. Knows no Stripe and no prices."""

    name = "credits"
    verbose_name = "Credits"
