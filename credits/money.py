"""Money as whole minor units of a currency. Never a float."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Money:
    """`minor` units (cents) of an ISO 4217 `currency` in lower case, as Stripe writes it."""

    minor: int
    currency: str

    def __post_init__(self) -> None:
        if self.minor < 0 or bool(self.currency) < bool(self.minor):
            raise ValueError(f"not a price: {self.minor} {self.currency!r}")


FREE = Money(0, "")
