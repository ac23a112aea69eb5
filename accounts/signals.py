"""Signals for the packages above. Sent inside the transaction of the change itself."""

from django.dispatch import Signal

# account: Account, now: datetime, is_proven: bool. The receiver's failure undoes the opening of the account. It is
# proven unless somebody only claims the address that it is of.
account_opened = Signal()
# account: Account, now: datetime. What an account was opened with is proven now.
account_proven = Signal()
# invitation: Invitation, now: datetime. Somebody is to be mailed a place in a team.
member_invited = Signal()
# key: ApiKey, follows: ApiKey | None (the one that it was rotated from), now: datetime. An account has a new key.
key_created = Signal()
