"""The customer's addresses."""

from django.urls import path

from portal import buying, close_account, data_export, example_ai, history, keys, plans, preferences, usage, views

urlpatterns = [
    path("", views.home, name="home"),
    path("pricing", views.pricing, name="pricing"),
    path("dashboard", views.dashboard, name="dashboard"),
    path("credits", views.credits, name="credits"),
    path("credits/why", history.why, name="why"),
    path("transactions", history.transactions, name="transactions"),
    path("usage", usage.usage, name="usage"),
    path("example-ai", example_ai.example_ai, name="example-ai"),
    path("settings", preferences.preferences, name="settings"),
    path("settings/close", close_account.close_account, name="close-account"),
    path("settings/export", data_export.download, name="export"),
    path("buy", buying.buy, name="buy"),
    path("billing", views.billing, name="billing"),
    path("billing/portal", buying.billing_portal, name="billing-portal"),
    path("billing/checkout/<str:checkout_id>", buying.checkout_status, name="checkout"),
    path("billing/checkout/<str:checkout_id>/pay", buying.card_form, name="card-form"),
    path("billing/checkout/<str:checkout_id>/qr", buying.qr_page, name="checkout-qr"),
    path("billing/qr/<str:signed>.svg", buying.qr_code, name="qr-code"),
    path("billing/plan", plans.change_plan, name="change-plan"),
    path("billing/plan/cancel", plans.cancel_plan, name="cancel-plan"),
    path("billing/plan/resume", plans.resume_plan, name="resume-plan"),
    path("billing/top-up", plans.top_up, name="top-up"),
    path("keys", keys.keys, name="keys"),
    path("keys/<str:key_id>/rotate", keys.rotate_key, name="rotate-key"),
    path("keys/<str:key_id>/revoke", keys.revoke_key, name="revoke-key"),
    path("balance", views.header_balance, name="header-balance"),
]
