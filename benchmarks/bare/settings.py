"""The product's database behind Django without anything: no middleware, no framework, two views."""

from benchmarks.settings import *  # noqa: F403 - the same settings

INSTALLED_APPS = [
    "accounts", "outbox", "credits", "benchmarks.usual", "django.contrib.auth", "django.contrib.contenttypes",
]  # fmt: skip
MIDDLEWARE = []
API_MIDDLEWARE = []
ROOT_URLCONF = "benchmarks.bare.urls"
