"""The ledger's signals to the packages above it: once for each crossing, after the commit.

Both carry `account_id`, `credits` (those that are left, held ones included) and `now`.
"""

from django.dispatch import Signal

balance_low = Signal()  # the credits went from above the account's threshold to it or below
balance_exhausted = Signal()  # the last credit went
