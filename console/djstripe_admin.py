"""dj-stripe's tables in the console: every model read-only, in the console's style, its actions behind a permission.

The stock admin classes cannot stay: one of them answers 500 (it reads fields that Stripe no longer sends), their forms
write to Stripe, and their action view asks for nothing but `is_staff`.
"""

import json
from typing import Any

from django.apps import apps
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import JSONField, Model
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import redirect
from django.urls import URLPattern, path
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from djstripe.admin.actions import CustomActionMixin
from djstripe.admin.views import ConfirmCustomAction

from common.admin import ReadOnlyAdmin

# Looking again at Stripe is safe; what changes something in Stripe is done elsewhere, by its own service.
SAFE_ACTIONS = ("_resync_instances", "_sync_all_instances")

# Holds secret keys in clear: shown to nobody. (Nor is what is dj-stripe's own and no object of Stripe's.)
HIDDEN = ("apikey",)


class StoredObjectAdmin(CustomActionMixin, ReadOnlyAdmin):
    """Any model of dj-stripe's: its columns, and the object as Stripe sent it."""

    actions = list(SAFE_ACTIONS)
    ordering = ("-pk",)

    def get_list_display(self, request: HttpRequest) -> list[str]:
        wanted = ("id", "name", "email", "customer", "product", "amount", "currency", "status", "created", "livemode")
        present = {field.name for field in self.model._meta.concrete_fields}
        return [name for name in wanted if name in present] or ["__str__"]

    def get_list_select_related(self, request: HttpRequest) -> Any:
        return [name for name in ("customer", "product") if name in self.get_list_display(request)]

    def get_search_fields(self, request: HttpRequest) -> list[str]:
        return ["id"] if any(field.name == "id" for field in self.model._meta.concrete_fields) else []

    def get_fields(self, request: HttpRequest, obj: Model | None = None) -> list[str]:
        columns = [field.name for field in self.model._meta.concrete_fields if not isinstance(field, JSONField)]
        return [*columns, "as_stripe_sent_it"]

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> list[str]:
        return self.get_fields(request, obj)

    @admin.display(description=_("as Stripe sent it"))
    def as_stripe_sent_it(self, row: Any) -> SafeString:
        return format_html("<pre>{}</pre>", json.dumps(getattr(row, "stripe_data", {}), indent=2))

    def get_actions(self, request: HttpRequest) -> Any:
        actions = super().get_actions(request)
        allowed = SAFE_ACTIONS if self._may_act(request) else ()
        return {name: action for name, action in actions.items() if name in allowed}

    def get_urls(self) -> list[URLPattern]:
        # The first match wins: dj-stripe's own, unguarded, is never reached.
        gate = path(
            "action/<str:action_name>/<str:model_name>/",
            self.admin_site.admin_view(self.guarded_action),
            name="djstripe_custom_action",
        )
        return [gate, *super().get_urls()]

    def guarded_action(self, request: HttpRequest, action_name: str, model_name: str) -> HttpResponseBase:
        """dj-stripe's action view, for who may change this model, for this model, for a safe action."""
        is_own = model_name == self.model._meta.model_name
        if not (is_own and action_name in SAFE_ACTIONS and self._may_act(request)):
            raise PermissionDenied
        if request.method != "POST":
            return redirect(f"admin:djstripe_{model_name}_changelist")
        answer: HttpResponseBase = ConfirmCustomAction.as_view()(
            request, action_name=action_name, model_name=model_name
        )
        return answer

    def _may_act(self, request: HttpRequest) -> bool:
        return request.user.has_perm(f"djstripe.change_{self.model._meta.model_name}")


def register() -> None:
    """Put StoredObjectAdmin in the place of each of dj-stripe's own admin classes."""
    for model in apps.get_app_config("djstripe").get_models():
        if admin.site.is_registered(model):
            admin.site.unregister(model)
            if hasattr(model, "stripe_class") and model._meta.model_name not in HIDDEN:
                admin.site.register(model, StoredObjectAdmin)
