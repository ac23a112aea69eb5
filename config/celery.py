"""The Celery application and its timetable. Every job posts what is due and missing, however often it runs."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

app = Celery("tegoed")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
