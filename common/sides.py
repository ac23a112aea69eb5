"""Who stands on which side of a charge: the buyer, whose credits are spent, or the seller, whose app spends them."""

from django.db import models
from django.utils.translation import gettext_lazy as _


class Side(models.TextChoices):
    """On whose behalf a request was made. Idempotency keys of different sides never meet."""

    BUYER = "buyer", _("Buyer")  # an account's own keys, sessions and tokens: read, buy and spend
    SELLER = "seller", _("Seller")  # service keys: may also lower or delay a charge
    INTERNAL = "internal", _("Internal")  # this application itself: no request can name such a key
