"""The hash chain: whatever is changed, removed or put in after it was sealed is found, whoever did it."""

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction
from pytest_django import Settings

from accounts.models import Account
from common.public_ids import new_id
from credits import seal_publishing, seals, tasks
from credits.models import Entry, Seal, Source, Transaction
from credits.tests.test_spending import give, spend
from outbox import safe_http
from outbox.models import Alert


@pytest.fixture
def ledger(ada_account: Account, now: datetime) -> Account:
    """A grant and five spends, sealed."""
    give(ada_account, 20, now, Source.PURCHASE)
    for number in range(5):
        spend(ada_account, 2, now, key=f"k{number}")
    seals.seal(now=now)
    return ada_account


@contextmanager
def superuser() -> Iterator[Any]:
    """Past every trigger, as only a superuser can."""
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
        yield cursor
        cursor.execute("RESET session_replication_role")


def found() -> list[str]:
    return [breach.what for breach in seals.breaches()]


CHANGED, REMOVED = "transaction or its entries were changed", "transaction was removed"
PUT_IN = "transaction was put in after it was sealed"


def test_what_nobody_touched_is_as_it_was_sealed(ledger: Account, now: datetime) -> None:
    assert found() == []
    assert Seal.objects.get().transactions == 6
    assert seals.seal(now=now) is None


@pytest.mark.parametrize(
    ("statement", "breach"),
    [
        ("UPDATE credits_transaction SET amount = amount - 1 WHERE id = %s", CHANGED),
        ("UPDATE credits_transaction SET description = 'other' WHERE id = %s", CHANGED),
        ("UPDATE credits_transaction SET metadata = '{\"a\": 1.00}' WHERE id = %s", CHANGED),
        ("UPDATE credits_transaction SET created_at = created_at + interval '1 microsecond' WHERE id = %s", CHANGED),
        ("UPDATE credits_transaction SET account_id = gen_random_uuid() WHERE id = %s", CHANGED),
        ("UPDATE credits_transaction SET actor = 'user:1' WHERE id = %s", CHANGED),
        ("UPDATE credits_entry SET amount = amount - 1 WHERE transaction_id = %s", CHANGED),
        ("DELETE FROM credits_entry WHERE transaction_id = %s", CHANGED),
        ("DELETE FROM credits_transaction WHERE id = %s", CHANGED),  # its entries are left, of no transaction
    ],
)
def test_a_change_by_a_superuser_is_found(ledger: Account, statement: str, breach: str) -> None:
    victim = Transaction.objects.filter(kind="spend").order_by("id")[2]
    with superuser() as cursor:
        cursor.execute(statement, [victim.pk])

    assert [(row.what, row.subject) for row in seals.breaches()] == [(breach, str(victim.pk))]


@pytest.mark.parametrize("place", [0, 2, 5])
def test_a_transaction_that_is_gone_with_its_entries_is_found(ledger: Account, place: int) -> None:
    victim = Transaction.objects.order_by("id")[place].pk
    with superuser() as cursor:
        cursor.execute("DELETE FROM credits_entry WHERE transaction_id = %s", [victim])
        cursor.execute("DELETE FROM credits_transaction WHERE id = %s", [victim])

    assert [(row.what, row.subject) for row in seals.breaches()] == [(REMOVED, str(victim))]


def test_an_empty_ledger_under_seals_is_found(ledger: Account) -> None:
    with superuser() as cursor:
        cursor.execute("DELETE FROM credits_entry")
        cursor.execute("DELETE FROM credits_transaction")

    assert found() == [REMOVED] * 6


@pytest.mark.parametrize(
    "identifier", [uuid.UUID("01900000-0000-7000-8000-000000000001"), uuid.UUID(int=(2**128) - 1), uuid.uuid4()]
)
def test_a_transaction_of_another_time_is_found(ledger: Account, now: datetime, identifier: uuid.UUID) -> None:
    row = Transaction.objects.filter(kind="spend").first()
    assert row is not None
    with superuser():
        Transaction.objects.create(
            id=identifier, account_id=row.account_id, kind="spend", amount=-1, balance_after=0, created_at=now
        )

    assert [(found.what, found.subject) for found in seals.breaches()] == [(PUT_IN, str(identifier))]


def test_an_entry_that_was_put_in_is_found(ledger: Account) -> None:
    spent = Transaction.objects.filter(kind="spend").first()
    granted = Transaction.objects.get(kind="grant")
    assert spent is not None
    grant_id = Entry.objects.get(transaction=granted).grant_id
    with superuser() as cursor:
        cursor.execute("DELETE FROM credits_entry WHERE transaction_id = %s", [spent.pk])
        cursor.execute(
            "INSERT INTO credits_entry (transaction_id, grant_id, account_id, amount) VALUES (%s, %s, %s, -1)",
            [spent.pk, grant_id, spent.account_id],
        )

    assert found() == [CHANGED]


