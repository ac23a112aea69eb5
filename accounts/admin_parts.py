"""What the operator's pages are built from, in every app."""

from collections.abc import Callable
from typing import Any

from babel.numbers import get_currency_precision
from django.db.models import Model
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin


class ReadOnlyAdmin(ModelAdmin):  # type: ignore[misc]
    """Rows to look at: added, changed and deleted by the code that owns them, never by hand."""

    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


def money(minor: int, currency: str) -> str:
    """An amount in minor units as operators read it, e.g. `5.00 EUR`."""
    digits = get_currency_precision(currency.upper()) if currency else 2
    text = str(minor).rjust(digits + 1, "0")
    whole = f"{text[:-digits]}.{text[-digits:]}" if digits else text
    return f"{whole} {currency.upper()}".strip()


def link_to(target: str, label: Callable[[Any], str] = str) -> Callable[[Any, Any], SafeString | str]:
    """A column that links to the row's `target`, a foreign key."""

    def column(_admin: Any, row: Any) -> SafeString | str:
        other = getattr(row, target)
        if other is None:
            return "–"
        url = reverse(f"admin:{other._meta.app_label}_{other._meta.model_name}_change", args=[other.pk])
        return format_html('<a href="{}">{}</a>', url, label(other))

    column.short_description = target.replace("_", " ")  # type: ignore[attr-defined]
    return column
