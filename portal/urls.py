"""The customer's addresses."""

from django.urls import path

from portal import views

urlpatterns = [
    path("", views.home, name="home"),
    path("pricing", views.pricing, name="pricing"),
    path("dashboard", views.dashboard, name="dashboard"),
    path("credits", views.credits, name="credits"),
    path("transactions", views.transactions, name="transactions"),
    path("buy", views.buy, name="buy"),
    path("billing", views.billing, name="billing"),
    path("billing/portal", views.billing_portal, name="billing-portal"),
    path("billing/checkout/<str:checkout_id>", views.checkout_status, name="checkout"),
    path("keys", views.keys, name="keys"),
    path("keys/<str:key_id>/revoke", views.revoke_key, name="revoke-key"),
    path("balance", views.header_balance, name="header-balance"),
]
