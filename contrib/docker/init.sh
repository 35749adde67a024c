#!/bin/sh
# Run once by the image when it makes the cluster: the extension, and what the demo has beside it.
set -eu
psql -X -v ON_ERROR_STOP=1 -v password="${GRAFANA_DB_PASSWORD:?}" -U "$POSTGRES_USER" -d postgres \
	-c 'CREATE EXTENSION promgres' -c 'CREATE ROLE anonymous IN ROLE prom_reader, prom_writer' -f /usr/local/share/promgres/service.sql
