"""One page per account: who it is, what it has, what is wrong and how to solve it, and everything that happened."""

import uuid
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db import connection
from django.db.models import QuerySet
from django.http import FileResponse, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.functional import cached_property
from django.utils.translation import gettext_lazy as _
from unfold.admin import TabularInline

from accounts.models import Account, ApiKey, Membership, User
from api.fields import EARLIEST
from api.fields import LATEST as LATEST_MOMENT
from billing.customers import billing_profile, personal_data
from billing.models import Order, Subscription
from billing.stripe import djstripe_store
from billing.subscriptions import plan_changes
from common import charts, clock
from common.admin import ReadOnlyAdmin
from common.json_types import JsonObject
from console import account_problems, audit_log, operation_views, search, timeline
from credits import audit, explanations, selectors
from credits.models import Grant

LATEST = 20
EXPORT_FOR = timedelta(minutes=10)  # how long a file that was asked for can be fetched
# Above so many rows a list says about how many there are, and does not count them for each page.
COUNTED = 10_000


class EstimatingPaginator(Paginator):  # type: ignore[type-arg]  # generic for the type checker only
    """Counts a narrowed list; of a whole table it believes PostgreSQL's own estimate."""

    @cached_property
    def count(self) -> int:
        rows: Any = self.object_list
        if not rows.query.where:
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT reltuples::bigint FROM pg_class WHERE oid = %s::regclass", [rows.model._meta.db_table]
                )
                (estimate,) = cursor.fetchone()
            if estimate > COUNTED:
                return int(estimate)
        return int(rows.count())


class MemberInline(TabularInline):
    model = Membership
    fields = ("user", "role", "created_at")
    readonly_fields = fields
    extra = 0
    can_delete = False
    verbose_name_plural = _("members")

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).select_related("user", "account")

    def has_add_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False


