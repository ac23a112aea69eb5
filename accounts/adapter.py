"""allauth's hooks: a sign-up opens the user's account in the same transaction; second factors are kept encrypted."""

import secrets
from datetime import timedelta
from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.core.internal import ratelimit
from allauth.mfa.adapter import DefaultMFAAdapter
from django.conf import settings
from django.core import signing
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import get_language_from_request
from django.utils.translation import gettext as _

from accounts import opening
from accounts.models import Account, User
from branding import brand, mails
from common import clock, encryption
from common.json_types import JsonObject

SECOND_FACTORS = "accounts.second-factors"
DEVICE_COOKIE = "known_device"
PASSWORD_SHOWN = "password_shown"  # in a session: the user whose password this browser knows  # noqa: S105
AFTER_SIGN_UP = "after_sign_up"  # in a session: an address of ours
DEVICE_FOR = timedelta(days=365)
UNREACHABLE = (".invalid", ".invalid.")


class AccountAdapter(DefaultAccountAdapter):
    """Signing up is opening an account; its free credits are there when the page comes back."""

    def save_user(self, request: HttpRequest, user: User, form: Any, commit: bool = True) -> User:
        with transaction.atomic():
            user = super().save_user(request, user, form, commit=commit)
            request.session[PASSWORD_SHOWN] = user.pk
            # A new address is confirmed first, which forgets where they were going.
            wanted = request.POST.get("next", "")
            if self.is_safe_url(wanted):
                request.session[AFTER_SIGN_UP] = wanted
            if commit:
                account = opening.personal_account(user=user, now=clock.now(), is_claimed=True)
                account.language = _language_of(request)
                account.save(update_fields=["language"])
        return user

    def authenticate(self, request: HttpRequest, **credentials: Any) -> Any:
        user = super().authenticate(request, **credentials)
        if user is not None:
            request.session[PASSWORD_SHOWN] = user.pk
        return user

    def get_login_redirect_url(self, request: HttpRequest) -> str:
        """Where somebody was going when they signed up, or the usual page."""
        return str(request.session.pop(AFTER_SIGN_UP, "") or super().get_login_redirect_url(request))

    def post_login(self, request: HttpRequest, user: User, **how: Any) -> HttpResponse:
        """From here on, pages are in the account's language; before, in the browser's."""
        response: HttpResponse = super().post_login(request, user, **how)
        language = opening.personal_account(user=user, now=clock.now()).language
        response.set_cookie(settings.LANGUAGE_COOKIE_NAME, language, samesite="Lax", secure=settings.USES_TLS)
        device = signing.dumps({"user": user.pk, "device": secrets.token_hex(16)}, salt=DEVICE_COOKIE)
        response.set_cookie(
            DEVICE_COOKIE, device, max_age=DEVICE_FOR, httponly=True, samesite="Lax", secure=settings.USES_TLS
        )
        return response

    def pre_authenticate(self, request: HttpRequest, **credentials: Any) -> None:
        """Count wrong passwords by device, else by address, so that a stranger's locks out nobody but the stranger.

        (After OWASP's device cookies.) All strangers together have a limit of their own.
        """
        if not self._known_device(request, credentials):
            everybody = super()._get_login_attempts_cache_key(request, **credentials)
            if not ratelimit.consume(request, app="allauth.account", action="login_failed_anywhere", key=everybody):
                raise self.validation_error("too_many_login_attempts")
        super().pre_authenticate(request, **credentials)

    def _get_login_attempts_cache_key(self, request: HttpRequest, **credentials: Any) -> str:
        base = super()._get_login_attempts_cache_key(request, **credentials)
        return f"{base}:{self._known_device(request, credentials) or self.get_client_ip(request)}"

    def _known_device(self, request: HttpRequest, credentials: JsonObject) -> str:
        """The name of a browser that this very person has signed in with before; empty for any other."""
        try:
            known = signing.loads(request.COOKIES.get(DEVICE_COOKIE, ""), salt=DEVICE_COOKIE, max_age=DEVICE_FOR)
        except signing.BadSignature:
            return ""
        email = str(credentials.get("email", "")).strip().lower()
        is_theirs = User.objects.filter(pk=known["user"], email=email).exists() if email else False
        return str(known["device"]) if is_theirs else ""

    def render_mail(self, template_prefix: str, email: Any, context: JsonObject, headers: Any = None) -> Any:
        """allauth's own texts, as text and in the style of our other e-mails."""
        message = super().render_mail(template_prefix, email, context, headers)
        paragraphs = [part.strip() for part in message.body.split("\n\n") if part.strip()]
        mails.attach_html(message, paragraphs)
        return message

    def get_from_email(self) -> str:
        return brand.sender()

    def clean_email(self, email: str) -> str:
        """Raises ValidationError for a host that no mail reaches: such an address is nobody's (RFC 2606)."""
        cleaned = str(super().clean_email(email)).strip().lower()
        if cleaned.endswith(UNREACHABLE):
            raise ValidationError(_("No mail reaches this address. Check it."))
        return cleaned

    def pre_login(self, request: HttpRequest, user: User, **how: Any) -> HttpResponse | None:
        """A guest comes in by the link of their app, and by nothing else."""
        if user.is_guest:
            return render(request, "portal/not_for_guests.html", status=403)
        response: HttpResponse | None = super().pre_login(request, user, **how)
        return response


def _language_of(request: HttpRequest) -> str:
    fields = get_language_from_request(request)
    return fields if fields in Account.Language.values else Account.Language.EN.value


class SecondFactorAdapter(DefaultMFAAdapter):
    """Whoever reads the database cannot compute anybody's codes: that takes SECRET_KEY as well."""

    def get_totp_issuer(self) -> str:
        """What an authenticator app calls this site."""
        return brand.current().name

    def encrypt(self, text: str) -> str:
        return encryption.encrypt(text, purpose=SECOND_FACTORS)

    def decrypt(self, encrypted_text: str) -> str:
        return encryption.decrypt(encrypted_text, purpose=SECOND_FACTORS)
