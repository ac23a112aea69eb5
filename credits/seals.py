"""Seals: a hash chain over the ledger, by which any later change of it can be found, also one by a superuser.

A seal takes up every transaction, with its entries, that no seal has taken up before, and keeps a digest of each. Its
head is the SHA-256 of the head before it and of what it covers; its signature takes SECRET_KEY as well, so that whoever
has only the database cannot make another chain. Published heads (credits.seal_publishing) bind whoever has both.

A transaction is digested as RFC 8785 (JSON Canonicalization Scheme) writes it: one object with sorted names, its
entries inside. Nothing of this is on the way of a spend.
"""

import hashlib
import hmac
import json
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.db.models import TextField
from django.db.models.functions import Cast

from credits.models import Entry, Seal, Transaction

# An id is made some moments before its row is committed, and servers' clocks differ: so long a row may come late.
LATE = timedelta(minutes=15)
DIGEST_BYTES = 16  # of each transaction: enough that nobody finds another with the same
LEAF_BYTES = 16 + DIGEST_BYTES
BATCH = 2_000
MOST_AT_ONCE = 200_000  # transactions of one seal: some MB
LOCK = 0x5EA15  # of PostgreSQL's advisory locks, within a transaction
FIELDS = (
    "id", "account_id", "kind", "amount", "balance_after", "debt_change", "reverses_id", "hold_id", "side",
    "idempotency_key", "fingerprint", "feature", "quantity", "description", "actor", "created_at", "due_at",
    # JSON as PostgreSQL writes it: no number of it is read, and so none is rounded.
    "metadata_text", "usage_text",
)  # fmt: skip

Leaf = tuple[uuid.UUID, bytes]


@dataclass(frozen=True, kw_only=True)
class Breach:
    """One thing that is not as it was sealed."""

    what: str
    subject: str

    def __str__(self) -> str:
        return f"{self.what}: {self.subject}"


def seal(*, now: datetime) -> Seal | None:
    """Seal what is not sealed yet, at most MOST_AT_ONCE transactions; None when there is nothing.

    Of two at once, the second waits and finds nothing.
    """
    with transaction.atomic(), _long_statements():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
        before = Seal.objects.order_by("-number").first()
        since = _settled(before) if before else None
        known = (leaf[0] for row in _seals_since(before) for leaf in row_leaves(row)) if before else ()
        sealed = {identifier for identifier in known if since is None or identifier >= since}
        fresh = list(islice((leaf for leaf in leaves(since=since) if leaf[0] not in sealed), MOST_AT_ONCE))
        if not fresh:
            return None
        row = Seal(
            number=before.number + 1 if before else 1,
            leaves=b"".join(identifier.bytes + digest for identifier, digest in fresh),
            transactions=len(fresh),
            previous=bytes(before.head) if before else bytes(32),
            sealed_at=datetime.fromtimestamp(time.time(), UTC),
            clock_at=now,
        )
        row.head = head_of(row)
        row.signature = _signature(bytes(row.head), settings.SECRET_KEY)
        row.save(force_insert=True)
        return row


def breaches(*, published: Mapping[int, str] | None = None) -> Iterator[Breach]:
    """Whatever was changed, removed or put in since it was sealed. `published` has heads (in hex) by their number."""
    with transaction.atomic(), _long_statements():
        yield from _chain_breaches(published or {})
        yield from _row_breaches()


def leaves(*, since: uuid.UUID | None = None) -> Iterator[Leaf]:
    """The digest of each transaction with its entries, in the order of their ids; entries of no transaction as well."""
    as_text = {f"{name}_text": Cast(name, TextField()) for name in ("metadata", "usage")}
    rows = Transaction.objects.annotate(**as_text).order_by("id").values_list(*FIELDS)
    entries = Entry.objects.order_by("transaction_id", "grant_id").values_list(
        "transaction_id", "grant_id", "account_id", "amount"
    )
    if since is not None:
        rows, entries = rows.filter(id__gte=since), entries.filter(transaction_id__gte=since)
    following = _Following(entries.iterator(BATCH))
    for row in rows.iterator(BATCH):
        for orphan, parts in following.before(row[0]):
            yield orphan, _digest({"id": str(orphan), "entries": parts})
        yield row[0], _digest({**dict(zip(FIELDS, map(_plain, row), strict=True)), "entries": following.of(row[0])})
    for orphan, parts in following.before(None):
        yield orphan, _digest({"id": str(orphan), "entries": parts})


