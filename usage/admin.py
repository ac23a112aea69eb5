"""The rate card."""

from django.contrib import admin
from unfold.admin import ModelAdmin

from usage.models import Feature


@admin.register(Feature)
class FeatureAdmin(ModelAdmin):  # type: ignore[misc]
    list_display = ("code", "name", "unit", "credits", "is_active")
    list_filter = ("is_active",)
    search_fields = ("code", "name")
    ordering = ("code",)
