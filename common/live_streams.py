"""Server-sent events that hold no thread: the web worker keeps the connection, and one watcher asks for news.

A view answers with what there is now (`answer`). Under our own gunicorn worker (config/gunicorn_worker.py) the
connection then stays, and each change is sent over it; anywhere else the answer ends, and the browser's EventSource
asks again after RETRY_MS. What changed is asked once a second for all listeners of a process together: a spend pays
nothing for who listens.
"""

import json
import logging
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.db import close_old_connections, connection
from django.http import HttpRequest, StreamingHttpResponse

from common.json_types import JsonObject

RETRY_MS = 5_000
PERIOD_S = 1.0
LASTS_S = 300  # then the client comes again, and has to be allowed to
BEAT_S = 15  # a comment now and then, so that proxies keep the line and a client that is gone is noticed
MOST_OF_ONE = 8  # streams of one account in a process; a further one ends the oldest
LAST_CHUNK = b"0\r\n\r\n"

# What each of these subjects is like now. Asked from a thread of its own.
States = Callable[[Collection[str]], Mapping[str, JsonObject]]

logger = logging.getLogger(__name__)


@dataclass(eq=False, kw_only=True)
class LiveStream:
    """One listener's connection."""

    subject: str
    states: States
    sent: bytes  # the last state that it was sent
    is_chunked: bool
    born: float = field(default_factory=time.monotonic)
    until: float = field(default_factory=lambda: time.monotonic() + LASTS_S)
    beat_at: float = field(default_factory=lambda: time.monotonic() + BEAT_S)

    def news(self, now: float) -> bytes:
        """What to send now, framed as its connection needs it; mostly nothing."""
        looked_at, state = WATCHER.latest.get(self.subject, (0.0, b""))
        # (What was looked up before this listener's own beginning is older than that.)
        if looked_at > self.born and state != self.sent:
            self.sent, self.beat_at = state, now + BEAT_S
            return self._framed(state)
        if self.beat_at <= now:
            self.beat_at = now + BEAT_S
            return self._framed(b":\n\n")
        return b""

    def _framed(self, data: bytes) -> bytes:
        return f"{len(data):x}\r\n".encode() + data + b"\r\n" if self.is_chunked else data


class Watcher:
    """Asks once a second what the watched subjects are like now."""

    def __init__(self) -> None:
        self.latest: dict[str, tuple[float, bytes]] = {}  # when each was asked for, and what it was
        self._streams: set[LiveStream] = set()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def add(self, stream: LiveStream) -> None:
        with self._lock:
            self._streams.add(stream)
            if self._thread is None:  # (not before the worker has forked)
                self._thread = threading.Thread(target=self._run, name="live", daemon=True)
                self._thread.start()

    def remove(self, stream: LiveStream) -> None:
        with self._lock:
            self._streams.discard(stream)
            if not any(other.subject == stream.subject for other in self._streams):
                self.latest.pop(stream.subject, None)

    def look(self) -> None:
        """Ask once."""
        with self._lock:
            wanted: dict[States, set[str]] = {}
            for stream in self._streams:
                wanted.setdefault(stream.states, set()).add(stream.subject)
        for states, subjects in wanted.items():
            asked_at = time.monotonic()
            found = {subject: (asked_at, encoded(state)) for subject, state in states(subjects).items()}
            with self._lock:
                watched = {stream.subject for stream in self._streams}
                self.latest |= {subject: state for subject, state in found.items() if subject in watched}

    def _run(self) -> None:
        while True:
            time.sleep(PERIOD_S)
            if not self._streams:
                connection.close()
                continue
            close_old_connections()
            try:
                self.look()
            except Exception:
                # The database is away: the next second asks again, and pages ask for themselves.
                logger.exception("live_states_failed")
                connection.close()


WATCHER = Watcher()


def answer(request: HttpRequest, subject: str, states: States) -> StreamingHttpResponse:
    """The state as it is now, as the beginning of a stream."""
    state = encoded(states([subject])[subject])
    kept: Any = request.META.get("gunicorn.socket")
    # (The answer to a HEAD has no body, and its connection goes on.)
    if request.method == "GET" and hasattr(kept, "stream"):
        is_chunked = request.META.get("SERVER_PROTOCOL") == "HTTP/1.1"
        kept.stream = LiveStream(subject=subject, states=states, sent=state, is_chunked=is_chunked)
    response = StreamingHttpResponse(_begin(state), content_type="text/event-stream")
    response["Cache-Control"] = "no-store"
    response["X-Accel-Buffering"] = "no"  # nginx passes it on at once
    return response


def encoded(state: JsonObject) -> bytes:
    """A state as one event."""
    return f"event: account\ndata: {json.dumps(state, separators=(',', ':'))}\n\n".encode()


def _begin(state: bytes) -> Iterator[bytes]:
    yield f"retry: {RETRY_MS}\n\n".encode()
    yield state
