from django.apps import AppConfig


class AccountsConfig(AppConfig):
    """Who is who: people, the accounts they own credits through, and the keys that act for them."""

    name = "accounts"
    verbose_name = "Accounts"

    def ready(self) -> None:
        from accounts import checks

        assert checks  # registers itself  # noqa: S101
