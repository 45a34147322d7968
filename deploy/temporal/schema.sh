#!/bin/sh
# Makes Temporal's two databases, or brings them up to date: before its first start, and before that of a newer version.
set -eu
export SQL_PLUGIN=postgres12 SQL_HOST="${POSTGRES_ADDRESS%:*}" SQL_PORT="${POSTGRES_ADDRESS##*:}" \
  SQL_USER="$POSTGRES_USER" SQL_PASSWORD="$POSTGRES_PASSWORD"

for database in temporal temporal_visibility; do
  export SQL_DATABASE="$database"
  temporal-sql-tool create
  temporal-sql-tool setup-schema -v 0.0
  temporal-sql-tool update-schema --schema-name "postgresql/v12/${database#temporal_}"
done
