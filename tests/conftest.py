"""Whole-system tests: the demo as a newcomer starts it, driven over HTTP and in a real browser."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.conf import settings
from playwright.sync_api import Browser, Page, sync_playwright

from sandbox.postgres import binaries

ROOT = Path(__file__).resolve().parent.parent
CHROMIUM = "/usr/bin/chromium"
CHROMIUM_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
READY_TIMEOUT_S = 90
STOP_TIMEOUT_S = 40


@dataclass
class Demo:
    """A running demo: what its demo.json says, its process, and what it printed."""

    data: Path
    process: subprocess.Popen[bytes]
    log: Path
    told: dict[str, Any]

    @property
    def base_url(self) -> str:
        return str(self.told["base_url"])

    @property
    def stripe_url(self) -> str:
        return str(self.told["stripe_url"])

    def manage(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a management command on the demo's data, as `make manage` does."""
        command = [sys.executable, "-m", "sandbox", "manage", "--data", str(self.data), "--", *arguments]
        return subprocess.run(command, cwd=ROOT, env=clean_environment(), capture_output=True, text=True, check=False)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def clean_environment() -> dict[str, str]:
    """The environment without what the test run itself set: a demo brings its own servers."""
    ours = ("DATABASE_URL", "REDIS_URL", "STRIPE_", "SANDBOX", "SECRET_KEY", "BASE_URL", "DJANGO_", "EMAIL_URL", "LOG_")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}


def start_demo(data: Path, port: int, stripe_port: int) -> Demo:
    """Start a demo and wait until it says that it is ready."""
    log = data.parent / f"{data.name}.log"
    command = [sys.executable, "-m", "sandbox", "demo", "--data", str(data)]
    command += ["--port", str(port), "--stripe-port", str(stripe_port)]
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=ROOT, env=clean_environment(), stdout=output, stderr=output)
    deadline = time.monotonic() + READY_TIMEOUT_S
    while "Ready." not in log.read_text():
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            raise AssertionError(f"the demo did not start:\n{log.read_text()}")
        time.sleep(0.1)
    return Demo(data, process, log, json.loads((data / "demo.json").read_text()))


def stop_demo(demo: Demo) -> int:
    """Stop a demo as Ctrl-C does; answers its exit code."""
    demo.process.send_signal(signal.SIGINT)
    return demo.process.wait(STOP_TIMEOUT_S)


@pytest.fixture(scope="session")
def tables(django_db_setup: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dump of a migrated database, for servers of a test's own: a tenth of what migrating takes."""
    dump = tmp_path_factory.mktemp("tables") / "tables.sql"
    url = urlsplit(settings.DATABASE_URL)._replace(path=f"/{settings.DATABASES['default']['NAME']}").geturl()
    command = [str(binaries() / "pg_dump"), "--no-owner", "--file", str(dump), url]
    subprocess.run(command, check=True)
    return dump


@pytest.fixture(scope="session")
def demo() -> Iterator[Demo]:
    """One demo for all whole-system tests of this process."""
    with tempfile.TemporaryDirectory(prefix="tegoed-demo-") as folder:
        running = start_demo(Path(folder) / "data", free_port(), free_port())
        yield running
        stop_demo(running)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium. Missing, it is a failure in CI and a skip with its reason elsewhere.

    It ends with its module: Playwright keeps an event loop on this thread, and Django refuses queries beside one.
    """
    if not Path(CHROMIUM).exists():
        reason = f"{CHROMIUM} is not installed (Debian's package: chromium)"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A fresh visitor. A page that breaks its own security policy, or throws, fails the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    visited = context.new_page()
    complaints: list[str] = []
    visited.on("pageerror", lambda error: complaints.append(str(error)))
    visited.on(
        "console", lambda line: complaints.append(f"{line.text} {line.location}") if line.type == "error" else None
    )
    yield visited
    context.close()
    assert complaints == []
