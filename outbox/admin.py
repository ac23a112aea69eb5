"""What was sent to whom, and the alerts."""

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from common import clock
from common.admin import ReadOnlyAdmin, link_to
from outbox import webhooks
from outbox.models import Alert, OutboxEvent, WebhookDelivery, WebhookEndpoint


@admin.register(Alert)
class AlertAdmin(ReadOnlyAdmin):
    list_display = ("opened_at", "kind", "subject", "short_detail", "owner", "times", "resolved_at")
    list_filter = (("resolved_at", admin.EmptyFieldListFilter), "kind")
    list_select_related = ("account",)
    search_fields = ("subject", "account__email", "account__name")
    ordering = ("-opened_at", "-pk")
    owner = link_to("account")
    actions = ["resolve"]

    @admin.display(description=_("what"))
    def short_detail(self, row: Alert) -> str:
        return row.detail[:120]

    def has_resolve_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("outbox.change_alert")

    @admin.action(description=_("This is seen to"), permissions=["resolve"])
    def resolve(self, request: HttpRequest, chosen: QuerySet[Alert]) -> None:
        """Close alerts that no job can find in order by itself."""
        for row in chosen:
            self.log_change(request, row, "Resolved.")
        result = chosen.filter(resolved_at=None).update(resolved_at=clock.now(), note=f"user:{request.user.pk}")
        self.message_user(request, _("%d alerts are resolved.") % result, messages.SUCCESS)


@admin.register(OutboxEvent)
class OutboxEventAdmin(ReadOnlyAdmin):
    list_display = ("happened_at", "name", "owner", "handled_by", "attempts", "error", "next_attempt_at")
    list_filter = ("name", ("next_attempt_at", admin.EmptyFieldListFilter))
    list_select_related = ("account",)
    search_fields = ("=key", "account__email", "account__name")
    ordering = ("-pk",)
    owner = link_to("account")


@admin.register(WebhookEndpoint)
class WebhookEndpointAdmin(ReadOnlyAdmin):
    list_display = ("url", "owner", "description", "failing_since", "disabled_at", "disabled_why")
    list_filter = (("disabled_at", admin.EmptyFieldListFilter), ("failing_since", admin.EmptyFieldListFilter))
    list_select_related = ("account",)
    search_fields = ("url", "account__email", "account__name")
    ordering = ("-pk",)
    owner = link_to("account")


@admin.register(WebhookDelivery)
class WebhookDeliveryAdmin(ReadOnlyAdmin):
    list_display = ("created_at", "event", "endpoint", "status_code", "attempts", "delivered_at", "next_attempt_at")
    list_filter = (("delivered_at", admin.EmptyFieldListFilter), "status_code")
    list_select_related = ("endpoint", "event")
    search_fields = ("endpoint__url", "=event__key")
    ordering = ("-pk",)
    actions = ["send_again"]

    def has_send_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("outbox.change_webhookdelivery")

    @admin.action(description=_("Send again"), permissions=["send"])
    def send_again(self, request: HttpRequest, chosen: QuerySet[WebhookDelivery]) -> None:
        for row in chosen:
            webhooks.resend(row, now=clock.now())
            self.log_change(request, row, "Sent again.")
        self.message_user(request, _("%d deliveries are on their way again.") % len(chosen), messages.SUCCESS)
