"""python -m benchmarks.webhooks: how soon a webhook is acknowledged while Stripe itself cannot be reached.

gunicorn as deployed, PostgreSQL with fsync on, no worker, eight senders that keep their connections; each event is
signed and new. Printed are the percentiles of the time to the answer, and how many events were kept.
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
from pathlib import Path

import psycopg

from benchmarks.web import wait_until_ready
from sandbox import demo, environment
from sandbox.data_folder import DataFolder
from sandbox.environment import Ports
from sandbox.local_stripe.events import signature

SENDERS = 8


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.webhooks", description=__doc__)
    parser.add_argument("--events", type=int, default=4000, help="how many to send (default: 4000)")
    parser.add_argument("--port", type=int, default=8765)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tegoed-bench-") as folder:
        place, ports = DataFolder.at(folder), Ports(options.port, options.port + 1)  # nothing answers on the second
        with demo.servers(place) as result:
            variables = environment.build(place, ports, database_url=result.owner_url, redis_url=result.redis_url)
            subprocess.run([sys.executable, "manage.py", "migrate", "--verbosity", "0"], env=variables, check=True)
            command = [sys.executable, "-m", "gunicorn", "-c", "config/gunicorn.py", "--log-level", "error"]
            server = subprocess.Popen(command, env=variables)
            try:
                wait_until_ready(ports)
                share = options.events // SENDERS
                secret = variables["STRIPE_WEBHOOK_SECRETS"]
                with multiprocessing.get_context("spawn").Pool(SENDERS) as pool:
                    started = time.monotonic()
                    answers = pool.starmap(_send, [(ports.web, secret, share)] * SENDERS)
                    took_s = time.monotonic() - started
            finally:
                server.terminate()
                server.wait()
            with psycopg.connect(result.owner_url) as connection:
                (kept,) = connection.execute("SELECT count(*) FROM billing_inboxevent").fetchone() or (0,)
    waits_ms = sorted(wait for found in answers for wait in found)
    shown = statistics.quantiles(waits_ms, n=100)
    print(f"{os.cpu_count()} cores, {SENDERS} senders on them, {len(waits_ms) / took_s:.0f} events/s; {kept} kept.")
    print(f"Acknowledged within {shown[49]:.0f} ms (p50), {shown[94]:.0f} ms (p95), {shown[98]:.0f} ms (p99).")


def _send(port: int, secret: str, count: int) -> list[float]:
    """Send so many events one after the other; how long each answer took, in ms. Raises when one is refused."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    waits = []
    for _ in range(count):
        session = {"id": f"cs_{secrets.token_hex(8)}", "object": "checkout.session", "customer": "cus_1"}
        event = {"id": f"evt_{secrets.token_hex(8)}", "type": "checkout.session.completed", "livemode": False}
        body = json.dumps(event | {"created": int(time.time()), "data": {"object": session}})
        headers = {"Stripe-Signature": signature(secret, int(time.time()), body), "Content-Type": "application/json"}
        started = time.monotonic()
        connection.request("POST", "/api/webhooks/stripe", body, headers)
        answer = connection.getresponse()
        answer.read()
        waits.append((time.monotonic() - started) * 1000)
        if answer.status != http.client.OK:
            raise RuntimeError(f"refused with {answer.status}")
    connection.close()
    return waits


if __name__ == "__main__":
    sys.path.insert(0, str(Path.cwd()))
    main()
