"""Billing's receivers of the signals of the packages below."""

import uuid
from datetime import datetime

from accounts.models import Account, ApiKey, Invitation
from accounts.signals import account_opened, account_proven, key_created, member_invited
from billing.checkout import top_ups
from billing.notifications import domain_events, mails
from billing.subscriptions import free_plan
from credits.signals import balance_exhausted, balance_low, spending_limit_crossed
from credits.spending_limits import LimitUse
from outbox import dispatching


def connect() -> None:
    account_opened.connect(start_free_plan, dispatch_uid="billing.start_free_plan")
    account_proven.connect(start_proven_free_plan, dispatch_uid="billing.start_proven_free_plan")
    member_invited.connect(tell_invited, dispatch_uid="billing.tell_invited")
    key_created.connect(tell_owner_of_key, dispatch_uid="billing.tell_owner_of_key")
    balance_low.connect(credits_are_low, dispatch_uid="billing.credits_are_low")
    balance_exhausted.connect(credits_are_gone, dispatch_uid="billing.credits_are_gone")
    spending_limit_crossed.connect(limit_is_near, dispatch_uid="billing.limit_is_near")
    dispatching.subscribe("mail", "", mails.send)


def start_free_plan(*, account: Account, now: datetime, is_proven: bool, **_kwargs: object) -> None:
    """A new account has its free credits at once, and is welcomed."""
    free_plan.start(account=account, is_proven=is_proven, now=now)
    domain_events.account_opened(account, now=now)


def start_proven_free_plan(*, account: Account, now: datetime, **_kwargs: object) -> None:
    """Free credits, now that the address is proven."""
    free_plan.start(account=account, is_proven=True, now=now)


def tell_invited(*, invitation: Invitation, now: datetime, **_kwargs: object) -> None:
    domain_events.member_invited(invitation, now=now)


def tell_owner_of_key(*, key: ApiKey, now: datetime, **_kwargs: object) -> None:
    domain_events.key_created(key, now=now)


def credits_are_low(*, account_id: uuid.UUID, credits: int, now: datetime, **_kwargs: object) -> None:
    """Published once for each crossing; an automatic top-up need not wait for its round."""
    domain_events.credits_low(account_id, left=credits, now=now)
    top_ups.enqueue_top_up(account_id)


def credits_are_gone(*, account_id: uuid.UUID, now: datetime, **_kwargs: object) -> None:
    domain_events.credits_exhausted(account_id, now=now)
    top_ups.enqueue_top_up(account_id)


def limit_is_near(*, account_id: uuid.UUID, use: LimitUse, now: datetime, **_kwargs: object) -> None:
    """A key or a member has used half, four fifths or all of what they may spend."""
    domain_events.spending_limit_crossed(account_id, use, now=now)
