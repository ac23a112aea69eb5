"""Fixtures for every app's tests: real PostgreSQL, the local Stripe in-process, a clock that stands still."""

import gc
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
import stripe
from django.conf import settings
from django.core.management import call_command
from django.db import DEFAULT_DB_ALIAS, connections
from django.test import TransactionTestCase
from django.utils import translation
from pytest_django import DjangoDbBlocker, Settings

from accounts.models import Account, User
from accounts.opening import personal_account
from billing.setup import permissions
from billing.stripe import stripe_client
from branding import brand
from common import clock
from sandbox.clock import SandboxClock
from sandbox.emptying import empty_database
from sandbox.local_stripe.store import Store
from sandbox.local_stripe.transport import InProcessClient
from sandbox.local_stripe.whole import LocalStripe
from usage import rate_card


def pytest_configure() -> None:
    """Tests make many users and many clients: neither should take its real time."""
    # Passwords of tests are no secrets, and the real hash takes a fifth of a second each.
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    # Static files are looked up when they are asked for, not all of them for each test's client.
    settings.WHITENOISE_AUTOREFRESH = True


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Groups first: each runs on one worker, from beginning to end, and should not begin when the others are done.

    (pytest-django puts tests without a database last, and these are among them.)
    """
    items.sort(key=lambda item: item.get_closest_marker("xdist_group") is None)


def pytest_collection_finish() -> None:
    """What was imported stays: the garbage collector need not look through it again and again (a tenth of a run)."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


@pytest.fixture(scope="session")
def django_db_setup(
    testrun_uid: str, worker_id: str, django_test_environment: None, django_db_blocker: DjangoDbBlocker
) -> Iterator[None]:
    """Each worker's database is a copy of one that the first of them migrated."""
    template, mine = f"tegoed_template_{testrun_uid}", f"test_tegoed_{worker_id}"
    with psycopg.connect(settings.DATABASE_URL, autocommit=True) as server:
        server.execute("SELECT pg_advisory_lock(hashtext('tegoed-template'))")
        if not server.execute("SELECT 1 FROM pg_database WHERE datname = %s", [template]).fetchone():
            _make_template(server, template, django_db_blocker)
        server.execute(f"DROP DATABASE IF EXISTS {mine}")
        server.execute(f"CREATE DATABASE {mine} TEMPLATE {template}")
        server.execute("SELECT pg_advisory_unlock(hashtext('tegoed-template'))")
        _use_database(mine)
        yield
        with django_db_blocker.unblock():
            connections[DEFAULT_DB_ALIAS].close()
        server.execute(f"DROP DATABASE {mine} WITH (FORCE)")


def _make_template(server: psycopg.Connection, name: str, blocker: DjangoDbBlocker) -> None:
    for (earlier,) in server.execute("SELECT datname FROM pg_database WHERE datname LIKE 'tegoed\\_template\\_%'"):
        server.execute(f"DROP DATABASE {earlier}")  # of a run before, on a server that stays
    server.execute(f"CREATE DATABASE {name}_unfinished")
    _use_database(f"{name}_unfinished")
    with blocker.unblock():
        call_command("migrate", verbosity=0, interactive=False)
        connections[DEFAULT_DB_ALIAS].close()
    server.execute(f"ALTER DATABASE {name}_unfinished RENAME TO {name}")


def _use_database(name: str) -> None:
    settings.DATABASES[DEFAULT_DB_ALIAS]["NAME"] = connections[DEFAULT_DB_ALIAS].settings_dict["NAME"] = name


@pytest.fixture(scope="session", autouse=True)
def emptying_is_quick() -> None:
    """Only tables that a test committed rows to are emptied, instead of truncating all of them."""
    TransactionTestCase._fixture_teardown = lambda _self: empty_database()  # type: ignore[attr-defined]  # Django's own


@pytest.fixture(autouse=True)
def no_language_of_another_test() -> Iterator[None]:
    """A client that asked for a page in Dutch leaves its thread in it."""
    yield
    translation.deactivate()


@pytest.fixture(autouse=True)
def no_rate_card_of_another_test() -> None:
    rate_card.clear_cache()


@pytest.fixture(autouse=True)
def no_brand_of_another_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the brand had been looked up a moment ago: which test is the first to show a page does not matter."""
    monkeypatch.setattr(brand, "_remembered", (float("inf"), brand.from_settings()))


@pytest.fixture(autouse=True)
def threads_leave_no_connection(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A live server's threads end with their clients; a connection that they kept would keep the database in use."""
    if "live_server" in request.fixturenames:
        monkeypatch.setitem(connections.settings[DEFAULT_DB_ALIAS], "CONN_MAX_AGE", 0)


@pytest.fixture
def clock_file(tmp_path: Path, settings: Settings) -> Path:
    """The file through which the application's clock and the local Stripe's travel together.

    Each test begins at noon in Amsterdam: a few hours on, it is still the same day for everybody, whenever it runs.
    """
    path = tmp_path / "clock"
    settings.CLOCK_FILE = str(path)
    moment = datetime.now(UTC)
    SandboxClock(path).advance(int((11 * 3600 - moment.hour * 3600 - moment.minute * 60 - moment.second) % 86_400))
    return path


# What only tests and the sandbox ask for.
OF_TESTS = re.compile(
    r"/v1/(test_helpers/.*|payment_methods/\w+/(at|de)tach|payment_intents/\w+/confirm|coupons(/\w+)?|promotion_codes"
    r"|credit_notes(/\w+/void)?)"
)


class WithPermissions(InProcessClient):
    """Holds every call of the whole suite to the permissions that the documentation asks of a restricted key."""

    def request(self, method: str, url: str, headers: Any, post_data: Any = None, **usage: Any) -> Any:
        path = urlsplit(url).path
        if permissions.needed(method.upper(), path) is None and not OF_TESTS.fullmatch(path):
            raise AssertionError(f"{method} {path} needs a permission that billing/setup/permissions.py does not name")
        return super().request(method, url, headers, post_data, **usage)


@pytest.fixture
def local_stripe(clock_file: Path) -> Iterator[LocalStripe]:
    """A fresh Stripe account, answering the official client in this process."""
    local = LocalStripe(store=Store(), clock=SandboxClock(clock_file))
    stripe.default_http_client = WithPermissions(local)
    yield local
    stripe_client.configure()


@pytest.fixture
def now() -> datetime:
    """An ordinary moment: Saturday 21 November 2026, noon in Amsterdam."""
    return datetime(2026, 11, 21, 11, 0, tzinfo=UTC)


@pytest.fixture
def ada(db: None) -> User:
    return User.objects.create_user("ada@example.com", "correct horse battery", name="Ada")


@pytest.fixture
def ada_account(ada: User, now: datetime) -> Account:
    """Ada's own account; without a catalogue it has no free credits."""
    return personal_account(user=ada, now=now)


@pytest.fixture
def present(clock_file: Path) -> datetime:
    """What the application's clock says right now."""
    return clock.now()
