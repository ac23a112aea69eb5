"""Secrets that must be read again: kept so that it takes the database and SECRET_KEY to read them."""

import base64
import hmac

from cryptography.fernet import Fernet, MultiFernet
from django.conf import settings


def encrypt(text: str, *, purpose: str) -> str:
    """The text, unreadable without SECRET_KEY; what is encrypted for one purpose cannot be read for another."""
    return _ciphers(purpose).encrypt(text.encode()).decode()


def decrypt(encrypted: str, *, purpose: str) -> str:
    """The text again. Raises cryptography's InvalidToken when it is not ours."""
    return _ciphers(purpose).decrypt(encrypted.encode()).decode()


def _ciphers(purpose: str) -> MultiFernet:
    """By SECRET_KEY first, then by those of before (SECRET_KEY_FALLBACKS)."""
    secrets = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    keys = [hmac.digest(secret.encode(), f"tegoed.{purpose}".encode(), "sha256") for secret in secrets]
    return MultiFernet([Fernet(base64.urlsafe_b64encode(key)) for key in keys])
