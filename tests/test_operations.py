"""What an operator relies on: it does not start unsafely, its probes say the truth, its logs hold no secret."""

import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from unittest.mock import patch

import psycopg
import pytest
from django.conf import settings
from django.core.cache import cache
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from pytest_django import Settings

from accounts.models import Account
from common import clock
from common.version import VERSION
from config import guards, health, heartbeats, logs, sentry
from credits import ledger
from credits.errors import InsufficientCreditsError
from credits.models import Source
from credits.money import Money
from sandbox import environment
from sandbox.data_folder import DataFolder
from sandbox.environment import LiveKeyError, Ports
from sandbox.postgres import Postgres, binaries
from usage.spending import Work, spend

ROOT = Path(__file__).resolve().parent.parent
PRODUCTION = {
    "SECRET_KEY": "k" * 25 + "0123456789abcdefghijklmnopqrstuvwxyz",
    "ALLOWED_HOSTS": "credits.example.com",
    "BASE_URL": "https://credits.example.com",
    "DATABASE_URL": "postgres://tegoed@db/tegoed",
    "REDIS_URL": "redis://redis/0",
    "STRIPE_SECRET_KEY": "sk_live_" + "a" * 24,
    "STRIPE_WEBHOOK_SECRETS": "whsec_a,whsec_b",
}


