"""gunicorn's threads, which a slow client cannot hold: a request gets one once all of it has arrived.

The worker's own loop reads, without waiting, as a proxy in front would; a thread begins with a whole request. (The
stock worker gives a thread to the first byte, and the thread waits for the rest as long as the client likes.) Written
against gunicorn 27, whose `gthread` worker it extends.
"""

import io
import re
import selectors
import time
from functools import partial
from typing import Any

from gunicorn.workers.gthread import TConn, ThreadWorker

READ_S = 30  # for a whole request to arrive
LARGEST_HEAD = 65_536
LARGEST_BODY = 4_194_304  # a bulk grant's file is 2 MB; everything else is refused earlier, by its own limit
CHUNK = 65_536
LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,18})[ \t]*\r\n", re.IGNORECASE)
IS_CHUNKED = re.compile(rb"\r\ntransfer-encoding:[^\r\n]*chunked", re.IGNORECASE)
WANTS_A_SIGN = re.compile(rb"\r\nexpect:[ \t]*100-continue", re.IGNORECASE)
LAST_CHUNK = b"0\r\n\r\n"
TOO_LARGE = b"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class Arriving:
    """The beginning of a request, and how much of it there will be."""

    def __init__(self, until: float) -> None:
        self.received = bytearray()
        self.until = until
        self.needed: int | None = None  # bytes of the whole request, once its head is known
        self.is_chunked = False

    def take(self, data: bytes) -> bytes:
        """Add what came; answers what the client waits for before it sends more, if anything."""
        self.received += data
        end = self.received.find(b"\r\n\r\n")
        if self.needed is not None or self.is_chunked or end < 0:
            return b""
        head = bytes(self.received[: end + 2])
        length = LENGTH.search(head)
        self.is_chunked = IS_CHUNKED.search(head) is not None
        self.needed = None if self.is_chunked else end + 4 + (int(length[1]) if length else 0)
        return b"HTTP/1.1 100 Continue\r\n\r\n" if WANTS_A_SIGN.search(head) and not self.is_whole else b""

    @property
    def is_whole(self) -> bool:
        """Whether a thread can begin: all is here, or so much that the parser refuses it."""
        if self.is_chunked:
            return self.received.endswith(LAST_CHUNK)
        if self.needed is None:
            return len(self.received) > LARGEST_HEAD
        return len(self.received) >= self.needed

    @property
    def is_too_large(self) -> bool:
        return (self.needed or 0) > LARGEST_HEAD + LARGEST_BODY or len(self.received) > LARGEST_HEAD + LARGEST_BODY


class BufferingWorker(ThreadWorker):  # type: ignore[misc]
    """`gthread`, with requests read by its loop."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._arriving: dict[TConn, Arriving] = {}

    def accept(self, listener: Any) -> None:
        """Take a new connection, and read from it as it sends."""
        if self.cfg.is_ssl:  # TLS reads for itself
            super().accept(listener)
            return
        try:
            client, address = listener.accept()
        except OSError:
            return  # gone already
        self.nr_conns += 1
        self._await(TConn(self.cfg, client, address, listener.getsockname()), b"")

    def on_client_socket_readable(self, conn: TConn, client: Any) -> None:
        """The next request on a connection that was kept."""
        self.poller.unregister(client)
        self.keepalived_conns.remove(conn)
        self._await(conn, b"")

    def handle(self, conn: TConn) -> Any:
        """In a thread: the request is all here."""
        arriving = self._arriving.pop(conn, None)
        if arriving is not None:
            conn.sock.setblocking(True)
            conn.init()
            conn.parser.unreader.unread(bytes(arriving.received))
        return super().handle(conn)

    def finish_request(self, conn: TConn, done: Any) -> None:
        """What was sent behind a request is the beginning of the next one, and waits for its rest like any other."""
        parser = getattr(conn, "parser", None)
        left = parser.unreader.buf.getvalue() if parser is not None and not self.cfg.is_ssl else b""
        if left and not done.cancelled() and done.exception() is None and done.result() is True and self.alive:
            parser.unreader.buf = io.BytesIO()
            conn.sock.setblocking(False)
            self._await(conn, left)
            return
        super().finish_request(conn, done)

    def murder_pending(self) -> None:
        """Close connections whose request takes too long to arrive."""
        super().murder_pending()
        now = time.monotonic()
        for conn, arriving in list(self._arriving.items()):
            # A worker that stops waits for what has begun, and for nothing else.
            is_over = arriving.until < now or not (self.alive or arriving.received)
            if is_over and self._is_ours(conn):
                self._drop(conn)

    def _await(self, conn: TConn, received: bytes) -> None:
        arriving = self._arriving[conn] = Arriving(time.monotonic() + READ_S)
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(self._on_readable, conn))
        self._go_on(conn, arriving, received)

    def _on_readable(self, conn: TConn, client: Any) -> None:
        arriving = self._arriving[conn]
        try:
            data = client.recv(CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._drop(conn)
            return
        self._go_on(conn, arriving, data)

    def _go_on(self, conn: TConn, arriving: Arriving, data: bytes) -> None:
        sign = arriving.take(data)
        if arriving.is_too_large:
            self._drop(conn, TOO_LARGE)
        elif arriving.is_whole and arriving.received:
            self.poller.unregister(conn.sock)
            self.enqueue_req(conn)
        elif sign:
            self._send(conn, sign)

    def _is_ours(self, conn: TConn) -> bool:
        """Whether the loop still waits for it; else a thread is about to take it."""
        try:
            self.poller.get_key(conn.sock)
        except (KeyError, ValueError):
            return False
        return True

    def _drop(self, conn: TConn, last_word: bytes = b"") -> None:
        self._arriving.pop(conn, None)
        self.poller.unregister(conn.sock)
        self.nr_conns -= 1
        if last_word:
            self._send(conn, last_word)
        conn.close()

    def _send(self, conn: TConn, data: bytes) -> None:
        try:
            conn.sock.send(data)
        except OSError:
            self.log.debug("A client went away.")
