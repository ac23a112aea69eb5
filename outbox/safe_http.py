"""Sending to addresses that customers named, and never into our own network (SSRF).

A name is looked up once, every address it has must be public, and the connection goes to one of those: a name that
changes its mind in between (DNS rebinding) gains nothing. Redirects are not followed.
"""

import ipaddress
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

import certifi
import urllib3
from django.conf import settings

TIMEOUT_S = 10  # to connect, and for each part of the answer
LARGEST_ANSWER = 4_096  # bytes that are kept of it
LONGEST_URL = 500
# Networks that hold other addresses inside: 6to4 and NAT64.
WRAPPERS = [
    ipaddress.ip_network("2002::/16"),
    ipaddress.ip_network("64:ff9b::/96"),
    ipaddress.ip_network("64:ff9b:1::/48"),
]

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class UnsafeUrlError(ValueError):
    """An address that nothing is sent to; the text says why."""


class UnreachableError(Exception):
    """Nobody answered."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What somebody answered, and how long that took."""

    status_code: int
    text: str
    duration_ms: int


def check_url(url: str) -> SplitResult:
    """The parts of an address that may be sent to, as far as it can be told without looking it up.

    Raises UnsafeUrlError.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise UnsafeUrlError("This is no address.") from error
    is_plain_allowed = settings.WEBHOOKS_TO_PRIVATE_ADDRESSES
    if len(url) > LONGEST_URL or not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        raise UnsafeUrlError("This is no address.")
    if parts.scheme != "https" and not (is_plain_allowed and parts.scheme == "http"):
        raise UnsafeUrlError("An address begins with https://.")
    if parts.username is not None or parts.password is not None:
        raise UnsafeUrlError("An address holds no password.")
    if not parts.hostname or port == 0 or parts.fragment:
        raise UnsafeUrlError("This is no address.")
    try:
        _check_address(ipaddress.ip_address(parts.hostname))
    except UnsafeUrlError:
        raise
    except ValueError:
        pass  # a name: looked up when something is sent
    return parts


def post(url: str, *, body: bytes, headers: Mapping[str, str]) -> Answer:
    """Send, and read the beginning of the answer. Raises UnsafeUrlError or UnreachableError."""
    parts = check_url(url)
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    started = time.monotonic()
    timeout = urllib3.Timeout(connect=TIMEOUT_S, read=TIMEOUT_S)
    address = _look_up(host, port)
    pool: urllib3.HTTPConnectionPool
    if parts.scheme == "https":
        pool = urllib3.HTTPSConnectionPool(
            address, port, timeout=timeout, server_hostname=host, assert_hostname=host, ca_certs=certifi.where()
        )
    else:
        pool = urllib3.HTTPConnectionPool(address, port, timeout=timeout)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        answer = pool.urlopen(
            "POST", path, body=body, headers={**headers, "Host": parts.netloc},
            redirect=False, retries=False, preload_content=False, decode_content=False,
        )  # fmt: skip
        text = answer.read(LARGEST_ANSWER)
    except urllib3.exceptions.HTTPError as error:
        raise UnreachableError(f"{type(error).__name__}: {error}"[:500]) from error
    finally:
        pool.close()
    return Answer(
        status_code=answer.status,
        text=text.decode("utf-8", "replace").replace("\x00", ""),
        duration_ms=round((time.monotonic() - started) * 1000),
    )


def _look_up(host: str, port: int) -> str:
    """One of the addresses behind a name, all of which must be public."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise UnreachableError(f"{host} cannot be found") from error
    addresses = [str(entry[4][0]) for entry in found]
    for address in addresses:
        _check_address(ipaddress.ip_address(address.partition("%")[0]))
    return addresses[0]


def _check_address(address: Address) -> None:
    if settings.WEBHOOKS_TO_PRIVATE_ADDRESSES:
        return
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        elif any(address in network for network in WRAPPERS):
            raise UnsafeUrlError("This address is not on the public internet.")
    if not address.is_global or address.is_multicast or address.is_reserved:
        raise UnsafeUrlError("This address is not on the public internet.")
