"""Registers the operator's pages that combine apps, and those of other packages in this console's style."""

import uuid
from typing import cast

from allauth.account.decorators import secure_admin_login
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy as later

from accounts.models import User
from common import clock, csv_export
from common.admin import OperatorAdmin, ReadOnlyAdmin, link_to
from common.json_types import JsonObject
from console import account_admin, audit_log, bulk_grants, djstripe_admin, operation_views
from console.models import AlertThreshold, Approval, AuditEvent, BulkGrant

__all__ = ["account_admin", "djstripe_admin"]

djstripe_admin.register()

# Several rows deleted at once would not be in the audit log: Django sends no signal for them.
admin.site.disable_action("delete_selected")

admin.site.index_title = later("Dashboard")

# One way in for everybody, with its rate limits (and its second factor).
admin.site.login = secure_admin_login(admin.site.login)  # type: ignore[method-assign]  # as unfold documents it


def effects_as_list(rows: list[list[str]]) -> SafeString:
    """What changed, from what to what."""
    return format_html_join("", "<p>{}: {} → <strong>{}</strong></p>", rows) if rows else SafeString("–")


@admin.register(AuditEvent)
class AuditEventAdmin(ReadOnlyAdmin):
    list_display = ("at", "operator", "action", "owner", "subject", "reason", "result")
    list_filter = ("action", "at")
    list_select_related = ("operator", "account")
    search_fields = ("=operator__email", "=account__email", "subject", "reason")
    ordering = ("-at", "-pk")
    fields = (
        ("at", "operator"), "action", "owner", "subject", "reason", "what_changed", "result", ("ip", "request_id"),
        "undo_until", "key",
    )  # fmt: skip
    readonly_fields = ("owner", "what_changed")
    owner = link_to("account")
    change_form_template = "console/audit_event.html"
    actions = ["download"]

    @admin.display(description=later("what changed"))
    def what_changed(self, row: AuditEvent) -> SafeString:
        return effects_as_list(row.effects)

    @admin.action(description=later("Download as CSV"))
    def download(self, request: HttpRequest, chosen: QuerySet[AuditEvent]) -> StreamingHttpResponse:
        columns = ("at", "operator", "action", "account", "subject", "reason", "result", "ip", "request_id")
        rows = (
            [str(getattr(row, name) or "") for name in columns] for row in chosen.select_related("operator", "account")
        )
        audit_log.record(
            key=f"download:{uuid.uuid4().hex}", action="download audit log", operator=cast(User, request.user),
            subject=f"{chosen.count()} events", now=clock.now(), request=request,
        )  # fmt: skip
        return csv_export.download("audit", columns, rows)

    def get_urls(self) -> list[URLPattern]:
        undo = path("<uuid:event_id>/undo/", self.admin_site.admin_view(self.undo), name="console_auditevent_undo")
        return [undo, *super().get_urls()]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: JsonObject | None = None
    ) -> HttpResponse:
        event = self.get_object(request, object_id)
        can_undo = (
            event is not None
            and event.undo_until is not None
            and clock.now() <= event.undo_until
            and isinstance(request.user, User)
            and operation_views.may_undo(request.user, event)
        )
        known = (extra_context or {}) | {"event": event, "can_undo": can_undo}
        answer: HttpResponse = super().change_view(request, object_id, form_url, known)
        return answer

    def undo(self, request: HttpRequest, event_id: uuid.UUID) -> HttpResponse:
        """Take back what was done some minutes ago."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        event = get_object_or_404(AuditEvent.objects.select_related("account"), pk=event_id)
        if request.method == "POST":
            operation_views.undo(request, event)
        if event.account_id:
            return redirect("admin:accounts_account_change", event.account_id)
        return redirect("admin:console_auditevent_changelist")


@admin.register(Approval)
class ApprovalAdmin(ReadOnlyAdmin):
    list_display = ("asked_at", "operation", "owner", "reason", "asked_by", "state", "decided_by", "decided_at")
    list_filter = ("state", "operation")
    list_select_related = ("account", "asked_by", "decided_by")
    search_fields = ("=account__email", "reason", "=asked_by__email")
    ordering = ("-asked_at", "-pk")
    fields = (
        "operation", "owner", "reason", "what_changes", ("asked_by", "asked_at"), "state", ("decided_by", "decided_at"),
        "result",
    )  # fmt: skip
    readonly_fields = ("owner", "what_changes")
    owner = link_to("account")
    change_form_template = "console/approval.html"

    @admin.display(description=later("what it changes"))
    def what_changes(self, row: Approval) -> SafeString:
        return effects_as_list(row.effects)

    def get_urls(self) -> list[URLPattern]:
        decide = path(
            "<uuid:approval_id>/decide/", self.admin_site.admin_view(self.decide), name="console_approval_decide"
        )
        return [decide, *super().get_urls()]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: JsonObject | None = None
    ) -> HttpResponse:
        row = self.get_object(request, object_id)
        known = (extra_context or {}) | {
            "approval": row,
            "may_decide": bool(row) and row.state == "pending" and request.user.has_perm("console.approve"),
            "is_own": bool(row) and row.asked_by_id == request.user.pk,
        }
        answer: HttpResponse = super().change_view(request, object_id, form_url, known)
        return answer

    def decide(self, request: HttpRequest, approval_id: uuid.UUID) -> HttpResponse:
        """Yes or no, by somebody else than who asked."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        row = get_object_or_404(Approval, pk=approval_id)
        if request.method == "POST":
            operation_views.decide(request, row, approve="approve" in request.POST)
        return redirect("admin:console_approval_change", row.pk)


