"""`/billing/portal-sessions`: links into Stripe's billing portal."""

from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import Scope
from api.authentication import account_of
from api.fields import ACCOUNT_PARAMETER, AccountField, TextField, checked
from api.schema import refuses
from api.serializers import Serializer
from billing.api.refusals import BUYING
from billing.checkout import purchases, rate_limit
from common import clock


class PortalSessionRequest(Serializer):
    return_url = TextField(max_length=2000, required=False, default="", help_text="Our billing page, if not given.")
    account = AccountField()


class PortalSessionSerializer(Serializer):
    url = serializers.CharField()


class PortalSessionsView(APIView):
    required_scope = Scope.BILLING_WRITE

    @refuses(*BUYING, purchases.NoCustomerError)
    @extend_schema(
        operation_id="create_portal_session",
        parameters=[ACCOUNT_PARAMETER],
        request=PortalSessionRequest,
        responses={201: PortalSessionSerializer},
    )
    def post(self, request: Request) -> Response:
        """A link to the provider's billing portal for the account; it works for some minutes."""
        fields = checked(PortalSessionRequest, request.data)
        account = account_of(request, now=clock.now())
        rate_limit.check(account)
        return Response({"url": purchases.portal_url(account=account, return_url=fields["return_url"])}, status=201)


urlpatterns = [
    path("billing/portal-sessions", PortalSessionsView.as_view()),
]
