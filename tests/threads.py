"""Several callers at the same moment, each with a database connection of its own."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from django.db import connections

T = TypeVar("T")


def together(count: int, call: Callable[[int], T]) -> list[T]:
    """What `call(0)`, `call(1)`, ... answer when all of them begin at once."""
    start = threading.Barrier(count)

    def run(number: int) -> T:
        start.wait()
        try:
            return call(number)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))
