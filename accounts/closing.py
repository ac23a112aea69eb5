"""Forgetting who somebody was. Their account's ledger and invoices stay, without a name: the tax office wants them."""

from datetime import datetime

from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession
from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db import transaction

from accounts.models import Account, ApiKey, ExternalIdentity, Invitation, Membership, User
from accounts.pseudonyms import pseudonym

NOBODY = "closed-{key}@closed.invalid"  # a name that no mail reaches (RFC 2606)


def forget(*, account: Account, user: User | None, now: datetime) -> None:
    """Take every personal fact off an account and its user, and all that opens them. Repeated, it changes nothing.

    Without a user, as for a team, its members stay who they are, and are members no more.
    """
    with transaction.atomic():
        ApiKey.objects.filter(account=account, revoked_at=None).update(revoked_at=now)
        ApiKey.objects.filter(account=account).update(name="")
        # The other system's id stays, as a hash: who comes with it again must find that this account is closed.
        ExternalIdentity.objects.filter(account=account, ended_at=None).update(ended_at=now)
        for identity in ExternalIdentity.objects.filter(account=account):
            identity.subject = pseudonym(identity.subject)
            identity.save(update_fields=["subject"])
        Invitation.objects.filter(account=account).delete()
        Membership.objects.filter(account=account, is_personal=False).delete()
        if user is not None:
            _forget_user(user)
        for guest in User.objects.filter(is_guest=True, memberships__account=account):
            _forget_user(guest)
        account.metadata = {}
        account.name, account.email, account.closed_at = "", "", account.closed_at or now
        account.save(update_fields=["name", "email", "metadata", "closed_at"])


def _forget_user(user: User) -> None:
    Invitation.objects.filter(email=user.email).delete()
    Membership.objects.filter(user=user, is_personal=False).delete()
    for model in (EmailAddress, Authenticator, UserSession):
        model.objects.filter(user=user).delete()
    user.email, user.name, user.is_active, user.last_login = NOBODY.format(key=user.pk), "", False, None
    user.set_unusable_password()
    user.save(update_fields=["email", "name", "is_active", "last_login", "password"])
    # Django's own log of admin forms shows a row by its name.
    kind = ContentType.objects.get_for_model(User)
    LogEntry.objects.filter(content_type=kind, object_id=str(user.pk)).update(object_repr=str(user))
