"""How many people may share an account: what its plan says."""

from accounts.models import Account
from billing.catalogue import price_list
from billing.subscriptions import plan_changes


def seat_limit(account: Account) -> int:
    """The seats of the account's plan, or of the one that everybody has."""
    running = plan_changes.find_running(account)
    plan = running.price.plan if running else price_list.default_plan()
    return plan.seats if plan else 1