def test_what_came_since_is_no_breach_and_is_sealed_next(ledger: Account, now: datetime) -> None:
    spend(ledger, 1, now, key="later")
    assert found() == []

    second = seals.seal(now=now)

    assert second is not None
    assert (second.number, second.transactions) == (2, 1)
    assert found() == []


def test_a_row_that_was_committed_late_is_sealed_with_the_next(ledger: Account, now: datetime) -> None:
    """Its id is older than the seal's last, as that of a transaction which took a while."""
    first = Transaction.objects.order_by("id").first()
    assert first is not None
    late = uuid.UUID(int=first.pk.int - 1)
    Transaction.objects.create(
        id=late, account_id=first.account_id, kind="adjust", amount=-1, balance_after=0, created_at=now
    )
    assert found() == []

    seals.seal(now=now)

    assert found() == []
    with superuser() as cursor:
        cursor.execute("UPDATE credits_transaction SET amount = -2 WHERE id = %s", [late])
    assert found() == [CHANGED]


def test_a_large_ledger_is_sealed_in_parts(
    ada_account: Account, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seals, "MOST_AT_ONCE", 3)
    give(ada_account, 20, now)
    for number in range(6):
        spend(ada_account, 1, now, key=f"k{number}")

    created = []
    while (row := seals.seal(now=now)) is not None:
        created.append(row.transactions)
        assert found() == []

    assert created == [3, 3, 1]


@pytest.mark.parametrize(
    ("statement", "breach"),
    [
        ("UPDATE credits_seal SET leaves = leaves || leaves WHERE number = 1", "seal was changed"),
        ("UPDATE credits_seal SET sealed_at = now() WHERE number = 1", "seal was changed"),
        ("UPDATE credits_seal SET signature = signature || 'x' WHERE number = 2", "seal was changed"),
        ("UPDATE credits_seal SET head = sha256('x') WHERE number = 1", "seal does not follow the one before it"),
        ("DELETE FROM credits_seal WHERE number = 1", "seals are missing"),
    ],
)
def test_a_seal_that_was_changed_is_found(ledger: Account, now: datetime, statement: str, breach: str) -> None:
    spend(ledger, 1, now, key="later")
    seals.seal(now=now)
    with superuser() as cursor:
        cursor.execute(statement)

    assert breach in found()


def test_a_new_chain_without_the_secret_key_is_found(ledger: Account, settings: Settings) -> None:
    """Whoever has the database alone can compute heads, and cannot sign them."""
    row = Seal.objects.get()
    row.sealed_at += timedelta(seconds=1)
    row.head = seals.head_of(row)
    row.signature = seals._signature(bytes(row.head), "a guess")
    with superuser():
        Seal.objects.filter(pk=1).update(sealed_at=row.sealed_at, head=row.head, signature=row.signature)

    assert found() == ["seal was changed"]


def test_forged_chain_differs_from_the_published_heads(
    ledger: Account, now: datetime, tmp_path: Path, settings: Settings
) -> None:
    settings.SEAL_FILE = str(tmp_path / "heads")
    seal_publishing.publish(Seal.objects.get(), now=now)
    with superuser() as cursor:
        cursor.execute("UPDATE credits_transaction SET amount = -3 WHERE kind = 'spend'")
        cursor.execute("DELETE FROM credits_seal")
    seals.seal(now=now)
    assert found() == []

    with pytest.raises(CommandError, match="1 differences"):
        call_command("audit_ledger", "--verify-seals", stdout=StringIO())


def test_sealing_stops_if_the_published_chain_is_another(
    ledger: Account, now: datetime, settings: Settings, tmp_path: Path
) -> None:
    """A superuser changes a row, removes the seals that cover it, and lets the application seal what is there now."""
    settings.SEAL_FILE = str(tmp_path / "heads.txt")
    seal_publishing.publish(Seal.objects.get(), now=now)
    spend(ledger, 1, now, key="more")
    with superuser() as cursor:
        cursor.execute("UPDATE credits_transaction SET amount = 20000 WHERE kind = 'grant'")
        cursor.execute("DELETE FROM credits_seal")

    tasks.seal_ledger()

    assert not Seal.objects.exists()
    assert Alert.objects.filter(kind=Alert.Kind.LEDGER, subject="tampering").exists()
    with pytest.raises(CommandError, match="Seal 1 is not the one that was published"):
        call_command("seal_ledger")
    with pytest.raises(CommandError, match="differences"):
        call_command("audit_ledger", "--verify-seals", stdout=StringIO())


def test_second_head_or_missing_seal_file_is_a_breach(
    ledger: Account, now: datetime, settings: Settings, tmp_path: Path
) -> None:
    path = tmp_path / "heads.txt"
    settings.SEAL_FILE = str(path)
    with pytest.raises(CommandError, match="is not there, and the ledger has seals"):
        call_command("audit_ledger", "--verify-seals")
    seal_publishing.publish(Seal.objects.get(), now=now)
    with path.open("a") as file:
        file.write(f"1 {'0' * 64} 2026-01-01T00:00:00+00:00\n")

    with pytest.raises(CommandError, match="another head for seal 1"):
        call_command("audit_ledger", "--verify-seals")
    tasks.audit_ledger()

    assert Alert.objects.filter(kind=Alert.Kind.LEDGER, subject="tampering").exists()


