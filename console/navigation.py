"""The sidebar, by task rather than by app."""

from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse_lazy
from django.utils.translation import gettext_lazy as _

from common.json_types import JsonObject
from console.models import Approval
from outbox.models import Alert


def sidebar(request: HttpRequest) -> list[JsonObject]:
    """What unfold shows; an entry whose model the user may not see is left out."""
    return [
        _group(
            _("Business"),
            _page(request, _("Dashboard"), "monitoring", "admin:index"),
            _page(request, _("Pricing simulator"), "calculate", "simulator", "console.see_reports"),
            _entry(
                request, _("Alerts"), "notifications", "outbox", "alert", waiting=Alert.objects.filter(resolved_at=None)
            ),
            _entry(
                request,
                _("Approvals"),
                "how_to_reg",
                "console",
                "approval",
                waiting=Approval.objects.filter(state=Approval.State.PENDING),
            ),
        ),
        _group(
            _("Customers"),
            _entry(request, _("Accounts"), "groups", "accounts", "account"),
            _entry(request, _("Users"), "person", "accounts", "user"),
            _entry(request, _("API keys"), "key", "accounts", "apikey"),
            _entry(request, _("App addresses"), "language", "accounts", "apporigin"),
        ),
        _group(
            _("Credits"),
            _entry(request, _("Ledger"), "receipt_long", "credits", "transaction"),
            _entry(request, _("Grants"), "toll", "credits", "grant"),
            _entry(request, _("Bulk grants"), "playlist_add", "console", "bulkgrant"),
            _entry(request, _("Holds"), "lock_clock", "credits", "hold"),
            _entry(request, _("Allowances"), "event_repeat", "credits", "allowance"),
        ),
        _group(
            _("Money"),
            _entry(request, _("Orders"), "shopping_cart", "billing", "order"),
            _entry(request, _("Subscriptions"), "autorenew", "billing", "subscription"),
            _entry(request, _("Payments"), "payments", "billing", "paymentrecord"),
            _entry(request, _("Money back"), "undo", "billing", "clawback"),
            _entry(request, _("Differences from Stripe"), "difference", "billing", "knowndifference"),
            _entry(request, _("Top-ups"), "add_card", "billing", "topup"),
        ),
        _group(
            _("What happens"),
            _entry(request, _("Brand"), "palette", "branding", "brand"),
            _entry(request, _("Audit log"), "policy", "console", "auditevent"),
            _entry(request, _("When to alert"), "tune", "console", "alertthreshold"),
            _entry(request, _("Webhooks in"), "webhook", "billing", "inboxevent"),
            _entry(request, _("Events out"), "outbox", "outbox", "outboxevent"),
            _entry(request, _("Webhook endpoints"), "podcasts", "outbox", "webhookendpoint"),
            _entry(request, _("Webhooks out"), "send", "outbox", "webhookdelivery"),
        ),
        _group(
            _("Catalogue"),
            _entry(request, _("Plans"), "loyalty", "billing", "plan"),
            _entry(request, _("Packs"), "inventory_2", "billing", "pack"),
            _entry(request, _("Promotions"), "redeem", "billing", "promotion"),
            _entry(request, _("Discount codes"), "percent", "billing", "discountcode"),
            _entry(request, _("Moves to a new price"), "moving", "billing", "pricemove"),
            _entry(request, _("Rate card"), "price_change", "usage", "feature"),
        ),
        _group(
            _("As Stripe has it"),
            _entry(request, _("Customers"), "person", "djstripe", "customer"),
            _entry(request, _("Products"), "inventory_2", "djstripe", "product"),
            _entry(request, _("Prices"), "sell", "djstripe", "price"),
            _entry(request, _("Checkout sessions"), "shopping_cart", "djstripe", "session"),
            _entry(request, _("Subscriptions"), "autorenew", "djstripe", "subscription"),
            _entry(request, _("Invoices"), "description", "djstripe", "invoice"),
            collapsible=True,
        ),
    ]


def _group(title: Any, *entries: JsonObject | None, collapsible: bool = False) -> JsonObject:
    return {
        "title": title,
        "separator": True,
        "collapsible": collapsible,
        "items": [entry for entry in entries if entry is not None],
    }


def _page(request: HttpRequest, title: Any, icon: str, name: str, permission: str = "") -> JsonObject | None:
    if permission and not request.user.has_perm(permission):
        return None
    return {"title": title, "icon": icon, "link": reverse_lazy(name)}


def _entry(
    request: HttpRequest, title: Any, icon: str, app: str, model: str, *, waiting: QuerySet[Any] | None = None
) -> JsonObject | None:
    if not request.user.has_perm(f"{app}.view_{model}"):
        return None
    link = reverse_lazy(f"admin:{app}_{model}_changelist")
    entry = {"title": title, "icon": icon, "link": link}
    if waiting is not None and (count := waiting.count()):
        entry["badge"] = str(count)
    return entry
