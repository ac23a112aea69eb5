"""`/rate-card`: what each feature costs."""

from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from api.pagination import list_of, listing
from api.serializers import Serializer
from common import clock
from usage import rate_card
from usage.models import FeaturePrice


class RateSerializer(Serializer):
    model = serializers.CharField(allow_null=True, help_text="For this AI model; null for every other.")
    basis = serializers.ChoiceField(choices=FeaturePrice.Basis.choices)
    credits = serializers.IntegerField(help_text="Per unit, or per 1,000 tokens.")
    output_credits = serializers.IntegerField(help_text="Per 1,000 tokens of output.")


class FeatureSerializer(Serializer):
    code = serializers.CharField(help_text="What spends name it by.")
    name = serializers.CharField()
    unit = serializers.CharField()
    prices = RateSerializer(many=True)


class RateCardView(APIView):
    authentication_classes = []
    permission_classes = []

    @extend_schema(operation_id="get_rate_card", responses=list_of(FeatureSerializer))
    def get(self, request: Request) -> Response:
        """What one use of each feature costs now. Anybody may know."""
        return Response(listing(FeatureSerializer(rate_card.on_offer(now=clock.now()), many=True).data, ""))


urlpatterns = [
    path("rate-card", RateCardView.as_view()),
]
