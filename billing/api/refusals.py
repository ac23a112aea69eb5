"""What every operation may refuse that asks a payment provider."""

from api.problems import Refusing
from billing.errors import PaymentProviderRefusedError, PaymentProviderUnavailableError

BUYING: list[Refusing] = [PaymentProviderUnavailableError, PaymentProviderRefusedError]