def row_leaves(row: Seal) -> Iterator[Leaf]:
    """What a seal has kept of each transaction."""
    kept = bytes(row.leaves)
    for start in range(0, len(kept), LEAF_BYTES):
        yield uuid.UUID(bytes=kept[start : start + 16]), kept[start + 16 : start + LEAF_BYTES]


def head_of(row: Seal) -> bytes:
    """The SHA-256 of what a seal says: where it stands in the chain, when it was made, and what it covers."""
    said = {
        "number": row.number,
        "previous": bytes(row.previous).hex(),
        "transactions": row.transactions,
        "leaves": hashlib.sha256(bytes(row.leaves)).hexdigest(),
        "sealed_at": row.sealed_at.astimezone(UTC).isoformat(),
    }
    return hashlib.sha256(canonical(said)).digest()


def canonical(value: Any) -> bytes:
    """RFC 8785's form of a value of objects, lists, texts, whole numbers and nulls, with names in ASCII.

    For these, sorted names, no spaces and JSON's shortest escapes are all that it asks for.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


class _Following:
    """Entries in the order of their transactions, taken up as the transactions pass."""

    def __init__(self, rows: Iterable[tuple[uuid.UUID, uuid.UUID, uuid.UUID, int]]) -> None:
        self._rows = iter(rows)
        self._next = next(self._rows, None)

    def of(self, transaction_id: uuid.UUID) -> list[list[Any]]:
        """The entries of this transaction, as they are digested."""
        result = []
        while self._next is not None and self._next[0] == transaction_id:
            _, grant_id, account_id, amount = self._next
            result.append([str(grant_id), str(account_id), amount])
            self._next = next(self._rows, None)
        return result

    def before(self, transaction_id: uuid.UUID | None) -> Iterator[tuple[uuid.UUID, list[list[Any]]]]:
        """Entries whose transaction is not there, up to this one."""
        while self._next is not None and (transaction_id is None or self._next[0] < transaction_id):
            yield self._next[0], self.of(self._next[0])


def _chain_breaches(published: Mapping[int, str]) -> Iterator[Breach]:
    """Whether the seals themselves are those that were made, in their order, all of them."""
    number, previous = 0, bytes(32)
    for row in Seal.objects.order_by("number").iterator(1):
        number += 1
        if row.number != number:
            yield Breach(what="seals are missing", subject=f"{number} to {row.number - 1}")
            number = row.number
        elif bytes(row.previous) != previous:
            yield Breach(what="seal does not follow the one before it", subject=str(row.number))
        head = bytes(row.head)
        if head_of(row) != head or not _is_signed(row) or not row.leaves:
            yield Breach(what="seal was changed", subject=str(row.number))
        if published.get(row.number, head.hex()) != head.hex():
            yield Breach(what="seal is not the one that was published", subject=str(row.number))
        previous = head
    for missing in sorted(set(published) - set(range(1, number + 1))):
        yield Breach(what="published seal is missing", subject=str(missing))


def _row_breaches() -> Iterator[Breach]:
    """Whether every sealed transaction is as it was, and none came in between."""
    last = Seal.objects.order_by("-number").first()
    if last is None:
        return
    settled = _settled(last)
    future = _bound(datetime.fromtimestamp(time.time(), UTC) + LATE)
    sealed: dict[uuid.UUID, bytes] = {}
    rows = _sealed()
    ahead = next(rows, None)
    for identifier, digest in leaves():
        # Seals follow each other in time, but what came late is in a later one: those are remembered until they pass.
        while ahead is not None and ahead[0] <= identifier:
            sealed[ahead[0]] = ahead[1]
            ahead = next(rows, None)
        kept = sealed.pop(identifier, None)
        if kept is None:
            if identifier < settled or identifier > future or identifier.version != 7:  # noqa: PLR2004 - UUIDv7
                yield Breach(what="transaction was put in after it was sealed", subject=str(identifier))
        elif not hmac.compare_digest(kept, digest):
            yield Breach(what="transaction or its entries were changed", subject=str(identifier))
        for missing in [known for known in sealed if known < identifier]:
            del sealed[missing]
            yield Breach(what="transaction was removed", subject=str(missing))
    for missing in [*sealed, *([ahead[0]] if ahead else []), *(identifier for identifier, _ in rows)]:
        yield Breach(what="transaction was removed", subject=str(missing))


def _sealed() -> Iterator[Leaf]:
    """What all seals have kept, in the order of the ids. Those that came late are few, and sorted in."""
    late: list[Leaf] = []
    reached: uuid.UUID | None = None
    for row in Seal.objects.order_by("number").iterator(1):
        result = list(row_leaves(row))
        late += [leaf for leaf in result if reached is not None and leaf[0] < reached]
        reached = max([*([reached] if reached else []), *(leaf[0] for leaf in result)], default=None)
    late.sort()
    waiting = iter(late)
    next_late = next(waiting, None)
    passed: uuid.UUID | None = None
    for row in Seal.objects.order_by("number").iterator(1):
        for leaf in row_leaves(row):
            if passed is not None and leaf[0] < passed:
                continue  # among the late ones
            while next_late is not None and next_late[0] < leaf[0]:
                yield next_late
                next_late = next(waiting, None)
            passed = leaf[0]
            yield leaf
    while next_late is not None:
        yield next_late
        next_late = next(waiting, None)


def _seals_since(before: Seal) -> Iterable[Seal]:
    """The seals that may hold what could be found again: of the last while before this one."""
    earlier = Seal.objects.filter(sealed_at__gte=before.sealed_at - 2 * LATE).order_by("number")
    one_more = Seal.objects.filter(number__lt=before.number).order_by("-number")[:1]
    return {row.number: row for row in [*one_more, *earlier, before]}.values()


def _settled(last: Seal) -> uuid.UUID:
    """Below this id, everything was sealed with this seal or before it."""
    latest = max((identifier for identifier, _ in row_leaves(last)), default=uuid.UUID(int=0))
    return min(latest, _bound(last.sealed_at - LATE))


def _digest(said: Mapping[str, Any]) -> bytes:
    return hashlib.sha256(canonical(said)).digest()[:DIGEST_BYTES]


def _plain(value: Any) -> Any:
    """A column as it is digested: whole numbers, texts and nulls."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, bytes | memoryview):
        return bytes(value).hex()
    return str(value) if isinstance(value, uuid.UUID) else value


def _bound(moment: datetime) -> uuid.UUID:
    """The smallest UUIDv7 of a moment."""
    return uuid.UUID(int=(max(0, int(moment.timestamp() * 1000)) << 80) | (7 << 76) | (2 << 62))


def _signature(head: bytes, secret: str) -> bytes:
    key = hmac.digest(secret.encode(), b"tegoed.credits.seals", "sha256")
    return hmac.digest(key, head, "sha256")


def _is_signed(row: Seal) -> bool:
    """By SECRET_KEY, or by one of those before it."""
    secrets = (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
    return any(hmac.compare_digest(_signature(bytes(row.head), secret), bytes(row.signature)) for secret in secrets)


class _long_statements:  # noqa: N801 - used like a function
    """Reading a large ledger takes longer than a request may."""

    def __enter__(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL statement_timeout = 0")

    def __exit__(self, *_about: object) -> None:
        if not connection.needs_rollback:
            with connection.cursor() as cursor:
                cursor.execute("SET LOCAL statement_timeout = %s" % int(settings.STATEMENT_TIMEOUT_MS))  # noqa: UP031
