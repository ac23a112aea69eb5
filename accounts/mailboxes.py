"""Which mailbox an e-mail address leads to: `ada+news@gmail.com` and `a.da@googlemail.com` are one person's.

Kept as a keyed hash, so that free credits are not given twice to one mailbox, also when its account was closed and
nothing may name the person any more.
"""

import hashlib
import hmac
import re
import unicodedata

from django.conf import settings

PURPOSE = b"accounts.mailbox"
# Where dots in the name mean nothing, and under which name each is known.
DOTLESS = {"gmail.com": "gmail.com", "googlemail.com": "gmail.com"}


def mailbox_of(email: str) -> str:
    """The hash of the mailbox behind an address; empty for none."""
    name, at, host = unicodedata.normalize("NFKC", email).strip().lower().rpartition("@")
    if not at:
        return ""
    host = _in_ascii(host).rstrip(".")
    if len(name) > 1 and name[0] == name[-1] == '"':  # RFC 5321, section 4.1.2: quotes say nothing of the mailbox
        name = re.sub(r"\\(.)", r"\1", name[1:-1])
    name = name.partition("+")[0] or name
    if host in DOTLESS:
        name, host = name.replace(".", ""), DOTLESS[host]
    key = hashlib.sha256(PURPOSE + settings.SECRET_KEY.encode()).digest()
    return hmac.new(key, f"{name}@{host}".encode(), hashlib.sha256).hexdigest()


def _in_ascii(host: str) -> str:
    """A host as mail is sent to it: wide letters are plain ones, others are in Punycode (IDNA)."""
    try:
        return host.encode("idna").decode().lower()
    except UnicodeError:
        return host
