"""Addresses of the brand's files."""

from django.urls import path

from branding import views

urlpatterns = [
    path("brand/<int:version>/colours.css", views.colours, name="brand-colours"),
    path("brand/<int:version>/<str:name>", views.image, name="brand-image"),
]
