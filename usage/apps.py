from django.apps import AppConfig


class UsageConfig(AppConfig):
    """What is used: the rate card, and what each use costs in credits."""

    name = "usage"
    verbose_name = "Usage"
