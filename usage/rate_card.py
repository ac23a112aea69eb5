"""What a use costs.

Each process keeps the rate card for RATE_CARD_MAX_AGE_S. That is exact all the same: a price takes effect no sooner
than NOTICE after it is written (`set_price`), and by then every process has read it.
"""

import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings

from credits.errors import LARGEST_AMOUNT, CreditsError
from usage.models import Feature, FeaturePrice

NOTICE = timedelta(minutes=1)
TOKENS_PER_PRICE = 1_000


class UnknownFeatureError(CreditsError):
    code = "unknown_feature"
    title = "There is no such feature"
    status_code = 400

    def __init__(self, feature: str) -> None:
        detail = f"{feature!r} is not on the rate card."
        problem = {"pointer": "/feature", "code": self.code, "detail": detail}
        super().__init__(detail, errors=[problem])


class TooManyUnitsError(CreditsError):
    code = "invalid_request"
    title = "The request cannot be taken as it is"
    status_code = 400

    def __init__(self, quantity: int | None) -> None:
        detail = f"{quantity} of it cost more than {LARGEST_AMOUNT} credits."
        super().__init__(detail, errors=[{"pointer": "/quantity", "code": "too_many", "detail": detail}])


class TooSoonError(CreditsError):
    """A price that would take effect before every process has read it."""

    code = "price_too_soon"
    title = "A price takes effect a minute from now at the soonest"
    status_code = 400


@dataclass(frozen=True, kw_only=True)
class PricedWork:
    """What some work costs, and how many units of its feature it is."""

    credits: int
    quantity: int | None


@dataclass(frozen=True, kw_only=True)
class Rate:
    """One price of one feature."""

    basis: str
    credits: int
    output_credits: int
    effective_from: datetime
    is_on_offer: bool

    def price(self, quantity: int | None, usage: Mapping[str, Any]) -> PricedWork:
        """By the unit; or by the tokens that `usage` holds, else by `quantity` of the dearer kind."""
        if self.basis == FeaturePrice.Basis.UNIT:
            units = 1 if quantity is None else quantity
            return PricedWork(credits=self.credits * units, quantity=units)
        read, written = usage.get("input_tokens", 0), usage.get("output_tokens", 0)
        if read or written:
            thousandths = read * self.credits + written * self.output_credits
            tokens = read + written if quantity is None else quantity
        else:
            tokens = 1 if quantity is None else quantity
            thousandths = tokens * max(self.credits, self.output_credits)
        return PricedWork(credits=max(1, -(-thousandths // TOKENS_PER_PRICE)), quantity=tokens)


Card = Mapping[tuple[str, str], list[Rate]]  # by feature and AI model; the latest price first


class _Kept:
    """The rate card as this process read it last."""

    card: Card = {}
    names: Mapping[str, str] = {}
    read_at: float | None = None


def price(
    *, feature: str, quantity: int | None, usage: Mapping[str, Any], at: datetime, allow_retired: bool = False
) -> PricedWork:
    """What `quantity` units, or the tokens in `usage`, cost at that moment.

    The price of the AI model that `usage` names comes first, then the feature's own. With `allow_retired`, work is
    priced even if its feature was taken off the card meanwhile. Raises UnknownFeatureError or TooManyUnitsError.
    """
    model = usage.get("model", "")
    rate = _rate(_card(), feature, model, at) or _rate(_card(force_refresh=True), feature, model, at)
    if rate is None or not (rate.is_on_offer or allow_retired):
        raise UnknownFeatureError(feature)
    result = rate.price(quantity, usage)
    if result.credits > LARGEST_AMOUNT or (result.quantity or 0) > LARGEST_AMOUNT:
        raise TooManyUnitsError(result.quantity)
    return result


@dataclass(frozen=True, kw_only=True)
class PricedModel:
    """What a feature costs now, for one AI model, or (None) for every other."""

    model: str | None
    basis: str
    credits: int
    output_credits: int


@dataclass(frozen=True, kw_only=True)
class PricedFeature:
    """A feature on offer, and its prices."""

    code: str
    name: str
    unit: str
    prices: list[PricedModel]


def on_offer(*, now: datetime) -> list[PricedFeature]:
    """Every feature that can be spent on, with what it costs at that moment."""
    card = _card()
    result = []
    for feature in Feature.objects.filter(is_active=True).order_by("code"):
        models = sorted(model for code, model in card if code == feature.code)
        rates = [(model, _rate(card, feature.code, model, now)) for model in models]
        prices = [
            PricedModel(model=model or None, basis=rate.basis, credits=rate.credits, output_credits=rate.output_credits)
            for model, rate in rates
            if rate is not None
        ]
        if prices:
            result.append(PricedFeature(code=feature.code, name=feature.name, unit=feature.unit, prices=prices))
    return result


def name_of(feature: str) -> str:
    """What a feature is called on pages; its code, if it is on no card."""
    _card()
    return _Kept.names.get(feature, feature)


def set_price(
    *,
    feature: Feature,
    credits: int,
    effective_from: datetime,
    now: datetime,
    model: str = "",
    basis: str = FeaturePrice.Basis.UNIT,
    output_credits: int | None = None,
) -> FeaturePrice:
    """Write down what a feature costs from a moment on. Raises TooSoonError, except for a feature without any price."""
    if effective_from < now + NOTICE and feature.prices.exists():
        raise TooSoonError(
            f"Every server has read a price after {NOTICE.seconds} seconds: let it begin then, or later."
        )
    created = FeaturePrice.objects.create(
        feature=feature,
        model=model,
        basis=basis,
        credits=credits,
        output_credits=output_credits,
        effective_from=effective_from,
    )
    clear_cache()
    return created


def clear_cache() -> None:
    """Have this process read the rate card again."""
    _Kept.read_at = None


def _rate(card: Card, feature: str, model: str, at: datetime) -> Rate | None:
    for of_model in (model, "") if model else ("",):
        for rate in card.get((feature, of_model), ()):
            if rate.effective_from <= at:
                return rate
    return None


def _card(*, force_refresh: bool = False) -> Card:
    moment = time.monotonic()
    if force_refresh or _Kept.read_at is None or moment - _Kept.read_at > settings.RATE_CARD_MAX_AGE_S:
        card: dict[tuple[str, str], list[Rate]] = defaultdict(list)
        names: dict[str, str] = {}
        for row in FeaturePrice.objects.order_by("-effective_from").select_related("feature"):
            names[row.feature.code] = row.feature.name
            card[row.feature.code, row.model].append(
                Rate(
                    basis=row.basis,
                    credits=row.credits,
                    output_credits=row.credits if row.output_credits is None else row.output_credits,
                    effective_from=row.effective_from,
                    is_on_offer=row.feature.is_active,
                )
            )
        _Kept.card, _Kept.names, _Kept.read_at = dict(card), names, moment
    return _Kept.card
