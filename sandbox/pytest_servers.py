"""A pytest plugin: real PostgreSQL and Redis for the test run, before Django reads its settings.

`DATABASE_URL` and `REDIS_URL`, when set, win. The first process starts the servers; xdist's workers inherit them.
"""

import atexit
import os
import secrets
import shutil
import tempfile
from contextlib import ExitStack

import pytest

from sandbox.data_folder import DataFolder
from sandbox.postgres import Postgres
from sandbox.redis_server import Redis

_servers = ExitStack()
atexit.register(_servers.close)  # also when pytest itself fails to start

# A test run may lose its database: speed instead of durability. (The kill tests start their own, with fsync.)
FAST = [
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
    "jit=off",
    "wal_level=minimal",
    "max_wal_senders=0",
]

OTHER_DATABASES = 15  # Redis has sixteen by itself

TEST_ENVIRONMENT = {
    "DJANGO_SETTINGS_MODULE": "config.settings",
    "SANDBOX": "1",
    "BASE_URL": "http://127.0.0.1:8000",
    "ALLOWED_HOSTS": "127.0.0.1,localhost,testserver",
    "STRIPE_SECRET_KEY": "sk_test_tegoedlocalstripe000000000000",
    "STRIPE_WEBHOOK_SECRETS": "whsec_tests_only",
    "STRIPE_API_BASE": "http://127.0.0.1:1",  # nothing listens there: tests answer in-process
    "EMAIL_URL": "memorymail://",
    "LOG_LEVEL": "WARNING",
}


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests() -> None:
    """Runs before pytest-django looks for the settings."""
    for name, value in TEST_ENVIRONMENT.items():
        os.environ[name] = value
    os.environ.setdefault("SECRET_KEY", secrets.token_urlsafe(50))
    if worker := os.environ.get("PYTEST_XDIST_WORKER"):
        _use_own_redis_database(worker)
        return
    folder = tempfile.mkdtemp(prefix="tegoed-tests-")
    _servers.callback(shutil.rmtree, folder, ignore_errors=True)  # after the servers have stopped
    place = DataFolder.at(folder)
    if not os.environ.get("DATABASE_URL"):
        postgres = _servers.enter_context(Postgres(place, settings=FAST))
        postgres.create_database()
        os.environ["DATABASE_URL"] = postgres.url()
    if not os.environ.get("REDIS_URL"):
        os.environ["REDIS_URL"] = _servers.enter_context(Redis(place)).url


def _use_own_redis_database(worker: str) -> None:
    """Emptying the cache empties a whole Redis database: each of xdist's workers has its own."""
    url = os.environ.get("REDIS_URL", "")
    if url.startswith("unix://") and "?" not in url:
        os.environ["REDIS_URL"] = f"{url}?db={1 + int(worker.removeprefix('gw')) % OTHER_DATABASES}"


def pytest_report_header() -> str:
    return f"database: {_described('DATABASE_URL')}, redis: {_described('REDIS_URL')}"


def _described(name: str) -> str:
    return os.environ.get(name, "").rpartition("@")[2] or "none"
