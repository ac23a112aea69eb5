"""What is given once to a person: the bonus on a first purchase, and a free trial.

A person is every owner of an account, by their user and their mailbox, and the card that was paid with: a second team,
a second account or one that was closed meanwhile begin nothing again. What was used is kept when the account is closed,
as a hash and a fingerprint that name nobody.
"""

from collections.abc import Iterable
from datetime import datetime

from django.db import transaction

from accounts.mailboxes import mailbox_of
from accounts.models import Account, Membership
from billing.models import BenefitUse, Plan, Subscription

Kind = BenefitUse.Kind


def is_used(kind: BenefitUse.Kind, account: Account) -> bool:
    """Whether the account, or a person who owns it, has had this before."""
    return BenefitUse.objects.filter(kind=kind, subject__in=_subjects(account)).exists()


def trial_days(plan: Plan, account: Account | None) -> int:
    """How many days an account (or, without one, whoever signs up) has this plan for nothing first; 0 for none.

    One trial for each person, however many accounts and teams they own, and however often they come back.
    """
    if not plan.trial_days or account is None:
        return plan.trial_days
    is_known = Subscription.objects.filter(account=account).exists()
    return 0 if is_known or is_used(Kind.TRIAL, account) else plan.trial_days


def claim(kind: BenefitUse.Kind, account: Account, *, cause: str, now: datetime, card: str = "") -> bool:
    """Take a benefit for `cause` (an order, a subscription); whether it is the first. A repeated call answers the same.

    `card` is the fingerprint of the card that pays. Of two causes at once, one is the first.
    """
    subjects = sorted({*_subjects(account), *([f"card:{card}"] if card else [])})
    with transaction.atomic():
        BenefitUse.objects.bulk_create(
            [BenefitUse(kind=kind, subject=subject, cause=cause, used_at=now) for subject in subjects],
            ignore_conflicts=True,
        )
        rows = BenefitUse.objects.filter(kind=kind, subject__in=subjects)
        is_first = set(rows.values_list("cause", flat=True)) == {cause}
        if not is_first and kind == Kind.TRIAL:
            # Nobody had it by this: with a card of their own they may.
            rows.filter(cause=cause).delete()
        return is_first


def is_claimed_by(kind: BenefitUse.Kind, account: Account, *, cause: str) -> bool:
    """Whether a benefit was claimed by this cause, and by no other of the same person."""
    causes = BenefitUse.objects.filter(kind=kind, subject__in=_subjects(account)).values_list("cause", flat=True)
    return set(causes) == {cause}


def _subjects(account: Account) -> Iterable[str]:
    """Who an account is: itself, and each of its owners by user and mailbox."""
    yield f"account:{account.pk}"
    if account.mailbox:
        yield f"mailbox:{account.mailbox}"
    owners = Membership.objects.filter(account=account, role=Membership.Role.OWNER).select_related("user")
    for membership in owners:
        yield f"user:{membership.user_id}"
        if membership.user.is_active:  # (a closed one's address is nobody's)
            yield f"mailbox:{mailbox_of(membership.user.email)}"
