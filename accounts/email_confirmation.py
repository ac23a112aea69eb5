"""What follows once somebody has shown that an e-mail address is theirs."""

from allauth.account.models import EmailAddress
from allauth.usersessions.models import UserSession
from django.contrib import messages
from django.http import HttpRequest
from django.utils.translation import gettext as _

from accounts import opening
from accounts.adapter import PASSWORD_SHOWN
from accounts.models import User
from common import clock


def address_confirmed(*, request: HttpRequest, email_address: EmailAddress, **_about: object) -> None:
    """An address was confirmed for the first time.

    Anybody may sign up with an address that is not theirs, and wait with the password they chose for its owner to come.
    So a password that this browser has not shown is no way in any more, and whoever is signed in elsewhere is out.
    """
    user: User = email_address.user
    is_first = not EmailAddress.objects.filter(user=user, verified=True).exclude(pk=email_address.pk).exists()
    if is_first and user.has_usable_password() and request.session.get(PASSWORD_SHOWN) != user.pk:
        user.set_unusable_password()
        user.save(update_fields=["password"])
        for session in UserSession.objects.filter(user=user).exclude(session_key=request.session.session_key):
            session.end()
        messages.info(request, _("Your address is confirmed. Choose a new password: the first one was set elsewhere."))
    opening.prove(user=user, now=clock.now())
