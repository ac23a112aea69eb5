"""`make demo` itself: it says what is wrong, stops without leaving anything behind, and goes on where it ended."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.conftest import ROOT, clean_environment, free_port, start_demo, stop_demo

pytestmark = pytest.mark.xdist_group("runner")


def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sandbox", *arguments]
    environment = clean_environment() | variables
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=60)


def processes_about(data: Path) -> list[str]:
    """The command lines of processes that name this data folder or were started with it."""
    result = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            reported = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
        except OSError:
            continue
        if str(data).encode() in reported:
            result.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
    return result


def test_a_demo_stops_cleanly_and_goes_on_where_it_ended(tmp_path: Path) -> None:
    data, port, stripe_port = tmp_path / "data", free_port(), free_port()
    first = start_demo(data, port, stripe_port)
    second_start = run("demo", "--data", str(data), "--port", str(free_port()), "--stripe-port", str(free_port()))
    assert second_start.returncode == 1
    assert "A demo is running on" in second_start.stderr
    audit = first.manage("audit_ledger")  # beside the running demo
    assert (audit.returncode, "0 disagreements" in audit.stdout) == (0, True), audit.stderr

    assert stop_demo(first) == 0
    assert processes_about(data) == []

    again = start_demo(data, port, stripe_port)
    assert again.told == first.told  # the same logins and keys
    again.process.send_signal(signal.SIGTERM)
    assert again.process.wait(40) == 0
    assert processes_about(data) == []
    assert json.loads((data / "demo.json").read_text()) == first.told
    # And on the data alone, nothing else running:
    assert "0 disagreements" in again.manage("audit_ledger").stdout
    assert processes_about(data) == []


def test_a_taken_port_is_said_so(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        result = run("demo", "--data", str(tmp_path / "d"), "--port", str(port), "--stripe-port", str(free_port()))

    assert result.returncode == 1
    assert f"Port {port} is taken. Choose others: make demo PORT=" in result.stderr


def test_a_live_key_is_refused_before_anything_starts(tmp_path: Path) -> None:
    arguments = ["demo", "--data", str(tmp_path / "d"), "--port", str(free_port()), "--stripe-port", str(free_port())]

    result = run(*arguments, STRIPE_SECRET_KEY="sk_live_" + "a" * 24)

    assert result.returncode == 1
    assert "STRIPE_SECRET_KEY holds a live Stripe key" in result.stderr
    assert processes_about(tmp_path) == []


def test_the_local_stripe_answers_this_machine_only(tmp_path: Path) -> None:
    port = free_port()
    files = ["--state", str(tmp_path / "stripe.sqlite3"), "--clock", str(tmp_path / "clock")]
    command = [sys.executable, "-m", "sandbox.local_stripe", "--port", str(port), *files]
    server = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 20
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5).close()
                break
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.1)
        foreign = urllib.request.Request(f"http://127.0.0.1:{port}/", headers={"Host": "evil.example"})
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(foreign, timeout=5)
        with refused.value as answer:
            assert answer.code == 403
        with pytest.raises(OSError, match="refused"), socket.socket() as probe:
            probe.connect((_own_address(), port))
    finally:
        server.terminate()
        server.wait(10)


def _own_address() -> str:
    """An address of this machine that is not loopback; loopback's second one where there is no network."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
            address: str = probe.getsockname()[0]
        except OSError:
            address = "127.0.0.2"
    return address if not address.startswith("127.0.0.1") else "127.0.0.2"
