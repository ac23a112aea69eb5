"""The product's settings, and django-hordak beside it to be measured against."""

from config.settings import *  # noqa: F403 - the same settings, one app more
from config.settings import INSTALLED_APPS as PRODUCT_APPS

INSTALLED_APPS = [*PRODUCT_APPS, "mptt", "hordak", "benchmarks.usual"]
DEFAULT_CURRENCY = "EUR"
HORDAK_CURRENCIES = CURRENCIES = ["EUR"]
HORDAK_DECIMAL_PLACES = 0
