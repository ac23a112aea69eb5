"""`/version`: which release answers."""

from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from api.serializers import Serializer
from common.version import VERSION


class VersionSerializer(Serializer):
    version = serializers.CharField(help_text="Of the product, by Semantic Versioning.")
    api = serializers.CharField(help_text="Of the API: within it, changes only add.")


class VersionView(APIView):
    authentication_classes = []
    permission_classes = []

    @extend_schema(operation_id="get_version", responses=VersionSerializer)
    def get(self, request: Request) -> Response:
        """Which release answers. Anybody may know."""
        return Response({"version": VERSION, "api": "v1"})


urlpatterns = [
    path("version", VersionView.as_view()),
]
