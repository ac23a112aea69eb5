"""The API's side of outgoing webhooks: endpoints, their secrets, what was delivered, and sending it again."""

from datetime import datetime

from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.errors import SellerOnlyError
from accounts.models import Account, Scope
from api.authentication import account_of, caller_of
from api.fields import ACCOUNT_PARAMETER, AccountField, PrintableField, TextField, checked, identifier_of, timestamp
from api.pagination import PAGE_PARAMETERS, InvalidCursorError, list_of, listing, page
from api.schema import refuses
from api.serializers import Serializer
from common import clock
from common.errors import FieldProblem, InvalidRequestError, NotFoundError
from common.json_types import JsonObject
from common.sides import Side
from outbox import safe_http, webhooks
from outbox.models import WebhookDelivery, WebhookEndpoint


class EndpointRequest(Serializer):
    url = TextField(max_length=safe_http.LONGEST_URL, help_text="https, on the public internet.")
    events = serializers.ListField(
        child=serializers.ChoiceField(choices=webhooks.EVENTS), required=False, default=list, help_text="Empty: all."
    )
    description = PrintableField(max_length=120, required=False, allow_blank=True, default="")
    account = AccountField(help_text="With a service key: events of this account only; of all accounts, if not given.")


class EndpointChange(Serializer):
    is_on = serializers.BooleanField(help_text="Listen again, after it was switched off; or no longer.")


class EndpointSerializer(Serializer):
    id = serializers.CharField()
    account = serializers.CharField(allow_null=True)
    url = serializers.CharField()
    events = serializers.ListField(child=serializers.CharField())
    description = serializers.CharField()
    is_on = serializers.BooleanField()
    off_why = serializers.CharField(help_text="Why it was switched off, if it was.")
    failing_since = serializers.DateTimeField(allow_null=True)
    created = serializers.DateTimeField()


class NewEndpointSerializer(EndpointSerializer):
    secret = serializers.CharField(help_text="What messages are signed with; told this once.")


class SecretSerializer(Serializer):
    secret = serializers.CharField(help_text="The old one signs as well, for 24 hours.")


class DeliverySerializer(Serializer):
    id = serializers.CharField()
    event = serializers.CharField(help_text="The id of the message: what `webhook-id` said.")
    type = serializers.CharField()
    state = serializers.ChoiceField(choices=["delivered", "waiting", "failed"])
    attempts = serializers.IntegerField()
    status_code = serializers.IntegerField(allow_null=True)
    answer = serializers.CharField(help_text="The beginning of what it said, or why nobody was reached.")
    duration_ms = serializers.IntegerField(allow_null=True)
    next_attempt_at = serializers.DateTimeField(allow_null=True)
    delivered_at = serializers.DateTimeField(allow_null=True)
    created = serializers.DateTimeField()


class EndpointsView(APIView):
    required_scope = Scope.BILLING_WRITE

    @extend_schema(
        operation_id="list_webhook_endpoints", parameters=[ACCOUNT_PARAMETER], responses=list_of(EndpointSerializer)
    )
    def get(self, request: Request) -> Response:
        """The endpoints of the account; with a service key that names none, those for the events of all accounts."""
        rows = WebhookEndpoint.objects.filter(account=_owner(request, now=clock.now())).select_related("account")
        return Response(listing([endpoint_data(row) for row in rows.order_by("-id")], ""))

    @refuses(webhooks.TooManyEndpointsError)
    @extend_schema(
        operation_id="create_webhook_endpoint", request=EndpointRequest, responses={201: NewEndpointSerializer}
    )
    def post(self, request: Request) -> Response:
        """Send events to an address. Its secret is in this answer and nowhere else."""
        fields, now = checked(EndpointRequest, request.data), clock.now()
        try:
            created, secret = webhooks.create_endpoint(
                account=_owner(request, now=now),
                url=fields["url"],
                events=fields["events"],
                description=fields["description"],
                actor=caller_of(request).actor,
                now=now,
            )
        except safe_http.UnsafeUrlError as error:
            raise InvalidRequestError(FieldProblem(pointer="/url", code="unsafe", detail=str(error))) from error
        return Response({**endpoint_data(created), "secret": secret}, status=201, headers={"Cache-Control": "no-store"})


class EndpointView(APIView):
    required_scope = Scope.BILLING_WRITE

    @extend_schema(
        operation_id="change_webhook_endpoint",
        parameters=[ACCOUNT_PARAMETER],
        request=EndpointChange,
        responses=EndpointSerializer,
    )
    def patch(self, request: Request, endpoint_id: str) -> Response:
        """Switch an endpoint on again, or off."""
        now = clock.now()
        row, is_on = _endpoint(request, endpoint_id, now=now), checked(EndpointChange, request.data)["is_on"]
        if is_on:
            webhooks.switch_on(row, now=now)
        else:
            webhooks.switch_off(row, "You switched it off.", now=now)
        return Response(endpoint_data(row))

    @extend_schema(operation_id="delete_webhook_endpoint", parameters=[ACCOUNT_PARAMETER], responses={204: None})
    def delete(self, request: Request, endpoint_id: str) -> Response:
        """Send an address nothing more, and forget what it was sent."""
        _endpoint(request, endpoint_id, now=clock.now()).delete()
        return Response(status=204)


