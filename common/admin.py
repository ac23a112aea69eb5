"""What the operator's pages are built from, in every app."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.contrib.admin import AdminSite
from django.contrib.admin.utils import flatten_fieldsets
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin

from common import currencies
from common.json_types import JsonObject


@dataclass(frozen=True)
class Effect:
    """One thing that an operator's act changes: shown before it is done."""

    what: str
    before: str
    after: str


class OperatorAdmin(ModelAdmin):
    """A list, and its rows, for operators."""

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """Whether the list may be narrowed by this: by what is shown. (Else secrets are guessed letter by letter.)"""
        name = lookup.partition("__")[0]
        field = next((field for field in self.opts.fields if name in (field.name, field.attname)), None)
        is_hidden = field is not None and not (field.primary_key or field.is_relation or field.name in self._shown())
        return not is_hidden and bool(super().lookup_allowed(lookup, value, request))

    # Whether the audit log says from what to what a field was changed. (Not of people: there, nothing can be erased.)
    tells_values = False

    def construct_change_message(
        self, request: HttpRequest, form: Any, formsets: Any, add: bool = False
    ) -> list[JsonObject]:
        """What Django's log, and so the audit log, says of a change."""
        reported: list[JsonObject] = super().construct_change_message(request, form, formsets, add)
        if self.tells_values:
            was, now = form.initial, form.cleaned_data
            named = [(form.fields[name].label or name, was.get(name), now.get(name)) for name in form.changed_data]
            rows = [f"{label}: {before} → {after}" for label, before, after in named]
            reported = [entry for entry in reported if set(entry.get("changed", {})) != {"fields"}]
            reported += [{"changed": {"fields": rows}}] if rows else []
        return reported

    def _shown(self) -> set[str]:
        """The names of the fields that pages of this list show."""
        own = [*(self.fields or ()), *self.list_display, *self.readonly_fields, *self.search_fields]
        filters = [row[0] if isinstance(row, tuple) else row for row in self.list_filter]
        own += [row for row in filters if isinstance(row, str)]
        own += flatten_fieldsets(self.fieldsets or ())
        if self.fields is None and self.fieldsets is None:
            own += [field.name for field in self.opts.fields if field.editable]
        return {str(name).lstrip("=^@-").partition("__")[0] for name in own if isinstance(name, str)}


class ReadOnlyAdmin(OperatorAdmin):
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
    digits = currencies.digits(currency)
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

    column.short_description = target.replace("_", " ")  # type: ignore[attr-defined]  # how a column is named
    return column


def confirmation(request: HttpRequest, site: AdminSite, title: str, explanation: str, *, back: str) -> HttpResponse:
    """Ask before an action of an address is done: a GET changes nothing, the form that this shows does."""
    shown = {**site.each_context(request), "title": title, "button": title, "explanation": explanation, "back": back}
    return TemplateResponse(request, "billing/confirm.html", shown)
