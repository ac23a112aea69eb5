"""Sending to addresses that customers named, and never into our own network (SSRF).

A name is looked up once, every address it has must be public, and the connection goes to one of those: a name that
changes its mind in between (DNS rebinding) gains nothing. Redirects are not followed.
"""

import http.client
import ipaddress
import os
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import SplitResult, urlsplit

import certifi
from django.conf import settings

DEADLINE_S = 15  # for everything: nobody holds a worker for longer
CONNECT_TIMEOUT_S = 5
LOOK_UP_TIMEOUT_S = 5
LARGEST_ANSWER = 4_096  # bytes that are kept of it
LONGEST_URL = 500
# Networks of special use that Python's `is_global` lets pass, or that hold other addresses inside (IANA's registries of
# special-purpose addresses, RFC 6890 and its updates).
SPECIAL = [
    ipaddress.ip_network(network)
    for network in (
        "192.0.0.0/24",  # protocol assignments: also those that are called global
        "192.88.99.0/24",  # 6to4 relays, deprecated
        "2002::/16",  # 6to4: an IPv4 address inside
        "64:ff9b::/96",  # NAT64: an IPv4 address inside
        "64:ff9b:1::/48",
        "2001::/23",  # protocol assignments, Teredo and ORCHID among them
        "fec0::/10",  # site-local, deprecated
        "::/96",  # IPv4-compatible, deprecated
        "::ffff:0:0:0/96",  # IPv4-translated
        "5f00::/16",  # segment routing
        "3fff::/20",  # documentation
    )
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
    """The parts of an address that may be sent to, as far as is known without looking it up.

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
    """Send, and read the beginning of the answer, within DEADLINE_S in all. Raises UnsafeUrlError or UnreachableError.

    A receiver that sends a byte now and then is cut off like one that sends none.
    """
    parts = check_url(url)
    host, is_tls = parts.hostname or "", parts.scheme == "https"
    port = parts.port or (443 if is_tls else 80)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    started = time.monotonic()
    address = _look_up(host, port)
    try:
        with _connected(address, port, host if is_tls else None, until=started + DEADLINE_S) as connection:
            connection.request("POST", path, body, {**headers, "Host": parts.netloc, "Connection": "close"})
            answer = connection.getresponse()
            text = answer.read(LARGEST_ANSWER)
    except (OSError, http.client.HTTPException, ValueError) as error:
        if time.monotonic() - started >= DEADLINE_S:
            raise UnreachableError(f"no whole answer within {DEADLINE_S} s") from error
        raise UnreachableError(f"{type(error).__name__}: {error}"[:500]) from error
    return Answer(
        status_code=answer.status,
        text=text.decode("utf-8", "replace").replace("\x00", ""),
        duration_ms=round((time.monotonic() - started) * 1000),
    )


@contextmanager
def _connected(address: str, port: int, tls_name: str | None, *, until: float) -> Iterator[http.client.HTTPConnection]:
    """A connection to exactly this address, torn down at `until`, whoever is waiting for what then."""
    bare = socket.create_connection((address, port), timeout=CONNECT_TIMEOUT_S)
    # A second handle on the same connection: it reaches it also while TLS is being agreed on.
    handle = socket.socket(fileno=os.dup(bare.fileno()))
    alarm = threading.Timer(max(0.0, until - time.monotonic()), _cut, [handle])
    alarm.daemon = True
    alarm.start()
    connection = http.client.HTTPConnection(address, port)
    try:
        bare.settimeout(DEADLINE_S)
        connection.sock = _tls().wrap_socket(bare, server_hostname=tls_name) if tls_name else bare
        yield connection
    finally:
        alarm.cancel()
        connection.close()
        bare.close()
        handle.close()


def _cut(handle: socket.socket) -> None:
    with suppress(OSError):
        handle.shutdown(socket.SHUT_RDWR)


@lru_cache(maxsize=1)
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=certifi.where())


def _look_up(host: str, port: int) -> str:
    """One of the addresses behind a name, all of which must be public. A slow name server is not waited for."""
    result: list[Any] = []

    def ask() -> None:
        try:
            result.extend(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError):
            return

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(LOOK_UP_TIMEOUT_S)
    if not result:
        raise UnreachableError(f"{host} cannot be found")
    addresses = [str(entry[4][0]) for entry in result]
    for address in addresses:
        _check_address(ipaddress.ip_address(address.partition("%")[0]))
    return addresses[0]


def _check_address(address: Address) -> None:
    if settings.WEBHOOKS_TO_PRIVATE_ADDRESSES:
        return
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if any(address in network for network in SPECIAL if network.version == address.version):
        raise UnsafeUrlError("This address is not on the public internet.")
    if not address.is_global or address.is_multicast or address.is_reserved:
        raise UnsafeUrlError("This address is not on the public internet.")
