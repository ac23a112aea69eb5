from django.apps import AppConfig


class BrandingConfig(AppConfig):
    """Whose shop it is: name, logo, colour, sender and links, on pages, mails, API docs and Stripe's checkout."""

    name = "branding"
    verbose_name = "Brand"
