"""The customer's pages: who is it, one or two calls of the rooms below, a template."""

import uuid
from datetime import datetime
from typing import cast

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.utils.formats import date_format
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from accounts import clock, opening
from accounts import keys as api_keys
from accounts.models import Account, User
from accounts.public_ids import MalformedIdError, parse_id, public_id
from billing import catalogue, mirror, plan_changes, promotions
from billing.models import Order, TopUp
from credits import selectors
from portal import periods
from portal.charts import BarChart, bar_chart
from usage import events

LATEST = 8
INVOICES = 24


@require_GET
def home(request: HttpRequest) -> HttpResponse:
    """What this is, for somebody who comes by; the dashboard for a customer."""
    if request.user.is_authenticated:
        return redirect("dashboard")
    return render(request, "portal/home.html", _offers())


@require_GET
def pricing(request: HttpRequest) -> HttpResponse:
    return render(request, "portal/pricing.html", _offers())


@require_GET
@login_required
def dashboard(request: HttpRequest) -> HttpResponse:
    """What is left, what it is made of, and what happened last."""
    account, now = own_account(request), clock.now()
    return render(
        request,
        "portal/dashboard.html",
        {
            "account": account,
            "balance": selectors.balance(account_id=account.pk, now=now),
            "subscription": plan_changes.find_running(account),
            "default_plan": catalogue.default_plan(),
            "latest": selectors.transactions(account.pk)[:LATEST],
            "chart": _month(account, now=now),
            "has_key": api_keys.working_keys(account, now=now).exists(),
            "base_url": settings.BASE_URL,
        },
    )


@require_GET
@login_required
def credits(request: HttpRequest) -> HttpResponse:
    """What is left, lot by lot, and what can be bought."""
    account, now = own_account(request), clock.now()
    return render(
        request,
        "portal/credits.html",
        {
            "balance": selectors.balance(account_id=account.pk, now=now),
            "grants": selectors.open_grants(account.pk),
            "subscription": plan_changes.find_running(account),
            "left_order": _left_order(request),
            # One key a page: two clicks on it, or on two of its tabs, are one purchase of one thing.
            "purchase_key": uuid.uuid4().hex,
            "has_card_form": bool(settings.STRIPE_PUBLISHABLE_KEY),
            "payment_providers": settings.PAYMENT_PROVIDERS,
            "top_up": TopUp.objects.filter(account=account).select_related("price__pack").first(),
            **_offers(account),
        },
    )


@require_GET
@login_required
def billing(request: HttpRequest) -> HttpResponse:
    """The plan, the purchases, the invoices, and the way to the billing portal."""
    account = own_account(request)
    return render(
        request,
        "portal/billing.html",
        {
            "subscription": plan_changes.find_running(account),
            "default_plan": catalogue.default_plan(),
            "orders": Order.objects.filter(account=account).order_by("-id")[:INVOICES],
            "invoices": mirror.invoices_of(account.pk, limit=INVOICES),
            "has_customer": bool(mirror.customer_of_account(account.pk)),
        },
    )


@never_cache
@require_GET
@login_required
def header_balance(request: HttpRequest) -> HttpResponse:
    """The balance in the header, asked for again when it has changed."""
    return render(request, "portal/parts/header_balance.html")


def own_account(request: HttpRequest) -> Account:
    return opening.personal_account(user=cast(User, request.user), now=clock.now())


def _offers(account: Account | None = None) -> dict[str, object]:
    """What is for sale, with the promotion that this customer gets on each pack."""
    now, packs = clock.now(), list(catalogue.packs())
    for pack in packs:
        pack.offer = promotions.offered(account=account, pack=pack, quantity=1, now=now)  # type: ignore[attr-defined]
    return {"plans": catalogue.plans(), "packs": packs}


def _left_order(request: HttpRequest) -> str:
    """The checkout that the customer comes back from, if the address names one."""
    named = request.GET.get("left", "")
    try:
        return public_id("co", parse_id("co", named))
    except MalformedIdError:
        return ""


def _month(account: Account, *, now: datetime) -> BarChart:
    """What was spent on each of the last thirty days."""
    period = periods.chosen(QueryDict(), account, now=now)
    rows = events.summary(
        account_id=account.pk, since=period.since, until=period.until, zone=period.zone, group_by=("day",)
    )
    spent = {row.day: row.credits - row.returned for row in rows}
    return bar_chart([(date_format(day, "j M"), spent.get(day, 0)) for day in period.dates])
