"""What an origin is: scheme, host and port, and nothing else (RFC 6454)."""

import re
from urllib.parse import urlsplit

from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9]([a-z0-9.-]*[a-z0-9])?)(:[0-9]{1,5})?")


def validate_origin(text: str) -> None:
    """Raises ValidationError for what no browser would send, and for plain http beyond this machine."""
    url = urlsplit(text)
    if url.scheme not in ("http", "https") or not _HOST.fullmatch(url.netloc) or f"{url.scheme}://{url.netloc}" != text:
        raise ValidationError(_("Write an origin as https://app.example.com, in small letters and without a path."))
    default = {"http": 80, "https": 443}[url.scheme]
    if url.port == default:
        raise ValidationError(_("Leave the port out: browsers name it only where it is another than usual."))
    if url.scheme == "http" and url.netloc.rpartition(":")[0 if url.port else 2] not in LOOPBACK:
        raise ValidationError(_("Plain http is for this machine only: its pages could be changed on the way."))
