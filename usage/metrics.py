"""What was spent and refused, counted for Prometheus. The ledger knows it too; a graph wants it by the second."""

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import Counter

from credits.errors import CreditsError

CALLS = Counter("tegoed_ledger_calls", "Spends, holds and captures, by how they ended.", ["operation", "outcome"])
CREDITS = Counter("tegoed_credits_spent", "Credits spent and captured.")

DONE = {operation: CALLS.labels(operation, "done") for operation in ("spend", "hold", "capture")}


@contextmanager
def counted(operation: str) -> Iterator[None]:
    """Around a call of the ledger: counts it as done, or as refused by the refusal's code."""
    try:
        yield
    except CreditsError as refusal:
        CALLS.labels(operation, refusal.code).inc()
        raise
    DONE[operation].inc()
