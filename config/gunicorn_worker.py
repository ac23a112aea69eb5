"""gunicorn's threads, which a slow client cannot hold: they begin with a whole request, and leave their answer behind.

The worker's own loop reads and sends without waiting, as a proxy in front would. (In the stock worker a thread begins
with the first byte and waits for the rest, and for the client to take its answer, as long as the client likes; and the
loop itself waits up to two seconds for each client that does not close.) Written against gunicorn 27, whose `gthread`
worker it extends.
"""

import errno
import re
import selectors
import socket
import time
from functools import partial
from typing import Any

from gunicorn.http.unreader import Unreader
from gunicorn.workers.gthread import TConn, ThreadWorker

from common.live_streams import LAST_CHUNK, MOST_OF_ONE, WATCHER, LiveStream

READ_S = 30  # for a whole request to arrive
SEND_S = 60  # for what is left of an answer to be taken
LINGER_S = 2  # for a client to close after the last answer, so that it reads all of it (RFC 9112, section 9.6)
LARGEST_LEFT = 8_388_608  # bytes of an answer that wait for their client; a thread waits with what is beyond
LARGEST_HEAD = 65_536
LARGEST_UNREAD = 65_536  # bytes of a stream that its client has not taken: then it is gone
LARGEST_BODY = 4_194_304  # a bulk grant's file is 2 MB; everything else is refused earlier, by its own limit
CHUNK = 65_536
LONGEST_CHUNK_LINE = 4096
LENGTH = re.compile(rb"\r\ncontent-length[ \t]*:([^\r\n]*)", re.IGNORECASE)
PLAIN_LENGTH = re.compile(rb"[ \t]*(\d{1,18})[ \t]*")
CHUNK_SIZE = re.compile(rb"([0-9a-f]{1,8})[ \t]*(?:;.*)?", re.IGNORECASE | re.DOTALL)
IS_CHUNKED = re.compile(rb"\r\ntransfer-encoding:[^\r\n]*chunked", re.IGNORECASE)
WANTS_A_SIGN = re.compile(rb"\r\nexpect:[ \t]*100-continue", re.IGNORECASE)
END = b"\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
TOO_LARGE = b"HTTP/1.1 413 Content Too Large" + END
HEAD_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large" + END
UNCLEAR = b"HTTP/1.1 400 Bad Request" + END


class Received(Unreader):
    """What has arrived, and no more: who reads on finds the end, and never waits for the client."""

    def __init__(self, received: bytes) -> None:
        super().__init__()
        self.unread(received)

    def chunk(self, size_hint: int | None = None) -> bytes:
        return b""


