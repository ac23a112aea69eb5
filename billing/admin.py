"""What is for sale, what was bought, and the webhooks. Prices are Stripe's; credits are set here."""

import json
from typing import Any, cast

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.contrib.admin import AdminSite
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from unfold.admin import TabularInline
from unfold.decorators import action

from accounts.models import User
from billing.catalogue import price_sync
from billing.errors import BillingError
from billing.models import (
    Clawback,
    InboxEvent,
    KnownDifference,
    Order,
    Pack,
    PaymentRecord,
    Plan,
    Price,
    Promotion,
    Subscription,
    TopUp,
)
from billing.webhooks import inbox
from common import clock
from common.admin import OperatorAdmin, ReadOnlyAdmin, link_to, money
from common.json_types import JsonObject

MAX_TOLD = 20
# A replay asks Stripe for each event; more at once would outlast the request.
MAX_REPLAYED = 50


SYNC = _(
    "Products and prices are read from Stripe. New ones appear here, changed prices change, and what is archived there "
    "is taken off sale. How many credits each gives stays as it is set here."
)
REPLAY = _(
    "What the webhook is about is fetched from Stripe as it is now, and acted on. What was given for it before is not "
    "given again."
)


def _confirmation(request: HttpRequest, site: AdminSite, title: str, explanation: str, *, back: str) -> HttpResponse:
    """Ask before an action of an address is done: a GET changes nothing, the form that this shows does."""
    shown = {**site.each_context(request), "title": title, "button": title, "explanation": explanation, "back": back}
    return TemplateResponse(request, "billing/confirm.html", shown)


class PriceInline(TabularInline):
    """Stripe's prices, to look at: they are changed in Stripe and synced."""

    model = Price
    fields = ("amount", "interval", "is_active", "stripe_price_id")
    readonly_fields = ("amount", "interval", "is_active", "stripe_price_id")
    extra = 0
    can_delete = False

    @admin.display(description=_("amount"))
    def amount(self, row: Price) -> str:
        return money(row.amount_minor, row.currency)

    def has_add_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False


class GiftForm(forms.ModelForm):  # type: ignore[type-arg]  # generic for the type checker only
    """What is given for nothing, to everybody: more of it than one person may give takes an administrator."""

    operator: Any = None
    gifts = ("daily_credits", "trial_credits", "bonus_credits")

    def clean(self) -> JsonObject:
        result: JsonObject = super().clean() or {}
        gifts = [*self.gifts]
        if isinstance(self.instance, Plan) and not (self.instance.pk and self.instance.prices.exists()):
            gifts.append("monthly_credits")
        most = settings.APPROVAL_ABOVE_CREDITS
        for name in set(gifts) & set(self.changed_data):
            if (result.get(name) or 0) > most and not getattr(self.operator, "is_superuser", False):
                self.add_error(name, _("More than %d credits for nothing: an administrator sets this.") % most)
        return result


class GiftAdmin(OperatorAdmin):
    form = GiftForm
    tells_values = True

    def get_form(self, request: HttpRequest, obj: object = None, change: bool = False, **named: Any) -> Any:
        form = super().get_form(request, obj, change=change, **named)
        form.operator = request.user  # (a class made for this request)
        return form


class SoldAdmin(GiftAdmin):
    """A plan or a pack: taken off sale rather than deleted."""

    inlines = [PriceInline]
    list_filter = ("is_active",)
    search_fields = ("code", "name", "stripe_product_id")
    ordering = ("position",)
    readonly_fields = ("stripe_product_id",)
    actions_list = ["sync_prices"]

    def has_sync_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        return request.user.has_perm("billing.change_price")

    @action(description=_("Sync with Stripe"), url_path="sync", permissions=["sync"])
    def sync_prices(self, request: HttpRequest) -> HttpResponse:
        """Ask, then pull products and prices, and say what changed."""
        address = reverse(f"admin:billing_{self.opts.model_name}_changelist")
        if request.method != "POST":
            return _confirmation(request, self.admin_site, str(_("Sync with Stripe")), str(SYNC), back=address)
        back = redirect(address)
        try:
            changes = price_sync.pull()
        except BillingError as error:
            self.message_user(request, str(error), messages.ERROR)
            return back
        LogEntry.objects.create(
            user=cast(User, request.user),
            content_type=ContentType.objects.get_for_model(self.model),
            object_repr="Catalogue",
            action_flag=CHANGE,
            change_message=f"Synced with Stripe: {len(changes)} changes.",
        )
        for line in changes[:MAX_TOLD]:
            self.message_user(request, line, messages.SUCCESS)
        if not changes:
            self.message_user(request, _("Everything is as Stripe has it already."), messages.INFO)
        elif len(changes) > MAX_TOLD:
            more = len(changes) - MAX_TOLD
            self.message_user(request, _("And %d more changes.") % more, messages.INFO)
        return back

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False

    @admin.display(description=_("prices"))
    def prices(self, row: Plan | Pack) -> str:
        shown = [f"{money(price.amount_minor, price.currency)} {price.interval}" for price in row.prices.all()]
        return ", ".join(shown) or "–"

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).prefetch_related("prices")


@admin.register(Plan)
class PlanAdmin(SoldAdmin):
    list_display = (
        "name", "code", "monthly_credits", "daily_credits", "rollover", "daily_cap", "seats", "prices",
        "is_default", "is_active",
    )  # fmt: skip


@admin.register(Pack)
class PackAdmin(SoldAdmin):
    list_display = ("name", "code", "credits", "bonus_credits", "prices", "is_active")


@admin.register(Promotion)
class PromotionAdmin(GiftAdmin):
    list_display = (
        "name",
        "code",
        "pack",
        "bonus_credits",
        "is_first_purchase",
        "starts_at",
        "ends_at",
        "used",
        "is_active",
    )
    list_filter = ("is_active", "is_first_purchase")
    list_select_related = ("pack",)
    search_fields = ("code", "name")
    ordering = ("-pk",)

    def get_queryset(self, request: HttpRequest) -> Any:
        completed = Count("orders", filter=Q(orders__status=Order.Status.COMPLETED))
        return super().get_queryset(request).annotate(completed_orders=completed)

    @admin.display(description=_("paid orders"), ordering="completed_orders")
    def used(self, row: Any) -> str:
        return f"{row.completed_orders} / {row.max_uses}" if row.max_uses else str(row.completed_orders)

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False


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
        return money(row.amount_minor, row.currency)

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
            return _confirmation(request, self.admin_site, title, str(REPLAY), back=address)
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
