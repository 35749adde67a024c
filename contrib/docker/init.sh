#!/bin/sh
# Run once by the image when it makes the cluster: the extension, the role Grafana reads with, and the
# small business table of the dashboard and the README.
set -eu
psql -X -v ON_ERROR_STOP=1 -v password="${GRAFANA_DB_PASSWORD:?}" -U "$POSTGRES_USER" -d postgres <<'SQL'
CREATE EXTENSION promgres;
CREATE TABLE service (job text PRIMARY KEY, team text NOT NULL, eur_per_gib numeric NOT NULL);
INSERT INTO service VALUES ('prometheus', 'observability', 4.20), ('node', 'platform', 1.50);
CREATE ROLE grafana LOGIN PASSWORD :'password';
GRANT USAGE ON SCHEMA prom TO grafana;
GRANT SELECT ON ALL TABLES IN SCHEMA prom TO grafana;
GRANT SELECT ON service TO grafana;
SQL
