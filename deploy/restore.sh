#!/bin/sh
# Restore a dump into an empty database, and prove it: deploy/restore.sh FILE DATABASE_URL.
# Set MAINTENANCE=1 for the application first; afterwards `manage.py reconcile --repair` fetches what Stripe did since.
set -eu
[ $# -eq 2 ] || { echo "usage: deploy/restore.sh FILE DATABASE_URL" >&2; exit 2; }
tables=$("${PG_BIN:+$PG_BIN/}psql" --no-psqlrc --tuples-only --no-align --command \
    "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'" "$2")
[ "$tables" -eq 0 ] || { echo "That database has $tables tables. Restore into an empty one, and point the application there." >&2; exit 1; }
"${PG_BIN:+$PG_BIN/}pg_restore" --no-owner --no-privileges --exit-on-error --single-transaction --dbname="$2" "$1"
echo "Restored. Checking the ledger:"
DATABASE_URL="$2" "${PYTHON:-python}" manage.py audit_ledger
