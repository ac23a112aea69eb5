"""The customer's pages: who is it, one or two calls of the packages below, a template."""

from datetime import datetime
from typing import cast

from allauth.account.models import EmailAddress
from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, QueryDict, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.utils.formats import date_format
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from accounts import keys as api_keys
from accounts import teams
from accounts.models import Account, Invitation, User
from billing import live_states
from billing.catalogue import price_list
from billing.customers import billing_profile
from billing.models import Order, TopUp
from billing.payments import payment_records
from billing.stripe import djstripe_store
from billing.subscriptions import invoice_retry, plan_changes
from common import charts, clock, live_streams
from common.json_types import JsonObject
from common.public_ids import MalformedIdError, parse_id, public_id
from credits import selectors
from portal import offers
from portal.current_account import admins_only, current_account, current_balance
from usage import periods, usage_summary

LATEST = 8
INVOICES = 24


@require_GET
def home(request: HttpRequest) -> HttpResponse:
    """What this is, for somebody who comes by; the dashboard for a customer."""
    if request.user.is_authenticated:
        return redirect("dashboard")
    return render(request, "portal/home.html", offers.shown(request))


@require_GET
def pricing(request: HttpRequest) -> HttpResponse:
    """What is for sale; somebody who is signed in sees what is so for them."""
    account = current_account(request) if request.user.is_authenticated else None
    return render(request, "portal/pricing.html", {"has_tax": settings.STRIPE_TAX, **offers.shown(request, account)})


@require_GET
@login_required
def dashboard(request: HttpRequest) -> HttpResponse:
    """What is left, what it is made of, what comes and what goes next, and what happened last."""
    account, now = current_account(request), clock.now()
    balance = current_balance(request)
    latest = list(selectors.transactions(account.pk)[:LATEST])
    subscription = plan_changes.find_running(account)
    has_key = api_keys.working_keys(account, now=now).exists()
    has_spent = selectors.has_spent(account.pk)
    return render(
        request,
        "portal/dashboard.html",
        {
            "account": account,
            "now": now,
            "balance": balance,
            "meter": charts.meter([(bucket.kind, bucket.remaining) for bucket in balance.buckets]),
            "expiring": selectors.next_to_expire(account.pk),
            "subscription": subscription,
            "open_invoice": invoice_retry.open_invoice_of(subscription),
            "default_plan": price_list.default_plan(),
            "latest": latest,
            "invitations": _invitations(request, now=now),
            "has_key": has_key,
            "has_spent": has_spent,
            "is_new": not has_spent,
            "base_url": settings.BASE_URL,
            **_month(account, now=now),
        },
    )


@require_GET
@login_required
def credits(request: HttpRequest) -> HttpResponse:
    """What is left, lot by lot, and what can be bought."""
    account = current_account(request)
    return render(
        request,
        "portal/credits.html",
        {
            "balance": current_balance(request),
            "left_order": _left_order(request),
            "has_card_form": bool(settings.STRIPE_PUBLISHABLE_KEY),
            "payment_providers": settings.PAYMENT_PROVIDERS,
            "is_taxed": settings.STRIPE_TAX,
            "has_saved_card": bool(djstripe_store.saved_card(account.pk)),
            "top_up": TopUp.objects.filter(account=account).select_related("price__pack").first(),
            **offers.shown(request, account),
        },
    )


@require_GET
@admins_only
def billing(request: HttpRequest) -> HttpResponse:
    """The plan, how it is paid, what stands on the invoices, and what was bought."""
    account = current_account(request)
    orders = list(
        Order.objects.filter(account=account)
        .bought()
        .select_related("price__plan", "price__pack")
        .order_by("-id")[:INVOICES]
    )
    invoices = djstripe_store.invoices_of(account.pk, limit=INVOICES)
    subscription = plan_changes.find_running(account)
    known = payment_records.for_origins([order.origin_id for order in orders] + [row["id"] for row in invoices])
    return render(
        request,
        "portal/billing.html",
        {
            "account": account,
            "subscription": subscription,
            "open_invoice": invoice_retry.open_invoice_of(subscription),
            "default_plan": price_list.default_plan(),
            "orders": [(order, known.get(order.origin_id)) for order in orders],
            "invoices": [(row, known.get(row["id"])) for row in invoices],
            "has_customer": bool(djstripe_store.customer_of_account(account.pk)),
            "card": billing_profile.saved_card(account),
            "details": billing_profile.stored_address(account),
        },
    )


@require_GET
def live(request: HttpRequest) -> HttpResponse | StreamingHttpResponse:
    """What the open page listens to: that the balance or a payment has changed (portal/static/portal/live.js).

    Whoever has signed out meanwhile gets 204 and asks no more: sent to a form, the browser would get a new CSRF cookie
    for it, and the one that they are filling in would be refused.
    """
    if not request.user.is_authenticated:
        return HttpResponse(status=204)
    return live_streams.answer(request, str(current_account(request).pk), live_states.states)


@never_cache
@require_GET
@login_required
def header_balance(request: HttpRequest) -> HttpResponse:
    """The balance in the header, asked for again when it has changed."""
    return render(request, "portal/parts/header_balance.html")


def _left_order(request: HttpRequest) -> str:
    """The checkout that the customer comes back from, if the address names one."""
    named = request.GET.get("left", "")
    try:
        return public_id("co", parse_id("co", named))
    except MalformedIdError:
        return ""


def _month(account: Account, *, now: datetime) -> JsonObject:
    """What was spent on each of the last thirty days."""
    period = periods.chosen(QueryDict(), account.time_zone, now=now)
    rows = usage_summary.summarize(
        account_id=account.pk, since=period.since, until=period.until, zone=period.zone, group_by=("day",)
    )
    used = {row.day: row for row in rows}
    days = [(day, used.get(day, usage_summary.UsageTotals())) for day in period.dates]
    spent = [(date_format(day, "MONTH_DAY_FORMAT"), each.credits - each.returned) for day, each in days]
    return {"days": days, "chart": charts.bar_chart(spent), "spent": sum(value for _, value in spent)}


def _invitations(request: HttpRequest, *, now: datetime) -> list[tuple[Invitation, str]]:
    """Teams that ask the user in, by an address that is proven to be theirs."""
    user = cast(User, request.user)
    if not EmailAddress.objects.filter(user=user, email=user.email, verified=True).exists():
        return []
    result = Invitation.objects.filter(email=user.email, ended_at=None, expires_at__gt=now, account__closed_at=None)
    return [(row, teams.link_of(row.public_id)) for row in result.select_related("account")]
