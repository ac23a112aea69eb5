"""Every address there is."""

from django.conf import settings
from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import include, path
from django.views import defaults

from api import identity_webhooks, keys, problem_codes, problems, tokens, version
from api.docs import DocsView, SchemaView
from billing.api import (
    accounts,
    catalogue,
    checkouts,
    customer_sessions,
    invoices,
    orders,
    portal_sessions,
    provider_webhooks,
    stream,
    subscription,
    top_up,
)  # fmt: skip
from console import dashboard
from credits.api import balance, explanation, grants, reversals, spending_limits, transactions
from outbox.api import webhook_endpoints
from usage.api import checks, holds, rate_card, spend_batches, spends, usage_events, usage_summary

# Each resource of the API has its addresses beside its views.
RESOURCES = [
    spends, balance, checks, holds, spend_batches, grants, transactions, reversals, explanation, spending_limits,
    usage_events, usage_summary, catalogue, checkouts, orders, top_up, portal_sessions, subscription, invoices, stream,
    webhook_endpoints, keys, tokens, accounts, customer_sessions, rate_card, version,
]  # fmt: skip

v1 = [
    *(address for resource in RESOURCES for address in resource.urlpatterns),
    path("schema", SchemaView.as_view(), name="schema"),
    path("docs", DocsView.as_view(url_name="schema"), name="api-docs"),
]

urlpatterns = [
    path("api/v1/", include(v1)),
    path("api/problems/<str:code>", problem_codes.explain, name="problem"),
    path("api/webhooks/stripe", provider_webhooks.stripe_webhook, name="stripe-webhook"),
    path("api/webhooks/identity/<str:name>", identity_webhooks.identity_webhook, name="identity-webhook"),
    path("api/webhooks/payconiq", provider_webhooks.payconiq_callback, name="payconiq-callback"),
    *([path("api/", include("config.compat_urls"))] if settings.API_COMPAT_PATHS else []),
    path("admin/report.csv", admin.site.admin_view(dashboard.as_csv), name="report-csv"),
    path("admin/simulator/", admin.site.admin_view(dashboard.simulator(admin.site)), name="simulator"),
    path("admin/", admin.site.urls),
    path("accounts/", include("allauth.urls")),
    path("", include("branding.urls")),
    path("", include("portal.urls")),
]


def handler404(request: HttpRequest, exception: Exception) -> HttpResponse:
    if request.path_info.startswith("/api/"):
        return problems.not_found()
    return defaults.page_not_found(request, exception)


def handler500(request: HttpRequest) -> HttpResponse:
    if request.path_info.startswith("/api/"):
        return problems.server_error()
    return render(request, "500.html", {"request_id": problems.request_id()}, status=500)
