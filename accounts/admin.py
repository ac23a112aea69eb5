"""Users and keys. Accounts themselves are shown by the console, with what the other apps know of them."""

from typing import Any, ClassVar

# Imported first: what they register is taken back below.
from allauth.mfa import admin as allauth_mfa_admin
from allauth.mfa.models import Authenticator
from allauth.usersessions import admin as allauth_sessions_admin
from allauth.usersessions.models import UserSession
from django import forms
from django.contrib import admin, messages
from django.contrib.auth.admin import GroupAdmin as StockGroupAdmin
from django.contrib.auth.admin import UserAdmin as StockUserAdmin
from django.contrib.auth.models import Group
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.utils.cache import add_never_cache_headers
from django.utils.translation import gettext_lazy as _
from unfold.decorators import action
from unfold.forms import AdminPasswordChangeForm, UserChangeForm

from accounts import app_origins, keys, opening
from accounts.admin_forms import NewKeyForm
from accounts.models import ApiKey, AppOrigin, Scope, User
from common import clock
from common.admin import OperatorAdmin, ReadOnlyAdmin, link_to
from common.errors import ApiError
from common.json_types import JsonObject

assert allauth_mfa_admin and allauth_sessions_admin  # noqa: S101, PT018 - so that no tool takes them away

admin.site.unregister([Group, Authenticator, UserSession])


class OriginField(forms.CharField):
    """What people copy from an address bar, as browsers write an origin."""

    def to_python(self, value: Any) -> str:
        return str(super().to_python(value) or "").lower().removesuffix("/")


class AppOriginForm(forms.ModelForm):  # type: ignore[type-arg]  # generic for the type checker only
    class Meta:
        model = AppOrigin
        fields = ("origin", "may_call", "may_return")
        field_classes: ClassVar = {"origin": OriginField}


@admin.register(AppOrigin)
class AppOriginAdmin(OperatorAdmin):
    form = AppOriginForm
    tells_values = True
    list_display = ("origin", "may_call", "may_return")
    search_fields = ("origin",)
    ordering = ("origin",)

    def save_model(self, request: HttpRequest, obj: AppOrigin, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        app_origins.forget()

    def delete_model(self, request: HttpRequest, obj: AppOrigin) -> None:
        super().delete_model(request, obj)
        app_origins.forget()


@admin.register(Group)
class GroupAdmin(StockGroupAdmin, OperatorAdmin):
    pass


@admin.register(User)
class UserAdmin(StockUserAdmin, OperatorAdmin):  # type: ignore[type-arg]  # generic for the type checker only
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
    list_display = ("__str__", "name", "owner", "granting", "created_at", "last_used_on", "expires_at", "revoked_at")
    list_filter = ("revoked_at", "created_at")
    list_select_related = ("account",)
    search_fields = ("prefix", "last4", "name", "account__email", "account__name")
    fields = (
        "name", "prefix", "last4", "account", "scopes", ("grants_per_day", "grants_approved_by", "grants_approved_at"),
        "created_by", "created_at", "expires_at", "revoked_at",
    )  # fmt: skip
    owner = link_to("account")
    actions = ["revoke"]
    actions_detail = ["rotate", "approve_grants"]

    def has_add_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return bool(request.user.has_perm("accounts.add_apikey"))

    @admin.display(description=_("grants credits"))
    def granting(self, row: ApiKey) -> Any:
        if Scope.CREDITS_GRANT not in row.scopes:
            return "–"
        return _("waits for approval") if row.waits_for_approval else _("yes")

    def has_approve_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        return request.user.has_perm("console.approve") and request.user.has_perm("accounts.change_apikey")

    @action(description=_("Approve granting"), url_path="approve", permissions=["approve"])
    def approve_grants(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Let a key grant credits: a second person's word."""
        key, person = get_object_or_404(ApiKey, pk=object_id), _user(request)
        if request.method != "POST" or person is None:
            return self._answer(request, approving=key, title=_("Approve granting"))
        try:
            keys.approve_grants(key=key, approved_by=person, now=clock.now())
        except ApiError as refusal:
            self.log_change(request, key, f"Approval refused: {refusal}")
            self.message_user(request, str(refusal), messages.ERROR)
        else:
            self.log_change(request, key, "Granting approved.")
            self.message_user(request, _("The key may grant credits now."), messages.SUCCESS)
        return redirect("admin:accounts_apikey_change", key.pk)

    def has_rotate_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        return self.has_add_permission(request)

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: JsonObject | None = None
    ) -> HttpResponse:
        """Make a key. Its secret is in the answer, and nowhere else: no message, no session holds it."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        form = NewKeyForm(request.POST or None)
        if request.method == "POST" and form.is_valid():
            try:
                created = keys.create_key(**form.cleaned_data, created_by=_user(request), now=clock.now())
            except ApiError as refusal:
                form.add_error(None, str(refusal))
            else:
                self.log_addition(request, created.key, "Made.")
                return self._answer(request, made=created)
        return self._answer(request, form=form)

    @action(description=_("Rotate"), url_path="rotate", permissions=["rotate"])
    def rotate(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """A new key in the place of this one."""
        old = get_object_or_404(ApiKey.objects.select_related("account"), pk=object_id)
        if request.method != "POST":
            return self._answer(request, old=old)
        try:
            created = keys.rotate_key(key=old, created_by=_user(request), now=clock.now())
        except ApiError as refusal:
            self.message_user(request, str(refusal), messages.ERROR)
            return redirect("admin:accounts_apikey_changelist")
        self.log_change(request, old, f"Rotated: {created.key}.")
        old.refresh_from_db()
        return self._answer(request, made=created, old=old)

    def _answer(self, request: HttpRequest, **shown: Any) -> HttpResponse:
        about = {**self.admin_site.each_context(request), "title": _("New API key"), **shown}
        answer = TemplateResponse(request, "accounts/new_key.html", about)
        add_never_cache_headers(answer)
        return answer

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


def _user(request: HttpRequest) -> User | None:
    return request.user if isinstance(request.user, User) else None
