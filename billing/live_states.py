"""What listeners receive of an account: its balance, and the payments that are on their way."""

import uuid
from collections.abc import Collection, Mapping
from datetime import timedelta

from billing.models import Order
from common import clock
from common.json_types import JsonObject
from common.public_ids import public_id
from credits import selectors

LATEST = timedelta(days=1)


def states(account_ids: Collection[str]) -> Mapping[str, JsonObject]:
    """The state of each of these accounts, with the payments begun in a day, in two queries for all of them."""
    wanted = {uuid.UUID(account_id) for account_id in account_ids}
    wallets = selectors.wallet_states(wanted)
    latest = Order.objects.filter(account_id__in=wanted, created_at__gte=clock.now() - LATEST).order_by("-id")
    orders: dict[uuid.UUID, list[JsonObject]] = {}
    for order in latest.only("id", "account_id", "status"):
        orders.setdefault(order.account_id, []).append({"id": order.public_id, "status": order.status})
    return {
        str(account_id): {
            "account": public_id("acc", account_id),
            **wallets.get(account_id, selectors.EMPTY_WALLET),
            "orders": orders.get(account_id, []),
        }
        for account_id in wanted
    }
