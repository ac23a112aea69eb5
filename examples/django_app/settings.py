"""A project of your own over Tegoed's settings: your apps beside ours, your addresses before ours.

Run any command with it: DJANGO_SETTINGS_MODULE=examples.django_app.settings python manage.py …
"""

from config.settings import *  # noqa: F403 - an overlay
from config.settings import INSTALLED_APPS, TEMPLATES

INSTALLED_APPS = ["examples.django_app", *INSTALLED_APPS]
ROOT_URLCONF = "examples.django_app.urls"
# Your templates come first: put a `base.html` there to give our pages your frame.
TEMPLATES = [{**TEMPLATES[0], "DIRS": ["examples/django_app/templates", *TEMPLATES[0]["DIRS"]]}]
