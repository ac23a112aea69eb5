#!/bin/sh
# Dump the database to a file: deploy/backup.sh DATABASE_URL FILE. Runs while the application runs; the dump is of one moment.
set -eu
[ $# -eq 2 ] || { echo "usage: deploy/backup.sh DATABASE_URL FILE" >&2; exit 2; }
umask 077
"${PG_BIN:+$PG_BIN/}pg_dump" --format=custom --no-owner --no-privileges --file="$2.part" "$1"
mv "$2.part" "$2"
"${PG_BIN:+$PG_BIN/}pg_restore" --list "$2" > /dev/null # a file that cannot be read is no backup
echo "Kept in $2 ($(wc -c < "$2") bytes)."
