"""Which kind of answer: JSON for everybody who does not ask for something else."""

from collections.abc import Iterable
from typing import Any

from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request

USUAL = {"", "*/*", "application/json"}


class UsualFirstNegotiation(DefaultContentNegotiation):
    """As DRF's own, which is asked only where there is something to choose."""

    def select_renderer(
        self, request: Request, renderers: Iterable[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        if request.META.get("HTTP_ACCEPT", "") in USUAL and "format" not in request.META.get("QUERY_STRING", ""):
            usual = next(iter(renderers))
            return usual, usual.media_type
        result: Any = super().select_renderer(request, renderers, format_suffix)
        chosen: tuple[BaseRenderer, str] = result
        return chosen
