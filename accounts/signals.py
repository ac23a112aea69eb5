"""What the rooms above may want to hear. Sent inside the transaction of the change itself."""

from django.dispatch import Signal

# account: Account, now: datetime. The receiver's failure undoes the opening of the account.
account_opened = Signal()
# invitation: Invitation, now: datetime. Somebody is to be told of a place in a team.
member_invited = Signal()
# key: ApiKey, now: datetime. An account has a new key, and its owner is to know.
key_created = Signal()
