"""One page per account: what it has, what it did, what it bought, what Stripe told of it."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext_lazy as _
from unfold.admin import TabularInline

from accounts import clock
from accounts.admin_parts import ReadOnlyAdmin
from accounts.models import Account, ApiKey, Membership
from accounts.public_ids import MalformedIdError, parse_id
from billing import mirror
from billing.models import InboxEvent, Order, Subscription
from credits import selectors

LATEST = 20


class MemberInline(TabularInline):  # type: ignore[misc]
    model = Membership
    fields = ("user", "role", "created_at")
    readonly_fields = fields
    extra = 0
    can_delete = False
    verbose_name_plural = _("members")

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Account)
class AccountAdmin(ReadOnlyAdmin):
    list_display = ("public_id", "name", "email", "kind", "credits", "created_at")
    list_filter = ("kind", "created_at")
    list_select_related = ("wallet",)
    search_fields = ("email", "name", "=external_identities__subject", "=djstripe_customers__id", "=api_keys__prefix")
    search_help_text = _("E-mail, name, acc_…, your own user id, cus_…, or the start of an API key")
    ordering = ("-id",)
    fields = (("public_id", "kind"), ("name", "email"), ("time_zone", "created_at"))
    readonly_fields = ("public_id",)
    inlines = [MemberInline]
    change_form_after_template = "console/account.html"

    @admin.display(description=_("credits"), ordering="wallet__balance")
    def credits(self, row: Account) -> int:
        return row.wallet.balance if hasattr(row, "wallet") else 0

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Account], search_term: str
    ) -> tuple[QuerySet[Account], bool]:
        """An account's own id finds just that one."""
        try:
            return queryset.filter(pk=parse_id("acc", search_term.strip())), False
        except MalformedIdError:
            found: tuple[QuerySet[Account], bool] = super().get_search_results(request, queryset, search_term)
            return found

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        account = self.get_object(request, object_id)
        known = _all_about(account) if account is not None else {}
        answer: HttpResponse = super().change_view(request, object_id, form_url, (extra_context or {}) | known)
        return answer


def _all_about(account: Account) -> dict[str, Any]:
    customer_id = mirror.customer_of_account(account.pk)
    return {
        "balance": selectors.balance(account_id=account.pk, now=clock.now()),
        "open_grants": selectors.open_grants(account.pk),
        "latest": selectors.transactions(account.pk)[:LATEST],
        "orders": Order.objects.filter(account=account).order_by("-id")[:LATEST],
        "subscriptions": Subscription.objects.filter(account=account).select_related("price__plan"),
        "keys": ApiKey.objects.filter(account=account).order_by("-created_at"),
        "customer_id": customer_id,
        "webhooks": InboxEvent.objects.filter(customer_id=customer_id).order_by("-received_at", "-pk")[:LATEST]
        if customer_id
        else [],
    }