@admin.register(Account)
class AccountAdmin(ReadOnlyAdmin):
    list_display = ("public_id", "name", "email", "kind", "credits", "created_at", "closed_at")
    list_filter = ("kind", "created_at", ("closed_at", admin.EmptyFieldListFilter))
    list_select_related = ("wallet",)
    list_per_page = 50
    paginator = EstimatingPaginator
    search_fields = ("email",)  # what is searched: console.search
    search_help_text = _(
        "E-mail, name, your own user id, an API key's beginning; acc_ txn_ co_ key_ …; cus_ sub_ pi_ in_ …"
    )
    ordering = ("-id",)
    fields = (("public_id", "kind"), ("name", "email"), ("time_zone", "language"), ("created_at", "closed_at"))
    readonly_fields = ("public_id",)
    inlines = [MemberInline]
    change_form_template = "console/customer.html"

    @admin.display(description=_("credits"), ordering="wallet__balance")
    def credits(self, row: Account) -> int:
        return row.wallet.balance if hasattr(row, "wallet") else 0

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Account], search_term: str
    ) -> tuple[QuerySet[Account], bool]:
        return (search.accounts(queryset, search_term) if search_term.strip() else queryset), False

    def get_urls(self) -> list[URLPattern]:
        def at(route: str, view: Any, name: str) -> URLPattern:
            result: URLPattern = path(route, self.admin_site.admin_view(view), name=f"accounts_account_{name}")
            return result

        return [
            at("<uuid:account_id>/do/<slug:code>/", self.operate, "do"),
            at("<uuid:account_id>/explain/", self.explain, "explain"),
            at("<uuid:account_id>/export/", self.export, "export"),
            *super().get_urls(),
        ]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: JsonObject | None = None
    ) -> HttpResponse:
        account = self.get_object(request, object_id)
        known = self._all_about(request, account) if account is not None else {}
        answer: HttpResponse = super().change_view(request, object_id, form_url, (extra_context or {}) | known)
        return answer

    def operate(self, request: HttpRequest, account_id: uuid.UUID, code: str) -> HttpResponse:
        """One operation on this account."""
        return operation_views.operate(request, self._seen(request, account_id), code, self.admin_site)

    def explain(self, request: HttpRequest, account_id: uuid.UUID) -> HttpResponse:
        """Why is the balance what it is, now or at a moment; and does the ledger agree with itself?"""
        account, now = self._seen(request, account_id), clock.now()
        at = _moment(request.GET.get("at", ""), account.time_zone)
        reported = explanations.explain_balance(account_id=account.pk, now=now, at=at)
        shown = {
            **self.admin_site.each_context(request),
            "title": _("Why is the balance this?"),
            "account": account,
            "told": reported,
            "at": reported.at.astimezone(ZoneInfo(account.time_zone)).strftime("%Y-%m-%dT%H:%M"),
            "wallet": selectors.settled_wallet(account_id=account.pk, now=now),
            "drift": list(audit.all_disagreements(account_id=account.pk)),
            "is_past": at is not None,
        }
        return TemplateResponse(request, "console/explain.html", shown)

    def export(self, request: HttpRequest, account_id: uuid.UUID) -> FileResponse:
        """Everything that is kept of the account, as the customer could take it along: for who asked for it just now.

        An address alone opens nothing: the operation `export` wants a reason, and is on the audit log.
        """
        account, now = self._seen(request, account_id), clock.now()
        requested = audit_log.find(request.GET.get("asked", ""))
        if not (
            request.user.has_perm("console.export_person")
            and requested is not None
            and (requested.action, requested.operator_id, requested.account_id)
            == ("export", request.user.pk, account.pk)
            and now <= requested.at + EXPORT_FOR
        ):
            raise PermissionDenied
        users = User.objects.filter(memberships__account=account)
        file = personal_data.archive(account, users)
        return FileResponse(file, as_attachment=True, filename=f"{account.public_id}.zip")

    def _seen(self, request: HttpRequest, account_id: uuid.UUID) -> Account:
        if not self.has_view_permission(request):
            raise PermissionDenied
        return get_object_or_404(Account, pk=account_id)

    def _all_about(self, request: HttpRequest, account: Account) -> JsonObject:
        now = clock.now()
        balance = selectors.balance(account_id=account.pk, now=now)
        grants = list(selectors.open_grants(account.pk)[:LATEST])
        kinds = request.GET.getlist("kind")
        assert isinstance(request.user, User)  # noqa: S101 - behind admin_view
        return {
            "account": account,
            "balance": balance,
            "grants": [(grant, _left(grant)) for grant in grants],
            "plan": plan_changes.find_running(account),
            "subscriptions": Subscription.objects.filter(account=account).select_related("price__plan")[:LATEST],
            "orders": Order.objects.filter(account=account).order_by("-id")[:LATEST],
            "keys": ApiKey.objects.filter(account=account).order_by("-created_at")[:LATEST],
            "card": billing_profile.saved_card(account),
            "customer_id": djstripe_store.customer_of_account(account.pk),
            "problems": account_problems.find_problems(account, now=now),
            "undoable": operation_views.undoable(request.user, account, now=now),
            "operations": operation_views.offered(request.user, account),
            "moments": timeline.timeline(account, kinds=kinds),
            "kinds": [(kind, label, kind in kinds) for kind, label in timeline.KINDS.items()],
            "names": account.external_identities.all()[:LATEST],
        }


def _left(grant: Grant) -> charts.Part:
    """What is left of a grant, as a part of a bar."""
    return charts.meter([("left", grant.remaining), ("used", grant.amount - grant.remaining)])[0]


def _moment(text: str, zone: str) -> datetime | None:
    """A moment as a form sends it, in the account's own zone; none for what is none, or of another century."""
    try:
        moment = datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone))
        is_sane = EARLIEST <= moment < LATEST_MOMENT
    except (ValueError, OverflowError):
        return None
    return moment if is_sane else None
