"""Every address there is."""

from django.conf import settings
from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import include, path
from django.views import defaults
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

from accounts import api as accounts_api
from billing import api as billing_api
from billing import mirror_api, orders_api, top_up_api
from config import api_errors, api_problems, api_schema
from console import dashboard
from credits import api as credits_api
from credits import explain_api, history_api
from outbox import api as outbox_api
from usage import api as usage_api
from usage import batch_api, events_api, holds_api

__all__ = ["api_schema"]  # registers itself with drf-spectacular

v1 = [
    path("auth/tokens", accounts_api.TokensView.as_view()),
    path("api-keys", accounts_api.ApiKeysView.as_view()),
    path("api-keys/<str:key_id>", accounts_api.ApiKeyView.as_view()),
    path("api-keys/<str:key_id>/rotate", accounts_api.RotateKeyView.as_view()),
    path("credits/balance", credits_api.BalanceView.as_view()),
    path("credits/spend", usage_api.SpendView.as_view()),
    path("credits/spend/batch", batch_api.SpendBatchView.as_view()),
    path("credits/check", usage_api.CheckView.as_view()),
    path("credits/holds", holds_api.HoldsView.as_view()),
    path("credits/holds/<str:hold_id>", holds_api.HoldView.as_view()),
    path("credits/holds/<str:hold_id>/capture", holds_api.CaptureView.as_view()),
    path("credits/holds/<str:hold_id>/extend", holds_api.ExtendView.as_view()),
    path("credits/holds/<str:hold_id>/release", holds_api.ReleaseView.as_view()),
    path("credits/explain", explain_api.ExplainView.as_view()),
    path("credits/grants", credits_api.GrantsView.as_view()),
    path("credits/transactions", history_api.TransactionsView.as_view()),
    path("credits/transactions/<str:transaction_id>", history_api.TransactionView.as_view()),
    path("credits/transactions/<str:transaction_id>/reverse", explain_api.ReverseView.as_view()),
    path("usage/events", events_api.UsageEventsView.as_view()),
    path("usage/summary", events_api.UsageSummaryView.as_view()),
    path("billing/catalogue", billing_api.CatalogueView.as_view()),
    path("billing/checkouts", billing_api.CheckoutsView.as_view()),
    path("billing/checkouts/<str:checkout_id>", billing_api.CheckoutView.as_view()),
    path("billing/orders", orders_api.OrdersView.as_view()),
    path("billing/top-up", top_up_api.TopUpView.as_view()),
    path("billing/portal-sessions", billing_api.PortalSessionsView.as_view()),
    path("billing/subscription", mirror_api.SubscriptionView.as_view()),
    path("billing/invoices", mirror_api.InvoicesView.as_view()),
    path("billing/sync-prices", billing_api.SyncPricesView.as_view()),
    path("webhook-endpoints", outbox_api.EndpointsView.as_view()),
    path("webhook-endpoints/<str:endpoint_id>", outbox_api.EndpointView.as_view()),
    path("webhook-endpoints/<str:endpoint_id>/secret", outbox_api.SecretView.as_view()),
    path("webhook-endpoints/<str:endpoint_id>/test", outbox_api.TestView.as_view()),
    path("webhook-endpoints/<str:endpoint_id>/deliveries", outbox_api.DeliveriesView.as_view()),
    path("webhook-endpoints/<str:endpoint_id>/deliveries/<str:delivery_id>/replay", outbox_api.ResendView.as_view()),
    path("schema", SpectacularAPIView.as_view(), name="schema"),
    path("docs", SpectacularSwaggerSplitView.as_view(url_name="schema"), name="api-docs"),
]

urlpatterns = [
    path("api/v1/", include(v1)),
    path("api/problems/<str:code>", api_problems.explain, name="problem"),
    path("api/webhooks/stripe", billing_api.stripe_webhook, name="stripe-webhook"),
    path("api/webhooks/identity/<str:name>", accounts_api.identity_webhook, name="identity-webhook"),
    path("api/webhooks/payconiq", billing_api.payconiq_callback, name="payconiq-callback"),
    *([path("api/", include("config.compat_urls"))] if settings.API_COMPAT_PATHS else []),
    path("admin/report.csv", admin.site.admin_view(dashboard.as_csv), name="report-csv"),
    path("admin/simulator/", admin.site.admin_view(dashboard.simulator(admin.site)), name="simulator"),
    path("admin/", admin.site.urls),
    path("accounts/", include("allauth.urls")),
    path("", include("portal.urls")),
]


def handler404(request: HttpRequest, exception: Exception) -> HttpResponse:
    if request.path.startswith("/api/"):
        return api_errors.not_found()
    return defaults.page_not_found(request, exception)


def handler500(request: HttpRequest) -> HttpResponse:
    if request.path.startswith("/api/"):
        return api_errors.server_error()
    return render(request, "500.html", {"request_id": api_errors.request_id()}, status=500)
