"""What a use costs."""

from credits.errors import LARGEST_AMOUNT, CreditsError
from usage.models import Feature


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

    def __init__(self, quantity: int, rate: int) -> None:
        detail = f"{quantity} at {rate} credits each cost more than {LARGEST_AMOUNT} credits."
        super().__init__(detail, errors=[{"pointer": "/quantity", "code": "too_many", "detail": detail}])


def cost(*, feature: str, quantity: int) -> int:
    """The credits that `quantity` units cost. Raises UnknownFeatureError or TooManyUnitsError."""
    rate = Feature.objects.filter(code=feature, is_active=True).values_list("credits", flat=True).first()
    if rate is None:
        raise UnknownFeatureError(feature)
    if rate * quantity > LARGEST_AMOUNT:
        raise TooManyUnitsError(quantity, rate)
    return rate * quantity
