"""allauth's hooks: a sign-up opens the user's account in the same transaction; second factors are kept encrypted."""

from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.mfa.adapter import DefaultMFAAdapter
from django.db import transaction
from django.http import HttpRequest

from accounts import clock, encryption, opening
from accounts.models import User

SECOND_FACTORS = "accounts.second-factors"


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]
    """Signing up is opening an account; its free credits are there when the page comes back."""

    def save_user(self, request: HttpRequest, user: User, form: Any, commit: bool = True) -> User:
        with transaction.atomic():
            user = super().save_user(request, user, form, commit=commit)
            if commit:
                opening.personal_account(user=user, now=clock.now())
        return user

    def clean_email(self, email: str) -> str:
        cleaned: str = super().clean_email(email)
        return cleaned.strip().lower()


class SecondFactorAdapter(DefaultMFAAdapter):  # type: ignore[misc]
    """Whoever reads the database cannot compute anybody's codes: that takes SECRET_KEY as well."""

    def encrypt(self, text: str) -> str:
        return encryption.encrypt(text, purpose=SECOND_FACTORS)

    def decrypt(self, encrypted_text: str) -> str:
        return encryption.decrypt(encrypted_text, purpose=SECOND_FACTORS)
