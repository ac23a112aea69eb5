"""Users and keys. Accounts themselves are shown by the console, with what the other rooms know of them."""

from typing import Any

# Imported first: what they register is taken back below.
from allauth.mfa import admin as allauth_mfa_admin
from allauth.mfa.models import Authenticator
from allauth.usersessions import admin as allauth_sessions_admin
from allauth.usersessions.models import UserSession
from django.contrib import admin, messages
from django.contrib.auth.admin import GroupAdmin as StockGroupAdmin
from django.contrib.auth.admin import UserAdmin as StockUserAdmin
from django.contrib.auth.models import Group
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin
from unfold.forms import AdminPasswordChangeForm, UserChangeForm

from accounts import clock, keys, opening
from accounts.admin_parts import ReadOnlyAdmin, link_to
from accounts.models import ApiKey, User

assert allauth_mfa_admin and allauth_sessions_admin  # noqa: S101, PT018 - so that no tool takes them away

admin.site.unregister([Group, Authenticator, UserSession])


@admin.register(Group)
class GroupAdmin(StockGroupAdmin, ModelAdmin):  # type: ignore[misc]
    pass


@admin.register(User)
class UserAdmin(StockUserAdmin, ModelAdmin):  # type: ignore[misc,type-arg]
    form = UserChangeForm
    change_password_form = AdminPasswordChangeForm
    list_display = ("email", "name", "is_staff", "is_active", "date_joined", "last_login")
    list_filter = ("is_staff", "is_active", "groups")
    search_fields = ("email", "name")
    ordering = ("email",)
    fieldsets = (
        (None, {"fields": ("email", "password")}),
        (_("Person"), {"fields": ("name", "date_joined", "last_login")}),
        (_("Rights"), {"fields": ("is_active", "is_staff", "is_superuser", "groups", "user_permissions")}),
    )
    add_fieldsets = ((None, {"classes": ("wide",), "fields": ("email", "usable_password", "password1", "password2")}),)
    readonly_fields = ("date_joined", "last_login")

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        obj.email = obj.email.strip().lower()
        super().save_model(request, obj, form, change)
        opening.personal_account(user=obj, now=clock.now())


@admin.register(ApiKey)
class ApiKeyAdmin(ReadOnlyAdmin):
    list_display = ("__str__", "name", "owner", "created_at", "last_used_on", "expires_at", "revoked_at")
    list_filter = ("revoked_at", "created_at")
    list_select_related = ("account",)
    search_fields = ("prefix", "last4", "name", "account__email", "account__name")
    fields = ("name", "prefix", "last4", "account", "scopes", "created_by", "created_at", "expires_at", "revoked_at")
    owner = link_to("account")
    actions = ["revoke"]

    def get_actions(self, request: HttpRequest) -> Any:
        actions = super().get_actions(request)
        if not request.user.has_perm("accounts.change_apikey"):
            actions.pop("revoke", None)
        return actions

    @admin.action(description=_("Revoke the selected keys: they stop working at once"))
    def revoke(self, request: HttpRequest, chosen: QuerySet[ApiKey]) -> None:
        now = clock.now()
        for key in chosen:
            keys.revoke_key(key=key, now=now)
            self.log_change(request, key, "Revoked.")
        self.message_user(request, _("%(count)d keys revoked.") % {"count": len(chosen)}, messages.SUCCESS)


@admin.register(Authenticator)
class AuthenticatorAdmin(ReadOnlyAdmin):
    """Who has a second factor. What it is computed from is shown to nobody."""

    list_display = ("user", "type", "created_at", "last_used_at")
    list_filter = ("type",)
    list_select_related = ("user",)
    search_fields = ("user__email",)
    fields = list_display


@admin.register(UserSession)
class UserSessionAdmin(ReadOnlyAdmin):
    """Where people are signed in. The sessions' own keys are shown to nobody."""

    list_display = ("user", "created_at", "last_seen_at", "ip", "user_agent")
    list_select_related = ("user",)
    search_fields = ("user__email", "=ip")
    fields = list_display
