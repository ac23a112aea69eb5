from django.apps import AppConfig


class AccountsConfig(AppConfig):
    """Who is who: people, the accounts they own credits through, and the keys that act for them."""

    name = "accounts"
    verbose_name = "Accounts"
