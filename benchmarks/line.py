"""A client that costs next to nothing: raw requests over a connection that is kept, so that the server is measured."""

import contextlib
import socket
import time
from collections.abc import Iterator


class Line:
    """One connection to a server on this machine."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, bytes]:
        """The status and the body of the answer."""
        head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n"
        for name, value in headers.items():
            head += f"{name.replace('_', '-')}: {value}\r\n"
        self._socket.sendall(head.encode() + b"\r\n" + body)
        result = b""
        while b"\r\n\r\n" not in result:
            result += self._more()
        head_of_answer, _, rest = result.partition(b"\r\n\r\n")
        length = int(head_of_answer.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        while len(rest) < length:
            rest += self._more()
        return int(head_of_answer.split(b" ", 2)[1]), rest

    def close(self) -> None:
        self._socket.close()

    def _more(self) -> bytes:
        part = self._socket.recv(65_536)
        if not part:
            raise ConnectionError("the server hung up")
        return part


@contextlib.contextmanager
def connected(port: int, *, patience_s: float = 30) -> Iterator[Line]:
    """A line, once there is somebody at the other end."""
    deadline = time.monotonic() + patience_s
    while True:
        try:
            line = Line(port)
            break
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
    try:
        yield line
    finally:
        line.close()
