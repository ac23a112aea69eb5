"""How the payment of an order stands, whoever took the money."""

import enum
from dataclasses import dataclass


class PaymentStatus(enum.StrEnum):
    OPEN = "open"  # nobody has paid yet
    PROCESSING = "processing"  # the bank has yet to answer
    PAID = "paid"
    FAILED = "failed"
    EXPIRED = "expired"


@dataclass(frozen=True, kw_only=True)
class Payment:
    """One payment at a provider. Amounts are in minor units of `currency`.

    `listed_minor` is what the price list says; what was paid is that less the discount, and tax where it comes on top.
    `source_key` names the grant that it pays for, once and for all.
    """

    source_key: str
    status: PaymentStatus
    currency: str
    listed_minor: int
    total_minor: int
    discount_minor: int = 0
    tax_minor: int = 0
    receipt_url: str = ""
    card: str = ""  # the fingerprint of the card that paid, where there is one
