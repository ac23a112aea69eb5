"""Your addresses, then ours."""

from django.urls import include, path

from config.urls import handler404, handler500
from examples.django_app import views

__all__ = ["handler404", "handler500"]

urlpatterns = [path("ask", views.ask, name="ask"), path("", include("config.urls"))]
