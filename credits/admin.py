"""The ledger, to look at. Nothing here can be added, changed or deleted by hand."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from common.admin import ReadOnlyAdmin, link_to, money
from common.public_ids import MalformedIdError, parse_id
from credits import selectors
from credits.models import Allowance, Grant, Hold, SpendingLimit, Transaction

ACCOUNT_SEARCH = ("account__email", "account__name")


@admin.register(Transaction)
class TransactionAdmin(ReadOnlyAdmin):
    list_display = ("created_at", "public_id", "owner", "kind", "amount", "balance_after", "feature", "description")
    list_filter = ("kind", "created_at")
    list_select_related = ("account",)
    search_fields = (*ACCOUNT_SEARCH, "=idempotency_key", "description")
    ordering = ("-id",)
    fields = (
        ("public_id", "owner"), ("kind", "created_at"), ("amount", "balance_after"), "drawn_on", "feature", "quantity",
        "description", "metadata", "actor", "idempotency_key",
    )  # fmt: skip
    readonly_fields = ("public_id", "owner", "drawn_on")
    owner = link_to("account")

    @admin.display(description=_("grants"))
    def drawn_on(self, row: Transaction) -> SafeString:
        entries = [(entry.amount, entry.grant) for entry in selectors.entries(row.pk)]
        return format_html_join("", "<p>{}: {}</p>", ((f"{amount:+d}", grant) for amount, grant in entries))

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> Any:
        """A transaction's own id finds just that one."""
        if result := _by_public_id(queryset, "txn", search_term):
            return result, False
        return super().get_search_results(request, queryset, search_term)


@admin.register(SpendingLimit)
class SpendingLimitAdmin(ReadOnlyAdmin):
    list_display = ("subject", "owner", "per_day", "day_used", "per_month", "month_used", "is_hard")
    list_filter = ("is_hard",)
    list_select_related = ("account",)
    search_fields = (*ACCOUNT_SEARCH, "subject")
    ordering = ("-id",)
    fields = (
        ("subject", "owner"), "actors", ("per_day", "day_used", "day_ends_at"),
        ("per_month", "month_used", "month_ends_at"), "is_hard",
    )  # fmt: skip
    readonly_fields = ("owner",)
    owner = link_to("account")


@admin.register(Grant)
class GrantAdmin(ReadOnlyAdmin):
    list_display = ("effective_at", "public_id", "owner", "source", "amount", "remaining", "expires_at", "price")
    list_filter = ("source", "is_open", "effective_at")
    list_select_related = ("account",)
    search_fields = (*ACCOUNT_SEARCH, "=source_key")
    ordering = ("-id",)
    fields = (
        ("public_id", "owner"), ("source", "source_key"), ("amount", "remaining"), ("effective_at", "expires_at"),
        "priority", "price", "allowance",
    )  # fmt: skip
    readonly_fields = ("public_id", "owner", "price")
    owner = link_to("account")

    @admin.display(description=_("paid"))
    def price(self, row: Grant) -> str:
        return money(row.paid_minor, row.currency) if row.currency else "–"


@admin.register(Hold)
class HoldAdmin(ReadOnlyAdmin):
    list_display = ("created_at", "public_id", "owner", "status", "amount", "captured", "feature", "expires_at")
    list_filter = ("status", "created_at")
    list_select_related = ("account",)
    search_fields = (*ACCOUNT_SEARCH, "=idempotency_key", "description")
    ordering = ("-id",)
    fields = (
        ("public_id", "owner"), ("status", "expires_at"), ("amount", "captured"), ("created_at", "ended_at"),
        "taken_from", "feature", "quantity", "description", "metadata", "actor", "idempotency_key",
    )  # fmt: skip
    readonly_fields = ("public_id", "owner", "taken_from")
    owner = link_to("account")

    @admin.display(description=_("grants"))
    def taken_from(self, row: Hold) -> SafeString:
        lots = row.lots.select_related("grant").order_by("place")
        reported = ((f"{lot.amount} ({lot.captured} captured)", lot.grant) for lot in lots)
        return format_html_join("", "<p>{}: {}</p>", reported)


@admin.register(Allowance)
class AllowanceAdmin(ReadOnlyAdmin):
    list_display = ("created_at", "owner", "source", "amount", "period", "next_at", "paid_until", "ended_at")
    list_filter = ("source", "period")
    list_select_related = ("account",)
    search_fields = (*ACCOUNT_SEARCH, "=source_key")
    ordering = ("-id",)
    owner = link_to("account")


def _by_public_id(rows: Any, prefix: str, text: str) -> Any:
    try:
        return rows.filter(pk=parse_id(prefix, text.strip()))
    except MalformedIdError:
        return None
