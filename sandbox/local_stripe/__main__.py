"""python -m sandbox.local_stripe: run the local Stripe on this machine."""

import argparse
from pathlib import Path

from django.conf import settings

from sandbox.clock import SandboxClock
from sandbox.local_stripe import events, server
from sandbox.local_stripe.store import Store
from sandbox.local_stripe.whole import LocalStripe


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m sandbox.local_stripe", description=__doc__)
    parser.add_argument("--port", type=int, default=12111, help="loopback port to answer on (default: 12111)")
    parser.add_argument("--state", type=Path, required=True, help="file that keeps its objects")
    parser.add_argument("--clock", type=Path, required=True, help="file that keeps how far the clock is ahead")
    parser.add_argument("--webhook-url", help="deliver every event to this address")
    parser.add_argument("--webhook-secret", help="and sign it with this secret")
    options = parser.parse_args()
    settings.configure()  # the templates ask for it; nothing is set
    stripe = LocalStripe(
        store=Store(options.state),
        clock=SandboxClock(options.clock),
        public_url=f"http://127.0.0.1:{options.port}",
    )
    if options.webhook_url:
        events.listen(stripe, url=options.webhook_url, secret=options.webhook_secret or "")
    server.serve(stripe, port=options.port)


if __name__ == "__main__":
    main()
