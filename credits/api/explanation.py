"""`/credits/explain`: why a balance is what it is, lot by lot."""

from django.urls import path
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import Scope
from api.authentication import account_of
from api.fields import ACCOUNT_PARAMETER, AccountField, MomentField, checked, timestamp
from api.serializers import Serializer
from common import clock
from credits import explanations


class LotStorySerializer(Serializer):
    grant = serializers.CharField()
    source = serializers.CharField()  # type: ignore[assignment]  # the field hides an argument of DRF's
    granted = serializers.IntegerField()
    spent = serializers.IntegerField()
    returned = serializers.IntegerField()
    expired = serializers.IntegerField()
    taken_back = serializers.IntegerField(help_text="With the money, by an operator, or for a debt.")
    held = serializers.IntegerField()
    remaining = serializers.IntegerField()
    expires_at = serializers.DateTimeField(allow_null=True)


class ExplanationSerializer(Serializer):
    at = serializers.DateTimeField()
    available = serializers.IntegerField(help_text="The sum of what remains of the lots.")
    held = serializers.IntegerField()
    posted = serializers.IntegerField()
    debt = serializers.IntegerField()
    lots = LotStorySerializer(many=True)


class ExplainRequest(Serializer):
    at = MomentField(required=False, help_text="A moment of the past; now, if not given.")
    account = AccountField()


class ExplainView(APIView):
    required_scope = Scope.CREDITS_READ

    @extend_schema(
        operation_id="explain_balance",
        parameters=[ACCOUNT_PARAMETER, OpenApiParameter("at", str, description="A moment of the past (ISO 8601).")],
        responses=ExplanationSerializer,
    )
    def get(self, request: Request) -> Response:
        """Why the balance is what it is, or was: lot by lot, what came, what went, what is left."""
        now = clock.now()
        fields = checked(ExplainRequest, request.query_params.dict())
        reported = explanations.explain_balance(
            account_id=account_of(request, now=now).pk, now=now, at=fields.get("at")
        )
        return Response(
            {
                "at": timestamp(reported.at),
                "available": reported.available,
                "held": reported.held,
                "posted": reported.posted,
                "debt": reported.debt,
                "lots": [
                    {
                        "grant": lot.grant.public_id,
                        "source": lot.grant.source,
                        "granted": lot.granted,
                        "spent": lot.spent,
                        "returned": lot.returned,
                        "expired": lot.expired,
                        "taken_back": lot.taken_back,
                        "held": lot.held,
                        "remaining": lot.remaining,
                        "expires_at": timestamp(lot.grant.expires_at) if lot.grant.expires_at else None,
                    }
                    for lot in reported.lots
                ],
            }
        )


urlpatterns = [
    path("credits/explain", ExplainView.as_view()),
]
