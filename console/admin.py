"""Registers the operator's pages that combine rooms, and re-dresses the ones of other packages."""

from allauth.account.decorators import secure_admin_login
from django.contrib import admin

from console import customers, stripe_mirror

__all__ = ["customers", "stripe_mirror"]

stripe_mirror.register()

# One way in for everybody, with its rate limits (and its second factor).
admin.site.login = secure_admin_login(admin.site.login)  # type: ignore[method-assign]
