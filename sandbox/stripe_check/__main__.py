"""python -m sandbox.stripe_check: two rounds, one against the local Stripe and one against Stripe, and what differs.

Without a key only the local round is played. `--round` is how this program calls itself for one of them.
"""

import argparse
import os
import secrets
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

from sandbox.data_folder import DataFolder
from sandbox.postgres import Postgres
from sandbox.stripe_check.recording import Record, differences

LOCAL_KEY = "sk_test_tegoedlocalstripe000000000000"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m sandbox.stripe_check", description=__doc__)
    parser.add_argument("--key", default="", help="of Stripe's test mode (sk_test_… or rk_test_…)")
    parser.add_argument("--round", choices=["local", "stripe"], help=argparse.SUPPRESS)
    parser.add_argument("--record", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.round:
        return _round(options.round == "local", options.record)
    if options.key and not options.key.startswith(("sk_test_", "rk_test_")):
        print("This takes a key of Stripe's test mode (sk_test_… or rk_test_…). Nothing was done.", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="tegoed-check-") as folder:
        local = _play(Path(folder) / "local", "local", LOCAL_KEY)
        theirs = _play(Path(folder) / "stripe", "stripe", options.key) if options.key else None
    return _report(local, theirs)


def _play(folder: Path, which: str, key: str) -> Record:
    """One round in a process and a database of its own."""
    print(f"{'The local Stripe' if which == 'local' else 'Stripe, in test mode'}:", flush=True)
    place, out = DataFolder.at(folder), folder / "record.json"
    with Postgres(place) as postgres:
        postgres.create_database()
        variables = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("STRIPE_", "REDIS_"))},
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "SANDBOX": "1",
            "STRIPE_CHECK": "1",
            "SECRET_KEY": secrets.token_urlsafe(50),
            "DATABASE_URL": postgres.url(),
            "CLOCK_FILE": str(place.clock),
            "BROKER_FOLDER": str(place.broker),
            "EMAIL_URL": "memorymail://",
            "LOG_LEVEL": "ERROR",
            "STRIPE_SECRET_KEY": key,
            "STRIPE_WEBHOOK_SECRETS": "whsec_unused",
        }
        place.broker.mkdir(exist_ok=True)
        command = [sys.executable, "-m", "sandbox.stripe_check", "--round", which, "--record", str(out)]
        subprocess.run([sys.executable, "manage.py", "migrate", "--verbosity", "0"], env=variables, check=True)
        subprocess.run(command, env=variables, check=True)
    return Record.from_json(out.read_text())


def _round(is_local: bool, out: Path) -> int:
    import django

    if is_local:
        os.environ["STRIPE_API_BASE"] = _start_local()
    django.setup()
    from sandbox.stripe_check import rounds

    record = Record()
    rounds.play(record, is_local=is_local, say=lambda line: print(line, flush=True))
    out.write_text(record.as_json())
    return 0


def _start_local() -> str:
    """The local Stripe behind a socket of its own; its address."""
    from sandbox.clock import SandboxClock
    from sandbox.local_stripe.server import Listening
    from sandbox.local_stripe.store import Store
    from sandbox.local_stripe.whole import LocalStripe

    local = LocalStripe(store=Store(), clock=SandboxClock(Path(os.environ["CLOCK_FILE"])))
    server: Any = Listening(local, port=0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}"


def _report(local: Record, theirs: Record | None) -> int:
    failures = [f"local Stripe: {line}" for line in local.failures]
    if theirs is not None:
        failures += [f"Stripe: {line}" for line in theirs.failures]
        result = list(differences(theirs, local))
        print(f"\nWhere Stripe's answers differ from the local Stripe's ({len(result)}):")
        for line in result:
            print(f"  {line}")
    else:
        print("\nTo play the same against Stripe itself: make stripe-check STRIPE_TEST_KEY=rk_test_…")
    for line in failures:
        print(f"FAILED  {line}")
    print(f"{len(failures)} failures." if failures else "All went as told.")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
