"""python -m tests.spender ACCOUNT PREFIX: a client that spends one credit after the other, until it is killed.

Says `try KEY` before each spend and `done KEY` once the ledger has answered. When the database goes away it tries
the same key again, as a client should.
"""

import sys
import time
import uuid

import django


def main() -> None:
    django.setup()
    from django.db import DatabaseError, connection

    from common import clock
    from credits import ledger

    account_id, prefix = uuid.UUID(sys.argv[1]), sys.argv[2]
    for number in range(1_000_000):
        key = f"{prefix}-{number}"
        print(f"try {key}", flush=True)
        while True:
            try:
                ledger.spend(account_id=account_id, amount=1, idempotency_key=key, now=clock.now())
            except DatabaseError:
                connection.close()
                time.sleep(0.05)
            else:
                break
        print(f"done {key}", flush=True)


if __name__ == "__main__":
    main()
