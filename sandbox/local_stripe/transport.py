"""The local Stripe in this very process, behind the official client: for tests."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import stripe

from sandbox.local_stripe.core import LocalStripe, encoded_json
from sandbox.local_stripe.faults import NoAnswerError


class InProcessClient(stripe.HTTPClient):
    """Answers the official client's calls from a LocalStripe, without a network."""

    name = "in-process"

    def __init__(self, local: LocalStripe) -> None:
        super().__init__()
        self._local = local

    def request(
        self, method: str, url: str, headers: Mapping[str, str] | None, post_data: Any = None, **_usage: object
    ) -> tuple[str, int, Mapping[str, str]]:
        parts = urlsplit(url)
        lower = {name.lower(): value for name, value in (headers or {}).items()}
        encoded = post_data if method.upper() == "POST" else parts.query
        try:
            answer = self._local.request(method.upper(), parts.path, encoded or "", lower)
        except NoAnswerError as error:
            raise stripe.APIConnectionError("The connection ended without an answer.", should_retry=True) from error
        return encoded_json(answer.body), answer.status, answer.headers

    def close(self) -> None:
        """Nothing is open."""
