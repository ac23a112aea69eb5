"""Accounts, their ids and their keys."""

import threading
import uuid
from datetime import datetime, timedelta

import pytest
from django.db import IntegrityError, connections, transaction
from hypothesis import given
from hypothesis import strategies as st

from accounts import keys, opening
from accounts.models import Account, ApiKey, Membership, Scope, User
from accounts.signals import account_opened
from common.public_ids import MalformedIdError, new_id, parse_id, public_id


@given(st.uuids())
def test_an_id_reads_back_as_what_it_was(identifier: uuid.UUID) -> None:
    assert parse_id("acc", public_id("acc", identifier)) == identifier


@given(st.uuids(), st.uuids())
def test_ids_sort_as_they_were_made(one: uuid.UUID, other: uuid.UUID) -> None:
    assert (public_id("txn", one) < public_id("txn", other)) == (one < other)


def test_later_ids_sort_later() -> None:
    created = [new_id() for _ in range(100)]

    assert sorted(created) == created


@given(st.text())
def test_what_is_no_id_is_refused(text: str) -> None:
    with pytest.raises(MalformedIdError):
        parse_id("acc", f"acc_{text[:25]}")


@pytest.mark.parametrize(
    "text", ["txn_" + "0" * 26, "acc_" + "z" * 26, "acc_" + "0" * 27, "acc_" + "A" * 26, "acc", ""]
)
def test_an_id_of_another_kind_or_shape_is_refused(text: str) -> None:
    with pytest.raises(MalformedIdError):
        parse_id("acc", text)


def test_a_user_gets_one_account_and_owns_it(ada: User, now: datetime) -> None:
    first, second = (opening.personal_account(user=ada, now=now) for _ in range(2))

    assert first == second
    assert Membership.objects.get(user=ada).role == "owner"


@pytest.mark.django_db(transaction=True)
def test_twenty_first_visits_at_once_open_one_account(ada: User, now: datetime) -> None:
    opened: list[Account] = []
    receiver = lambda **event: opened.append(event["account"])  # noqa: E731 - a signal keeps a reference
    account_opened.connect(receiver)

    def visit() -> None:
        opening.personal_account(user=ada, now=now)
        opening.external_account(subject="app-user-7", now=now)
        connections.close_all()

    threads = [threading.Thread(target=visit) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    account_opened.disconnect(receiver)

    assert (Account.objects.count(), len(opened)) == (2, 2)


def test_an_address_is_one_user_however_it_is_written(ada: User) -> None:
    assert User.objects.get_by_natural_key(" ADA@example.com") == ada
    with pytest.raises(IntegrityError), transaction.atomic():
        User.objects.create_user("Ada@Example.com")


def test_a_key_s_secret_is_nowhere_in_the_database(ada_account: Account, now: datetime) -> None:
    created = _key(ada_account, now)

    row = ApiKey.objects.filter(pk=created.key.pk).values().get()
    assert created.secret.startswith("tg_test_")
    assert (result := keys.find_key(created.secret)) is not None
    assert result.id == created.key.pk
    assert not any(created.secret[12:] in str(value) for value in row.values())


def test_an_account_key_may_not_grant(ada_account: Account, now: datetime) -> None:
    with pytest.raises(ValueError, match="credits:grant"):
        keys.create_key(account=ada_account, name="t", scopes=[Scope.CREDITS_GRANT], created_by=None, now=now)


def test_a_rotated_key_works_for_another_day(ada_account: Account, now: datetime) -> None:
    old = _key(ada_account, now)

    new = keys.rotate_key(key=old.key, created_by=None, now=now)

    old.key.refresh_from_db()
    assert old.key.expires_at == now + timedelta(hours=24)
    assert (new.key.scopes, new.key.expires_at) == (old.key.scopes, None)
    assert keys.working_keys(ada_account, now=now + timedelta(hours=25)).count() == 1


def test_there_are_only_so_many_keys(ada_account: Account, now: datetime, settings: object) -> None:
    settings.MAX_API_KEYS_PER_ACCOUNT = 1  # type: ignore[attr-defined]
    kept = _key(ada_account, now)
    with pytest.raises(keys.TooManyKeysError):
        _key(ada_account, now)

    keys.revoke_key(key=kept.key, now=now)

    assert _key(ada_account, now).key.pk


def _key(account: Account, now: datetime) -> keys.NewKey:
    return keys.create_key(account=account, name="t", scopes=keys.ACCOUNT_KEY_SCOPES, created_by=None, now=now)
