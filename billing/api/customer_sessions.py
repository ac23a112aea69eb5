"""`/customer-sessions`: a link that lets a user of the seller's app into the hosted pages."""

from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts import customer_sessions
from accounts.errors import AccountClosedError, AccountHasLoginError, SellerOnlyError
from accounts.models import Scope
from api.authentication import account_of
from api.fields import AccountField, PrintableField, checked, timestamp
from api.schema import refuses
from api.serializers import Serializer
from billing.checkout.purchases import check_return_url
from billing.errors import ForeignUrlError
from common import clock

LONGEST_URL = 2_000


class CustomerSessionRequest(Serializer):
    account = AccountField(required=True)
    page = serializers.ChoiceField(
        choices=sorted(customer_sessions.PAGES), default="overview", help_text="Where the link leads."
    )
    return_url = PrintableField(
        required=False, default="", allow_blank=True, max_length=LONGEST_URL,
        help_text="Where the pages lead back to: your app, on one of its addresses.",
    )  # fmt: skip


class CustomerSessionSerializer(Serializer):
    url = serializers.CharField(help_text="Send the customer's browser there. It opens once.")
    expires_at = serializers.DateTimeField(help_text="Until when it opens: fifteen minutes. The visit lasts an hour.")


class CustomerSessionsView(APIView):
    required_scope = Scope.BILLING_WRITE
    is_seller_only = True

    @refuses(AccountHasLoginError, AccountClosedError, ForeignUrlError, SellerOnlyError)
    @extend_schema(
        operation_id="create_customer_session",
        request=CustomerSessionRequest,
        responses={201: CustomerSessionSerializer},
    )
    def post(self, request: Request) -> Response:
        """A link into the pages of a user who has no login here: balance, purchases, plan, usage, invoices."""
        fields, now = checked(CustomerSessionRequest, request.data), clock.now()
        check_return_url("return_url", fields["return_url"])
        link = customer_sessions.create_link(
            account_of(request, now=now), page=fields["page"], return_url=fields["return_url"], now=now
        )
        made = {"url": link.url, "expires_at": timestamp(link.expires_at)}
        return Response(made, status=201, headers={"Cache-Control": "no-store"})


urlpatterns = [
    path("customer-sessions", CustomerSessionsView.as_view()),
]