def test_the_nightly_audit_compares_with_what_was_published(
    ledger: Account, now: datetime, settings: Settings, tmp_path: Path
) -> None:
    settings.SEAL_FILE = str(tmp_path / "heads.txt")
    seal_publishing.publish(Seal.objects.get(), now=now)
    with superuser() as cursor:
        cursor.execute("DELETE FROM credits_seal")

    tasks.audit_ledger()

    assert Alert.objects.filter(kind=Alert.Kind.LEDGER, subject="tampering").exists()


def test_a_seal_of_nothing_is_found_and_stops_nobody(ledger: Account, now: datetime) -> None:
    last = Seal.objects.get()
    Seal.objects.create(
        number=2, leaves=b"", transactions=0, previous=last.head, head=b"x" * 32, signature=b"x" * 32,
        sealed_at=now, clock_at=now,
    )  # fmt: skip
    spend(ledger, 1, now, key="more")

    assert "seal was changed" in found()
    assert seals.seal(now=now) is not None


def test_a_rotated_secret_key_still_vouches(ledger: Account, settings: Settings) -> None:
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "n" * 50, [settings.SECRET_KEY]
    assert found() == []
    settings.SECRET_KEY_FALLBACKS = []
    assert found() == ["seal was changed"]


def test_seals_cannot_be_changed(ledger: Account) -> None:
    for statement in ("UPDATE credits_seal SET number = 9", "DELETE FROM credits_seal", "TRUNCATE credits_seal"):
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement)


def test_the_commands_say_what_they_found(ledger: Account, now: datetime) -> None:
    out = StringIO()
    call_command("seal_ledger", stdout=out)
    call_command("audit_ledger", "--verify-seals", stdout=out)
    assert "sealed already" in out.getvalue()
    assert "as it was sealed: 1 seals" in out.getvalue()
    victim = Transaction.objects.filter(kind="spend").first()
    assert victim is not None
    with superuser() as cursor:
        cursor.execute("UPDATE credits_transaction SET amount = -9 WHERE id = %s", [victim.pk])

    out = StringIO()
    with pytest.raises(CommandError, match="1 differences") as failure:
        call_command("audit_ledger", "--verify-seals", "--json", stdout=out)

    assert failure.value.returncode == 1
    assert json.loads(out.getvalue()) == {"what": CHANGED, "subject": str(victim.pk)}


def test_a_head_that_cannot_be_told_is_an_alert(ledger: Account, now: datetime, settings: Settings) -> None:
    settings.SEAL_FILE = "/nowhere/heads"

    seal_publishing.publish(Seal.objects.get(), now=now)

    assert Alert.objects.get().kind == Alert.Kind.LEDGER


def test_heads_are_told_by_mail_and_read_back(
    ledger: Account, now: datetime, settings: Settings, tmp_path: Path, mailoutbox: list[Any]
) -> None:
    settings.SEAL_FILE, settings.SEAL_EMAILS = str(tmp_path / "heads"), ["auditor@example.com"]
    row = Seal.objects.get()

    seal_publishing.publish(row, now=now)

    assert bytes(row.head).hex() in mailoutbox[0].body
    assert seal_publishing.read_heads(settings.SEAL_FILE) == {1: bytes(row.head).hex()}
    (tmp_path / "heads").write_text("1 nonsense\n")
    with pytest.raises(seal_publishing.HeadsFileError, match="Line 1"):
        seal_publishing.read_heads(settings.SEAL_FILE)


def test_the_canonical_form_is_that_of_rfc_8785() -> None:
    """Its section 3.2.2.2 and 3.2.3, for the kinds of values that are digested."""
    value = {"z": 1, "a": 'euro € "quoted" \\ / \x0f\n', "b": [None, -5, "\u2028"]}

    assert (
        seals.canonical(value) == '{"a":"euro € \\"quoted\\" \\\\ / \\u000f\\n","b":[null,-5,"\u2028"],"z":1}'.encode()
    )


def test_ids_bound_their_moment(now: datetime) -> None:
    import time
    from datetime import UTC

    before = seals._bound(datetime.fromtimestamp(time.time() - 1, UTC))
    after = seals._bound(datetime.fromtimestamp(time.time() + 1, UTC))
    assert before < new_id() < after


def test_receiver_that_refuses_a_head_is_an_alert(
    ledger: Account, now: datetime, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A notary that answers 500 has kept nothing."""
    settings.SEAL_WEBHOOK_URL = "https://notary.example.com/"
    refused = safe_http.Answer(status_code=500, text="", duration_ms=1)
    monkeypatch.setattr(safe_http, "post", lambda *_about, **_how: refused)

    seal_publishing.publish(Seal.objects.get(), now=now)

    assert "500" in Alert.objects.get(subject="seals").detail
