"""The ledger's signals to the packages above it: once for each crossing, after the commit.

All carry `account_id` and `now`.
"""

from django.dispatch import Signal

# `credits`: those that are left, held ones included.
balance_low = Signal()  # the credits went from above the account's threshold to it or below
balance_exhausted = Signal()  # the last credit went
# `use`: a spending_limits.LimitUse, of a key or member that went past one of WARN_AT in its day or month.
spending_limit_crossed = Signal()