def manage(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """manage.py as a deployment runs it, with these variables only."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env=kept | variables,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def database_of_a_deployment() -> Iterator[str]:
    """A database in which the application is neither owner nor superuser."""
    url = os.environ["DATABASE_URL"]
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE ROLE tegoed_check LOGIN")
        yield url.replace("//postgres@", "//tegoed_check@")
        connection.execute("DROP ROLE tegoed_check")


def test_the_deployment_check_is_clean_in_production(database_of_a_deployment: str) -> None:
    production = PRODUCTION | {"DATABASE_URL": database_of_a_deployment}
    result = manage("check", "--deploy", "--fail-level", "WARNING", **production)

    assert (result.returncode, result.stderr) == (0, "")
    assert "no issues" in result.stdout


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"SECRET_KEY": ""}, "SECRET_KEY"),
        ({"SECRET_KEY": "short"}, "SECRET_KEY"),
        ({"SECRET_KEY": "django-insecure-" + "x" * 50}, "SECRET_KEY"),
        ({"ALLOWED_HOSTS": "*"}, "ALLOWED_HOSTS"),
        ({"ALLOWED_HOSTS": ""}, "ALLOWED_HOSTS"),
        ({"BASE_URL": "http://credits.example.com"}, "BASE_URL"),
        ({"DATABASE_URL": "sqlite:///db.sqlite3"}, "DATABASE_URL"),
        ({"REDIS_URL": ""}, "REDIS_URL"),
        ({"STRIPE_SECRET_KEY": ""}, "STRIPE_SECRET_KEY"),
        ({"STRIPE_WEBHOOK_SECRETS": ""}, "STRIPE_WEBHOOK_SECRETS"),
        ({"STRIPE_API_BASE": "http://127.0.0.1:12111"}, "STRIPE_API_BASE"),
        ({"CLOCK_FILE": "/tmp/clock"}, "CLOCK_FILE"),
        ({"DEBUG": "1"}, "DEBUG"),
        ({"SANDBOX": "1"}, "SANDBOX"),
        ({"PAYMENT_PROVIDERS": "stripe,payconiq"}, "PAYCONIQ_API_KEY"),
        ({"PAYMENT_PROVIDERS": "paypal"}, "PAYMENT_PROVIDERS"),
        ({"ADMIN_API_KEY": "a" * 31}, "ADMIN_API_KEY"),
    ],
    ids=str,
)
def test_an_unsafe_value_stops_the_start_and_is_named(change: dict[str, str], named: str) -> None:
    result = manage("check", **PRODUCTION | change)

    assert result.returncode != 0
    assert "Tegoed will not start" in result.stderr
    assert named in result.stderr
    assert "sk_live_a" not in result.stderr


def test_the_sandbox_talks_to_this_machine_only() -> None:
    sandbox = guards.Deployment(
        debug=False,
        sandbox=True,
        secret_key="x",
        allowed_hosts=[],
        base_url="https://credits.example.com",
        database_url="postgres:///x",
        redis_url="",
        stripe_secret_key="sk_test_x",
        stripe_webhook_secrets=["whsec"],
        stripe_api_base="https://api.stripe.com",
        clock_file="",
    )

    named = [problem.split()[0] for problem in guards.problems(sandbox)]

    assert named == ["STRIPE_API_BASE", "BASE_URL"]


@pytest.mark.parametrize("name", ["STRIPE_SECRET_KEY", "ANY_OTHER_NAME"])
def test_the_demo_refuses_a_live_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "sk_live_" + "a" * 24)

    with pytest.raises(LiveKeyError, match=name):
        environment.build(DataFolder.at(tmp_path), Ports(8000, 12111), database_url="", redis_url="")


def test_the_process_is_up_whatever_else_is_not(client: Client) -> None:
    assert client.get("/healthz", headers={"Host": "any.example"}).json() == {"status": "ok", "version": VERSION}


def test_ready_means_database_migrations_and_redis(client: Client, db: None) -> None:
    answer = client.get("/readyz")

    assert (answer.status_code, answer.json()["status"]) == (200, "ok")


@pytest.mark.parametrize("part", ["_database", "_migrations"])
def test_a_part_that_is_missing_makes_it_not_ready(client: Client, db: None, part: str) -> None:
    with patch.object(health, part, return_value="cannot be reached"):
        answer = client.get("/readyz")

    assert (answer.status_code, answer.json()[part.lstrip("_")]) == (503, "cannot be reached")


def test_a_redis_that_does_not_answer_is_told(client: Client, db: None, settings: object) -> None:
    """Docs: without Redis rate limits are off and sweeps find the work. A host that stops us would stop that, too."""
    settings.REDIS_URL = "redis://127.0.0.1:1/0"  # type: ignore[attr-defined]

    answer = client.get("/readyz")

    assert (answer.status_code, answer.json()["status"]) == (200, "degraded")
    assert answer.json()["redis"] == "cannot be reached"


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
@pytest.mark.parametrize("host", ["10.0.0.3:8000", "127.0.0.1", "shop.example"])
def test_probe_of_a_host_asks_an_address_of_its_own_over_plain_http(
    db: None, settings: Settings, path: str, host: str
) -> None:
    """As Kubernetes, load balancers and compose's healthcheck do: the pod's address, no TLS, no Host of the site."""
    settings.SECURE_SSL_REDIRECT, settings.ALLOWED_HOSTS = True, ["shop.example"]

    answer = Client().get(path, headers={"Host": host})

    assert answer.status_code == (401 if path == "/metrics" else 200)
    assert Client().get("/pricing", headers={"Host": "shop.example"}).status_code == 301


def test_every_answer_names_its_request(client: Client, db: None) -> None:
    assert len(client.get("/").headers["Request-Id"]) > 10


def test_no_secret_is_written_to_the_logs(capsys: pytest.CaptureFixture[str]) -> None:
    handler = logging.StreamHandler()
    configured = logs.configure(level="INFO", as_json=True)["formatters"]["lines"]
    factory = configured.pop("()")
    handler.setFormatter(factory(**configured))
    logger = logging.Logger("canary")
    logger.addHandler(handler)

    logger.warning("key sk_live_canary123 and %s", "tg_test_canary123", extra={"password": "canary123"})
    logger.error("it broke", exc_info=ValueError("whsec_canary123"))

    written = capsys.readouterr().err
    assert "canary123" not in written
    assert [json.loads(line)["level"] for line in written.splitlines()] == ["warning", "error"]


def test_only_signed_callbacks_do_without_csrf() -> None:
    exempt = {
        path
        for path, view in _views(get_resolver())
        if getattr(view, "csrf_exempt", False) and not hasattr(view, "cls")  # DRF's own check CSRF for sessions
    }

    stripe = {"api/webhooks/stripe", "api/billing/webhook", "api/payments/webhook"}  # one view at three addresses
    assert exempt == {*stripe, "api/webhooks/payconiq", "api/webhooks/identity/<str:name>"}


def test_pages_carry_their_security_headers(client: Client, db: None) -> None:
    headers = client.get("/").headers

    policy = headers["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert "default-src 'self'" in policy
    assert (headers["X-Frame-Options"], headers["X-Content-Type-Options"]) == ("DENY", "nosniff")
    assert headers["Referrer-Policy"] == "same-origin"


def test_nothing_of_djstripe_s_is_mounted() -> None:
    assert not [path for path, view in _views(get_resolver()) if "djstripe.views" in getattr(view, "__module__", "")]
    assert settings.ROOT_URLCONF == "config.urls"


def _views(resolver: URLResolver, prefix: str = "") -> list[tuple[str, object]]:
    result: list[tuple[str, object]] = []
    for pattern in resolver.url_patterns:
        path = prefix + str(pattern.pattern)
        if isinstance(pattern, URLPattern):
            result.append((path, pattern.callback))
        else:
            result += _views(pattern, path)
    return result


class TestMetrics:
    @pytest.fixture(autouse=True)
    def own_cache(self, settings: Settings) -> None:
        settings.CACHES = {
            "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "metrics"}
        }
        settings.METRICS_TOKEN = "t" * 20
        cache.clear()

    def read(self, client: Client) -> dict[str, float]:
        answer = client.get("/metrics", headers={"Authorization": f"Bearer {settings.METRICS_TOKEN}"})
        assert answer.status_code == 200
        lines = [line for line in answer.content.decode().splitlines() if line and not line.startswith("#")]
        return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines}

    def test_spends_refusals_and_what_is_owed_are_counted(self, client: Client, ada_account: Account) -> None:
        ledger.grant(
            account_id=ada_account.pk, amount=10, source=Source.PURCHASE, source_key="t", paid=Money(500, "eur"),
            now=clock.now(),
        )  # fmt: skip
        before = self.read(client)
        work = Work(amount=4)
        for number in (1, 1, 2, 3):
            try:
                spend(account=ada_account, work=work, idempotency_key=f"k{number}", actor="t", now=clock.now())
            except InsufficientCreditsError:
                continue
        after = self.read(client)

        def rose(name: str) -> float:
            return after.get(name, 0) - before.get(name, 0)

        assert rose("tegoed_credits_spent_total") == 8
        assert rose('tegoed_ledger_calls_total{operation="spend",outcome="done"}') == 3
        assert rose('tegoed_ledger_calls_total{operation="spend",outcome="insufficient_credits"}') == 1
        assert after['tegoed_owed_credits{currency="eur"}'] in (10, 2)
        assert rose('tegoed_requests_total{method="GET",route="none",status="200"}') >= 0
        assert {"tegoed_holds_open", "tegoed_alerts_open", "tegoed_webhook_lag_seconds"} <= after.keys()
        assert 'tegoed_queue_age_seconds{queue="inbox"}' in after

    def test_a_job_that_ended_well_is_remembered(self, client: Client, db: None) -> None:
        assert not any("tegoed_job_age_seconds" in name for name in self.read(client))

        heartbeats.record(sender=type("Task", (), {"name": "credits.tasks.expire_credits"}))
        heartbeats.record(sender=type("Task", (), {"name": "not.a.job"}))

        result = [name for name in self.read(client) if "tegoed_job_age_seconds" in name]
        assert result == ['tegoed_job_age_seconds{job="expire_credits"}']

    def test_the_dashboard_file_asks_for_metrics_that_there_are(self, client: Client, db: None) -> None:
        panels = json.loads((ROOT / "deploy" / "grafana" / "tegoed.json").read_text())["panels"]
        fields = {name for panel in panels for target in panel["targets"] for name in NAME.findall(target["expr"])}
        answer = client.get("/metrics", headers={"Authorization": f"Bearer {settings.METRICS_TOKEN}"}).content.decode()
        declared = set(re.findall(r"# TYPE (\w+) ", answer))

        assert len(fields) > 10
        assert {
            name for name in fields if not any(name.startswith(known.removesuffix("_total")) for known in declared)
        } == set()


NAME = re.compile(r"\btegoed_\w+")
CANARIES = ["sk_live_" + "c" * 24, "whsec_" + "c" * 24, "tg_live_" + "c" * 40]


def test_what_goes_to_sentry_holds_no_secret() -> None:
    event = {
        "message": f"failed with {CANARIES[0]}",
        "extra": {"password": "hunter2", "list": [CANARIES[1], {"Authorization": "Bearer x"}]},
        "request": {
            "headers": [("Cookie", "sessionid=1")],
            "url": f"https://x/?k={CANARIES[2]}",
            "cookies": {"cookie": "c"},
        },
    }

    reported = json.dumps(sentry.scrub(event, None))

    assert not any(secret in reported for secret in [*CANARIES, "hunter2", "Bearer x"])
    assert "failed with sk_live_***" in reported


def test_every_variable_is_in_the_docs_and_no_other() -> None:
    named = set(re.findall(r'env\.\w+\(\s*"(\w+)"', (ROOT / "config" / "settings.py").read_text()))
    named |= set(re.findall(r'environ\.get\("(\w+)"', (ROOT / "config" / "gunicorn.py").read_text()))
    reported = set()
    for line in (ROOT / "docs" / "settings.md").read_text().splitlines():
        if line.startswith("| `"):
            reported |= set(re.findall(r"`([A-Z][A-Z0-9_]+)`", line.split("|")[1]))

    assert len(named) > 40
    assert (named - reported, reported - named) == (set(), set())


def test_a_backup_is_restored_and_the_ledger_agrees(tmp_path: Path) -> None:
    with Postgres(DataFolder.at(tmp_path / "data")) as server:
        server.create_database()
        url, other = server.url(), server.url("copy")
        variables = environment.build(
            DataFolder.at(tmp_path / "data"), Ports(8000, 12111), database_url=url, redis_url=""
        )
        run = partial(subprocess.run, cwd=ROOT, capture_output=True, text=True, check=False)
        tools = {**variables, "PG_BIN": str(binaries()), "PYTHON": sys.executable}
        assert run([sys.executable, "manage.py", "migrate", "-v0"], env=variables).returncode == 0
        fill = """
from common import clock; from accounts.models import Account; from credits import ledger
now = clock.now(); account = Account.objects.create(name="A")
ledger.grant(account_id=account.pk, amount=9, source="bonus", source_key="x", now=now)
ledger.spend(account_id=account.pk, amount=4, idempotency_key="k", now=now)
"""
        filled = run([sys.executable, "manage.py", "shell", "-c", fill], env=variables)
        assert filled.returncode == 0, filled.stderr

        kept = run(["deploy/backup.sh", url, str(tmp_path / "dump")], env=tools)
        assert kept.returncode == 0, kept.stderr
        assert (tmp_path / "dump").stat().st_mode & 0o077 == 0
        run([str(binaries() / "psql"), url, "-c", "CREATE DATABASE copy"], env=tools)
        result = run(["deploy/restore.sh", str(tmp_path / "dump"), other], env=tools)
        assert result.returncode == 0, result.stdout + result.stderr
        again = run(["deploy/restore.sh", str(tmp_path / "dump"), other], env=tools)
        assert (again.returncode, "Restore into an empty one" in again.stderr) == (1, True)
        left = run([str(binaries() / "psql"), other, "-Atc", "SELECT balance FROM credits_wallet"], env=tools)
        assert left.stdout.strip() == "5"
