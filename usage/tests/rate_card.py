"""Putting features on the rate card."""

from datetime import UTC, datetime
from typing import Any

from usage import rate_card
from usage.models import Feature

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def put_on_the_card(code: str, **price: Any) -> Feature:
    """A feature, and what it costs since long ago."""
    feature = Feature.objects.create(code=code, name=code.capitalize())
    rate_card.set_price(feature=feature, effective_from=LONG_AGO, now=LONG_AGO, **price)
    return feature