class SecretView(APIView):
    required_scope = Scope.BILLING_WRITE

    @extend_schema(
        operation_id="rotate_webhook_secret",
        parameters=[ACCOUNT_PARAMETER],
        request=None,
        responses={201: SecretSerializer},
    )
    def post(self, request: Request, endpoint_id: str) -> Response:
        """A new secret. For 24 hours each message is signed with both."""
        now = clock.now()
        secret = webhooks.rotate_secret(_endpoint(request, endpoint_id, now=now), now=now)
        return Response({"secret": secret}, status=201, headers={"Cache-Control": "no-store"})


class TestView(APIView):
    required_scope = Scope.BILLING_WRITE

    @refuses(webhooks.TooManyAttemptsError)
    @extend_schema(
        operation_id="test_webhook_endpoint",
        parameters=[ACCOUNT_PARAMETER],
        request=None,
        responses={201: DeliverySerializer},
    )
    def post(self, request: Request, endpoint_id: str) -> Response:
        """Send a test event; look among the deliveries how it went."""
        now = clock.now()
        return Response(
            delivery_data(webhooks.send_test(_endpoint(request, endpoint_id, now=now), now=now)), status=201
        )


class DeliveriesView(APIView):
    required_scope = Scope.BILLING_WRITE

    @refuses(InvalidCursorError)
    @extend_schema(
        operation_id="list_webhook_deliveries", parameters=PAGE_PARAMETERS, responses=list_of(DeliverySerializer)
    )
    def get(self, request: Request, endpoint_id: str) -> Response:
        """What was sent, or is about to be, latest first."""
        row = _endpoint(request, endpoint_id, now=clock.now())
        rows, following = page(request, row.deliveries.select_related("event").order_by("-id"), "dlv")
        return Response(listing([delivery_data(each) for each in rows], following))


class ResendView(APIView):
    required_scope = Scope.BILLING_WRITE

    @refuses(webhooks.TooManyAttemptsError)
    @extend_schema(
        operation_id="replay_webhook_delivery",
        parameters=[ACCOUNT_PARAMETER],
        request=None,
        responses={202: DeliverySerializer},
    )
    def post(self, request: Request, endpoint_id: str, delivery_id: str) -> Response:
        """Send it once more."""
        now = clock.now()
        rows = _endpoint(request, endpoint_id, now=now).deliveries.select_related("event")
        result = rows.filter(pk=identifier_of("dlv", delivery_id, "delivery")).first()
        if result is None:
            raise NotFoundError("There is no such delivery.")
        webhooks.resend(result, now=now)
        result.refresh_from_db()
        return Response(delivery_data(result), status=202)


def endpoint_data(row: WebhookEndpoint) -> JsonObject:
    """What the API says of an endpoint."""
    return {
        "id": row.public_id,
        "account": row.account.public_id if row.account else None,
        "url": row.url,
        "events": row.events,
        "description": row.description,
        "is_on": row.disabled_at is None,
        "off_why": row.disabled_why,
        "failing_since": timestamp(row.failing_since) if row.failing_since else None,
        "created": timestamp(row.created_at),
    }


def delivery_data(row: WebhookDelivery) -> JsonObject:
    """What the API says of a delivery."""
    return {
        "id": row.public_id,
        "event": row.event.public_id,
        "type": row.event.name,
        "state": row.state,
        "attempts": row.attempts,
        "status_code": row.status_code,
        "answer": row.answer,
        "duration_ms": row.duration_ms,
        "next_attempt_at": timestamp(row.next_attempt_at) if row.next_attempt_at else None,
        "delivered_at": timestamp(row.delivered_at) if row.delivered_at else None,
        "created": timestamp(row.created_at),
    }


def _owner(request: Request, *, now: datetime) -> Account | None:
    """Whose endpoints: the account's, or (a service key that names none) the app's own."""
    body = request.data if isinstance(request.data, dict) else {}
    is_named = body.get("account") or request.query_params.get("account")
    caller = caller_of(request)
    if caller.account is None and not is_named:
        if caller.side != Side.SELLER:
            raise SellerOnlyError
        return None
    return account_of(request, now=now)


def _endpoint(request: Request, endpoint_id: str, *, now: datetime) -> WebhookEndpoint:
    rows = WebhookEndpoint.objects.filter(account=_owner(request, now=now)).select_related("account")
    result = rows.filter(pk=identifier_of("whk", endpoint_id, "endpoint")).first()
    if result is None:
        raise NotFoundError("There is no such endpoint.")
    return result


urlpatterns = [
    path("webhook-endpoints", EndpointsView.as_view()),
    path("webhook-endpoints/<str:endpoint_id>", EndpointView.as_view()),
    path("webhook-endpoints/<str:endpoint_id>/secret", SecretView.as_view()),
    path("webhook-endpoints/<str:endpoint_id>/test", TestView.as_view()),
    path("webhook-endpoints/<str:endpoint_id>/deliveries", DeliveriesView.as_view()),
    path("webhook-endpoints/<str:endpoint_id>/deliveries/<str:delivery_id>/replay", ResendView.as_view()),
]