@admin.register(BulkGrant)
class BulkGrantAdmin(ReadOnlyAdmin):
    list_display = ("made_at", "name", "made_by", "reason", "state", "progress")
    list_filter = ("state",)
    list_select_related = ("made_by",)
    search_fields = ("name", "reason")
    ordering = ("-made_at", "-pk")
    fields = ("name", "reason", ("made_by", "made_at"), "state")
    change_form_template = "console/bulk_grant.html"

    @admin.display(description=later("granted"))
    def progress(self, row: BulkGrant) -> str:
        return f"{row.done} / {len(row.rows)}"

    def has_add_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return request.user.has_perm("console.add_bulkgrant") and request.user.has_perm("console.grant_without_limit")

    def get_urls(self) -> list[URLPattern]:
        start = path("<uuid:bulk_id>/start/", self.admin_site.admin_view(self.start), name="console_bulkgrant_start")
        return [start, *super().get_urls()]

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: JsonObject | None = None
    ) -> HttpResponse:
        """Upload a file; nothing is granted by that."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        form = bulk_grants.UploadForm(request.POST or None, request.FILES or None)
        if request.method == "POST" and form.is_valid():
            assert isinstance(request.user, User)  # noqa: S101 - behind admin_view
            created = bulk_grants.save_upload(
                name=form.cleaned_data["file"].name, rows=form.rows, reason=form.cleaned_data["reason"],
                made_by=request.user, now=clock.now(),
            )  # fmt: skip
            return redirect("admin:console_bulkgrant_change", created.pk)
        shown = {**self.admin_site.each_context(request), "title": _("Grant credits to many"), "form": form}
        return TemplateResponse(request, "console/bulk_upload.html", shown)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: JsonObject | None = None
    ) -> HttpResponse:
        row = self.get_object(request, object_id)
        known = (extra_context or {}) | {"bulk": row, "plan": bulk_grants.plan(row) if row else None}
        known["may_start"] = bool(row) and row.state == "checked" and self.has_add_permission(request)
        answer: HttpResponse = super().change_view(request, object_id, form_url, known)
        return answer

    def start(self, request: HttpRequest, bulk_id: uuid.UUID) -> HttpResponse:
        """Have the worker grant row by row."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        row = get_object_or_404(BulkGrant, pk=bulk_id)
        operator = cast(User, request.user)
        if request.method == "POST":
            try:
                bulk_grants.start(row, operator=operator, request=request, now=clock.now())
            except bulk_grants.BulkRefusedError as refusal:
                bulk_grants.record_refusal(row, str(refusal), operator=operator, request=request, now=clock.now())
                messages.error(request, str(refusal))
        return redirect("admin:console_bulkgrant_change", row.pk)


@admin.register(AlertThreshold)
class AlertThresholdAdmin(OperatorAdmin):
    tells_values = True
    list_display = ("__str__", "queue_age_minutes", "webhook_lag_seconds", "failed_payments_a_day", "margin_percent")
    fieldsets = (
        (
            later("Alert when"),
            {
                "fields": (
                    "queue_age_minutes", "webhook_lag_seconds", "failed_payments_a_day", "margin_percent",
                    "spike_factor", "spike_credits",
                )
            },
        ),
        (later("Told"), {"fields": ("emails", "webhook_url")}),
    )  # fmt: skip

    def has_add_permission(self, request: HttpRequest) -> bool:
        return super().has_add_permission(request) and not AlertThreshold.objects.exists()

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False
