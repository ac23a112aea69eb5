"""`/credits/stream`: an account's balance and payments, as they change."""

from typing import Any

from django.http import StreamingHttpResponse
from django.urls import path
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.views import APIView

from accounts.models import Scope
from api.authentication import account_of
from api.fields import ACCOUNT_PARAMETER
from billing import live_states
from common import clock, live_streams


class EventStreamRenderer(BaseRenderer):
    """Only named: the stream writes itself, and a refusal is JSON."""

    media_type = "text/event-stream"
    format = "sse"


class AnyNegotiation(DefaultContentNegotiation):
    """EventSource accepts text/event-stream alone: a refusal is JSON all the same."""

    def select_renderer(self, request: Request, renderers: Any, format_suffix: str | None = None) -> Any:
        return JSONRenderer(), JSONRenderer.media_type


class StreamView(APIView):
    required_scope = Scope.CREDITS_READ
    renderer_classes = [EventStreamRenderer]
    content_negotiation_class = AnyNegotiation

    @extend_schema(
        operation_id="stream_account",
        parameters=[ACCOUNT_PARAMETER],
        responses={
            (200, "text/event-stream"): OpenApiResponse(
                OpenApiTypes.OBJECT,
                description="`event: account`, with JSON: account, available, held, debt, low, frozen, changed (the "
                "latest transaction), and the orders of a day with their status. Sent at once and after each change; "
                "ends after five minutes.",
            )
        },
    )
    def get(self, request: Request) -> StreamingHttpResponse:
        """The balance and payments of an account as they change, as server-sent events."""
        account = account_of(request, now=clock.now())
        return live_streams.answer(request._request, str(account.pk), live_states.states)


urlpatterns = [
    path("credits/stream", StreamView.as_view()),
]