class PatientSocket:
    """A client's socket that takes an answer at once: what the client is slow to read is sent later, by the loop."""

    def __init__(self, client: socket.socket) -> None:
        self._client = client
        self.left = bytearray()
        self.stream: LiveStream | None = None  # set by a view whose answer goes on (common/live_streams.py)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def sendall(self, data: bytes) -> None:
        """Take `data` to be sent. Raises BrokenPipeError for a client that takes nothing of a long answer."""
        if self.stream is not None and data == LAST_CHUNK:
            return  # gunicorn's end of the answer
        self.left += data
        self.send_left()
        while len(self.left) > LARGEST_LEFT:
            with selectors.DefaultSelector() as until:
                until.register(self._client, selectors.EVENT_WRITE)
                if not until.select(SEND_S):
                    raise BrokenPipeError(errno.EPIPE, "The client takes nothing.")
            self.send_left()

    def send_left(self) -> None:
        """Send what the client takes now. Raises OSError."""
        while self.left:
            try:
                sent = self._client.send(memoryview(self.left)[:CHUNK], socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            del self.left[:sent]


class Arriving:
    """The beginning of a request, and how much of it there will be."""

    def __init__(self, until: float) -> None:
        self.received = bytearray()
        self.until = until
        self.needed: int | None = None  # bytes of the whole request, once its head is known
        self.is_chunked = False
        self.is_whole = False
        self.refusal = b""  # what it is answered with instead, if its end cannot be determined
        self._next_chunk = 0  # where it begins

    def take(self, data: bytes) -> bytes:
        """Add what came; answers what the client waits for before it sends more, if anything."""
        self.received += data
        is_new = self.needed is None and not self.is_chunked
        wants_a_sign = is_new and self._read_head()
        if self.is_chunked:
            self._read_chunks()
        elif self.needed is not None:
            self.is_whole = len(self.received) >= self.needed
        if max(self.needed or 0, len(self.received)) > LARGEST_HEAD + LARGEST_BODY:
            self.refusal = self.refusal or TOO_LARGE
        return b"HTTP/1.1 100 Continue\r\n\r\n" if wants_a_sign and not self.is_whole else b""

    def _read_head(self) -> bool:
        """Find out how long the request is; whether its client waits for a sign before it sends the rest."""
        end = self.received.find(b"\r\n\r\n")
        if max(end, len(self.received) if end < 0 else 0) > LARGEST_HEAD:
            self.refusal = HEAD_TOO_LARGE
        if end < 0 or self.refusal:
            return False
        head = bytes(self.received[: end + 2])
        lengths = [PLAIN_LENGTH.fullmatch(found) for found in LENGTH.findall(head)]
        self.is_chunked, self._next_chunk = IS_CHUNKED.search(head) is not None, end + 4
        if None in lengths or len(lengths) + self.is_chunked > 1:
            self.refusal = UNCLEAR
        elif not self.is_chunked:
            self.needed = end + 4 + sum(int(found[1]) for found in lengths if found)
        return WANTS_A_SIGN.search(head) is not None

    def _read_chunks(self) -> None:
        """Go from chunk to chunk to the last one, and to the empty line after it (RFC 9112, section 7.1)."""
        while not (self.is_whole or self.refusal):
            end = self.received.find(b"\r\n", self._next_chunk)
            size = CHUNK_SIZE.fullmatch(bytes(self.received[self._next_chunk : end])) if end >= 0 else None
            if size is None:
                if end >= 0 or len(self.received) - self._next_chunk > LONGEST_CHUNK_LINE:
                    self.refusal = UNCLEAR
                return
            if int(size[1], 16) == 0:
                self.is_whole = self.received.find(b"\r\n\r\n", end) >= 0
                return
            self._next_chunk = end + 2 + int(size[1], 16) + 2
            if self._next_chunk > len(self.received):
                return


class BufferingWorker(ThreadWorker):
    """`gthread`, with requests read by its loop."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._arriving: dict[TConn, Arriving] = {}
        self._leaving: dict[TConn, float] = {}  # answered, and not gone yet; until when that may last
        self._streams: dict[TConn, LiveStream] = {}  # the oldest first

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
        self._await(TConn(self.cfg, PatientSocket(client), address, listener.getsockname()), b"")

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
            conn.parser.unreader = Received(bytes(arriving.received))
        return super().handle(conn)

    def finish_request(self, conn: TConn, done: Any) -> None:
        """Send what is left of the answer; then wait for the next request, or close."""
        if self.cfg.is_ssl:
            super().finish_request(conn, done)
            return
        conn.sock.setblocking(False)
        is_answered = not done.cancelled() and done.exception() is None
        if is_answered and conn.sock.left:
            self._leaving[conn] = time.monotonic() + SEND_S
            self.poller.register(conn.sock, selectors.EVENT_WRITE, partial(self._on_writable, conn, done))
        elif is_answered and conn.sock.stream is not None:
            self._keep(conn, conn.sock.stream)
        elif not is_answered or done.result() is not True:
            self._part(conn)
        elif self.alive and (next_one := conn.parser.unreader.take_buffered()):
            # What was sent behind a request is the beginning of the next one, and waits for its rest like any other.
            self._await(conn, next_one)
        else:
            super().finish_request(conn, done)

    def murder_pending(self) -> None:
        """Close connections whose request takes too long to arrive, or whose client does not take its answer."""
        super().murder_pending()
        now = time.monotonic()
        for conn, arriving in list(self._arriving.items()):
            # A worker that stops waits for what has begun, and for nothing else.
            is_over = arriving.until < now or not (self.alive or arriving.received)
            if is_over and self._is_ours(conn):
                self._drop(conn)
        for conn, until in list(self._leaving.items()):
            if until < now:
                self._drop(conn)
        for conn, stream in list(self._streams.items()):
            self._feed(conn, stream, now)
        if self.nr_conns >= self.worker_connections:  # the oldest of those who say nothing make room
            for conn in [conn for conn in self._arriving if self._is_ours(conn)][: self.worker_connections // 10]:
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
        if arriving.refusal:
            self._drop(conn, arriving.refusal)
        elif arriving.is_whole and arriving.received:
            self.poller.unregister(conn.sock)
            self.enqueue_req(conn)
        elif sign:
            self._send(conn, sign)

    def _keep(self, conn: TConn, stream: LiveStream) -> None:
        """Let a client listen: up to half of the connections do, and a few of each account."""
        of_same = [other for other, known in self._streams.items() if known.subject == stream.subject]
        too_many = [*of_same[: 1 + len(of_same) - MOST_OF_ONE]] if len(of_same) >= MOST_OF_ONE else []
        if not too_many and len(self._streams) >= self.worker_connections // 2:
            too_many = [next(iter(self._streams))]
        for other in too_many:
            self._drop(other, LAST_CHUNK if self._streams[other].is_chunked else b"")
        self._streams[conn] = stream
        WATCHER.add(stream)
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(self._on_silent, conn))

    def _on_silent(self, conn: TConn, client: Any) -> None:
        """A client that listens, or whose answer was its last, says nothing: what can be read is its end."""
        try:
            if client.recv(CHUNK):
                return
        except BlockingIOError:
            return
        except OSError:
            self.log.debug("A client went away.")
        self._drop(conn)

    def _feed(self, conn: TConn, stream: LiveStream, now: float) -> None:
        if not self.alive or stream.until < now:
            self._drop(conn, LAST_CHUNK if stream.is_chunked else b"")
            return
        conn.sock.left += stream.news(now)
        try:
            conn.sock.send_left()
        except OSError:
            self._drop(conn)
            return
        if len(conn.sock.left) > LARGEST_UNREAD:
            self._drop(conn)

    def _is_ours(self, conn: TConn) -> bool:
        """Whether the loop still waits for it; else a thread is about to take it."""
        try:
            self.poller.get_key(conn.sock)
        except (KeyError, ValueError):
            return False
        return True

    def _on_writable(self, conn: TConn, done: Any, client: Any) -> None:
        try:
            client.send_left()
        except OSError:
            self._drop(conn)
            return
        if not client.left:
            self.poller.unregister(client)
            del self._leaving[conn]
            self.finish_request(conn, done)

    def _part(self, conn: TConn) -> None:
        """Say that this was all, and close once the client has."""
        try:
            conn.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self.nr_conns -= 1
            conn.close()
            return
        self._leaving[conn] = time.monotonic() + LINGER_S
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(self._on_silent, conn))

    def _drop(self, conn: TConn, last_word: bytes = b"") -> None:
        self._arriving.pop(conn, None)
        self._leaving.pop(conn, None)
        if (stream := self._streams.pop(conn, None)) is not None:
            WATCHER.remove(stream)
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
