"""Settings, URLs, and how the apps are wired together. Nobody imports this but Django and Celery."""

from config.celery import app as celery_app

__all__ = ["celery_app"]
