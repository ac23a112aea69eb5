"""The brand that counts now: the version published last, or what the environment says (SITE_NAME and others)."""

import time
from email.utils import formataddr, parseaddr

from django.conf import settings
from django.db import Error

from branding.models import IMAGES, Brand

REMEMBERED_S = 10  # how long other processes go on with the version before
_remembered: tuple[float, Brand] | None = None


def current() -> Brand:
    """The published version, without its images' bytes. Remembered for ten seconds.

    Without a database it is the one that was known, so that the page that says so can be shown.
    """
    global _remembered  # noqa: PLW0603 - one for the process
    known = _remembered
    if known is not None and known[0] > time.monotonic():
        return known[1]
    try:
        result = published(with_images=False) or from_settings()
    except Error:
        result = known[1] if known is not None else from_settings()
    _remembered = (time.monotonic() + REMEMBERED_S, result)
    return result


def published(*, with_images: bool = True) -> Brand | None:
    """The version published last, if there is one."""
    rows = Brand.objects.exclude(published_at=None).order_by("-published_at", "-pk")
    return (rows if with_images else rows.defer(*IMAGES)).first()


def forget() -> None:
    """Look again: a version was published."""
    global _remembered  # noqa: PLW0603 - one for the process
    _remembered = None


def from_settings() -> Brand:
    """The brand of the environment's variables: unsaved."""
    return Brand(
        name=settings.SITE_NAME,
        description=settings.SITE_DESCRIPTION,
        support_email=settings.SUPPORT_EMAIL,
        terms_url=settings.TERMS_URL,
        privacy_url=settings.PRIVACY_URL,
        imprint_url=settings.IMPRINT_URL,
    )


def sender() -> str:
    """Who e-mails come from: as the brand says, or under its name from the address of DEFAULT_FROM_EMAIL."""
    return sender_of(current())


def sender_of(look: Brand) -> str:
    """Who e-mails would come from under a brand."""
    if look.sender or look.is_of_settings:
        return look.sender or str(settings.DEFAULT_FROM_EMAIL)
    return formataddr((look.name, parseaddr(settings.DEFAULT_FROM_EMAIL)[1]))
