from django.apps import AppConfig


class AccountsConfig(AppConfig):
    """Who is who: people, the accounts they own credits through, and the keys that act for them."""

    name = "accounts"
    verbose_name = "Accounts"

    def ready(self) -> None:
        from allauth.account.signals import email_confirmed

        from accounts import app_origins, checks, email_confirmation

        app_origins.connect()
        assert checks  # registers itself  # noqa: S101
        email_confirmed.connect(email_confirmation.address_confirmed, dispatch_uid="accounts.address_confirmed")
