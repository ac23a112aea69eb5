"""What a use costs."""

from credits.errors import CreditsError
from usage.models import Feature


class UnknownFeatureError(CreditsError):
    code = "unknown_feature"
    title = "There is no such feature"
    status_code = 400

    def __init__(self, feature: str) -> None:
        detail = f"{feature!r} is not on the rate card."
        problem = {"pointer": "/feature", "code": self.code, "detail": detail}
        super().__init__(detail, errors=[problem])


def cost(*, feature: str, quantity: int) -> int:
    """The credits that `quantity` units cost. Raises UnknownFeatureError for what is not on the rate card."""
    rate = Feature.objects.filter(code=feature, is_active=True).values_list("credits", flat=True).first()
    if rate is None:
        raise UnknownFeatureError(feature)
    return rate * quantity
