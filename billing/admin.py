"""What was bought, and the webhooks. (What is for sale: billing/catalogue_admin.py.)"""

import json
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from unfold.decorators import action

from billing import catalogue_admin  # noqa: F401 - registers the catalogue
from billing.models import (
    Clawback,
    InboxEvent,
    KnownDifference,
    Order,
    PaymentRecord,
    Subscription,
    TopUp,
)
from billing.webhooks import inbox
from common import clock
from common.admin import ReadOnlyAdmin, confirmation, link_to, money

# A replay asks Stripe for each event; more at once would outlast the request.
MAX_REPLAYED = 50


REPLAY = _(
    "What the webhook is about is fetched from Stripe as it is now, and acted on. What was given for it before is not "
    "given again."
)


@admin.register(TopUp)
class TopUpAdmin(ReadOnlyAdmin):
    list_display = ("owner", "price", "below", "max_per_month", "is_on", "problem", "agreed_at")
    list_filter = ("is_on",)
    list_select_related = ("account", "price__pack")
    search_fields = ("account__email", "account__name")
    ordering = ("-agreed_at",)
    owner = link_to("account")


@admin.register(Order)
class OrderAdmin(ReadOnlyAdmin):
    list_display = ("created_at", "public_id", "owner", "description", "credits", "total", "status", "completed_at")
    list_filter = ("status", "is_disputed", "created_at")
    list_select_related = ("account",)
    search_fields = ("account__email", "account__name", "=stripe_session_id", "=stripe_subscription_id")
    ordering = ("-id",)
    readonly_fields = ("public_id", "owner", "total", "refunded")
    fields = (
        ("public_id", "owner"), ("description", "quantity"), ("credits", "bonus_credits"), ("total", "status"),
        ("promotion", "promotion_credits"), ("discount_minor", "tax_minor", "paid_minor"), "receipt_url",
        ("refunded", "is_disputed"), "problem", ("provider", "ui", "payment_id"),
        ("stripe_session_id", "stripe_subscription_id"),
        ("created_at", "completed_at"), "actor",
    )  # fmt: skip
    owner = link_to("account")
    actions_detail = ["refund"]

    @admin.display(description=_("total"))
    def total(self, row: Order) -> str:
        return money(row.charged_minor, row.currency)

    @admin.display(description=_("refunded"))
    def refunded(self, row: Order) -> str:
        return money(row.refunded_minor, row.currency) if row.refunded_minor else "–"

    def has_refund_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        return request.user.has_perm("console.refund_order")

    @action(description=_("Refund"), url_path="refund", permissions=["refund"])
    def refund(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Give money back: the console's own operation, with its preview, its limits and its audit record."""
        order = get_object_or_404(Order, pk=object_id)
        address = reverse("admin:accounts_account_do", args=[order.account_id, "refund"])
        return redirect(f"{address}?order={order.public_id}")


@admin.register(Subscription)
class SubscriptionAdmin(ReadOnlyAdmin):
    list_display = ("started_at", "owner", "plan", "status", "current_period_end", "cancel_at_period_end")
    list_filter = ("status", "cancel_at_period_end")
    list_select_related = ("account", "price__plan")
    search_fields = ("account__email", "account__name", "=stripe_subscription_id")
    ordering = ("-started_at",)
    owner = link_to("account")

    @admin.display(description=_("plan"))
    def plan(self, row: Subscription) -> str:
        return str(row.price.plan)


@admin.register(InboxEvent)
class InboxEventAdmin(ReadOnlyAdmin):
    list_display = ("received_at", "type", "object_id", "state", "attempts", "short_error", "event_id")
    list_filter = ("state", "type")
    search_fields = ("=event_id", "=object_id", "=customer_id", "type")
    ordering = ("-received_at", "-pk")
    readonly_fields = ("body",)
    fields = (
        ("event_id", "type"), ("object_id", "customer_id"), ("state", "attempts"), "error",
        ("created_at", "received_at"), ("processed_at", "next_attempt_at"), "body",
    )  # fmt: skip
    actions = ["replay"]
    actions_detail = ["replay_one"]

    def has_replay_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        return request.user.has_perm("billing.change_inboxevent")

    @action(description=_("Replay"), url_path="replay", permissions=["replay"])
    def replay_one(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask, then run this one again."""
        row = get_object_or_404(InboxEvent, pk=object_id)
        address = reverse("admin:billing_inboxevent_change", args=[row.pk])
        if request.method != "POST":
            title = _("Replay %(type)s") % {"type": row.type}
            return confirmation(request, self.admin_site, title, str(REPLAY), back=address)
        self._replay(request, row)
        return redirect(address)

    @admin.display(description=_("error"))
    def short_error(self, row: InboxEvent) -> str:
        return row.error[:80]

    @admin.display(description=_("payload"))
    def body(self, row: InboxEvent) -> SafeString:
        return format_html("<pre>{}</pre>", json.dumps(row.payload, indent=2))

    def get_actions(self, request: HttpRequest) -> Any:
        actions = super().get_actions(request)
        if not request.user.has_perm("billing.change_inboxevent"):
            actions.pop("replay", None)
        return actions

    @admin.action(description=_("Replay the selected webhooks now"))
    def replay(self, request: HttpRequest, chosen: QuerySet[InboxEvent]) -> None:
        """Run them again, and say what became of each: after it ran, not before."""
        if len(chosen) > MAX_REPLAYED:
            self.message_user(request, _("Choose at most %d at a time.") % MAX_REPLAYED, messages.ERROR)
            return
        for row in chosen:
            self._replay(request, row)

    def _replay(self, request: HttpRequest, row: InboxEvent) -> None:
        state = inbox.replay(event_id=row.event_id, now=clock.now())
        self.log_change(request, row, f"Replayed: {state}.")
        row.refresh_from_db()
        is_well = row.state in (InboxEvent.State.PROCESSED, InboxEvent.State.IGNORED)
        level = messages.SUCCESS if is_well else messages.ERROR
        self.message_user(request, f"{row.type} {row.event_id}: {row.get_state_display()}. {row.error}", level)


@admin.register(Clawback)
class ClawbackAdmin(ReadOnlyAdmin):
    list_display = ("updated_at", "owner", "cause", "grant_source_key", "target", "taken", "owed")
    list_filter = ("cause", "updated_at")
    list_select_related = ("account",)
    search_fields = ("account__email", "account__name", "=charge_id", "=grant_source_key")
    ordering = ("-updated_at", "-pk")
    owner = link_to("account")


@admin.register(KnownDifference)
class KnownDifferenceAdmin(ReadOnlyAdmin):
    list_display = ("found_at", "kind", "object_id", "owner", "problem", "settled_at", "reason", "actor")
    list_filter = (("settled_at", admin.EmptyFieldListFilter), "kind")
    list_select_related = ("account",)
    search_fields = ("=object_id", "account__email", "account__name", "reason")
    ordering = ("-found_at", "-pk")
    owner = link_to("account")


@admin.register(PaymentRecord)
class PaymentRecordAdmin(ReadOnlyAdmin):
    list_display = ("paid_at", "owner", "origin_id", "total", "refunded", "disputed", "standing")
    list_filter = ("paid_at", "is_lost", "currency")
    list_select_related = ("account",)
    search_fields = ("=origin_id", "account__email", "account__name")
    ordering = ("-paid_at", "-pk")
    owner = link_to("account")

    @admin.display(description=_("total"))
    def total(self, row: PaymentRecord) -> str:
        return money(row.total_minor, row.currency)

    @admin.display(description=_("refunded"))
    def refunded(self, row: PaymentRecord) -> str:
        return money(row.refunded_minor, row.currency) if row.refunded_minor else "–"

    @admin.display(description=_("disputed"))
    def disputed(self, row: PaymentRecord) -> str:
        return money(row.disputed_minor, row.currency) if row.disputed_minor else "–"

    @admin.display(description=_("state"))
    def standing(self, row: PaymentRecord) -> str:
        return str(row.state.label)
