"""python -m benchmarks.web: how gunicorn should serve. One spend over HTTP, in several set-ups, interleaved.

Each set-up serves the same embedded PostgreSQL (fsync on) and is driven by client processes that keep their
connections. Printed are ratios to the first set-up, the median of the rounds.
"""

import argparse
import http.client
import json
import multiprocessing
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from tqdm import tqdm

from sandbox import demo, environment
from sandbox.data_folder import DataFolder
from sandbox.environment import Ports

SETUPS = {
    "2 workers x 4 threads": ["--workers", "2", "--threads", "4"],
    "2 workers x 1 thread (sync)": ["--workers", "2", "--threads", "1", "--worker-class", "sync"],
    "2 workers x 2 threads": ["--workers", "2", "--threads", "2"],
    "2 workers x 8 threads": ["--workers", "2", "--threads", "8"],
    "4 workers x 2 threads": ["--workers", "4", "--threads", "2"],
    "1 worker x 8 threads": ["--workers", "1", "--threads", "8"],
}
CLIENTS = 8
START_TIMEOUT_S = 30


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.web", description=__doc__)
    parser.add_argument("--seconds", type=float, default=4, help="of each measurement (default: 4)")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each set-up (default: 3)")
    parser.add_argument("--port", type=int, default=8765)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tegoed-bench-") as folder:
        place, ports = DataFolder.at(folder), Ports(options.port, options.port + 1)
        with demo.servers(place) as result:
            variables = environment.build(place, ports, database_url=result.owner_url, redis_url=result.redis_url)
            seed = ["--data", folder, "--port", str(ports.web), "--stripe-port", str(ports.stripe)]
            subprocess.run([sys.executable, "-m", "sandbox.seed", *seed], env=variables, check=True)
            key = json.loads(place.demo.read_text())["service_api_key"]
            rates: dict[str, list[float]] = {name: [] for name in SETUPS}
            for _ in tqdm(range(options.rounds), unit="round"):
                for name, arguments in SETUPS.items():
                    rates[name].append(_measure(arguments, variables, ports, key, options.seconds))
    _print(rates)


def _measure(arguments: list[str], variables: dict[str, str], ports: Ports, key: str, seconds: float) -> float:
    command = [sys.executable, "-m", "gunicorn", "-c", "config/gunicorn.py", "--log-level", "error", *arguments]
    server = subprocess.Popen(command, env=variables)
    try:
        wait_until_ready(ports)
        accounts = [_funded(ports, key) for _ in range(CLIENTS)]
        with multiprocessing.get_context("spawn").Pool(CLIENTS) as pool:
            counts = pool.starmap(_drive, [(ports.web, key, account, seconds) for account in accounts])
    finally:
        server.terminate()
        server.wait()
    return sum(counts) / seconds


def _drive(port: int, key: str, account: str, seconds: float) -> int:
    """Spend one credit after the other over one connection; how many were answered with 201."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    result, started = 0, time.monotonic()
    while time.monotonic() - started < seconds:
        status, _ = _post(connection, "/api/v1/credits/spend", key, {"amount": 1, "account": account})
        result += status == 201  # noqa: PLR2004 - HTTP
    connection.close()
    return result


def _funded(ports: Ports, key: str) -> str:
    account = f"ext:{secrets.token_hex(6)}"
    connection = http.client.HTTPConnection("127.0.0.1", ports.web)
    body = {"account": account, "amount": 1_000_000, "reason": "Benchmark"}
    _post(connection, "/api/v1/credits/grants", key, body)
    connection.close()
    return account


def _post(connection: http.client.HTTPConnection, path: str, key: str, body: dict[str, Any]) -> tuple[int, bytes]:
    headers = {
        "Authorization": f"Bearer {key}",
        "Content-Type": "application/json",
        "Idempotency-Key": secrets.token_hex(12),
    }
    connection.request("POST", path, json.dumps(body), headers)
    answer = connection.getresponse()
    return answer.status, answer.read()


def wait_until_ready(ports: Ports) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            urllib.request.urlopen(f"{ports.base_url}/readyz", timeout=5).close()  # noqa: S310 - our own server
        except (urllib.error.URLError, OSError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return


def _print(rates: dict[str, list[float]]) -> None:
    first = statistics.median(next(iter(rates.values())))
    print(f"{os.cpu_count()} cores, {CLIENTS} clients; the first serves {first:.0f} spends/s here.\n")
    for name, result in rates.items():
        print(f"{name:32}{statistics.median(result) / first:6.2f}   ({min(result):.0f} to {max(result):.0f}/s)")


if __name__ == "__main__":
    sys.path.insert(0, str(Path.cwd()))
    main()
