#!/bin/sh
# Run once by the PostgreSQL image, on an empty data folder: the role that the application runs as. It owns nothing; the
# release step gives it its rights after each migration (manage.py grant_runtime_role).
set -eu
psql -v ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" --set password="$RUNTIME_PASSWORD" <<'SQL'
CREATE ROLE tegoed_app LOGIN PASSWORD :'password';
SQL
