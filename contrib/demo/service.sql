-- The small business table that the demo joins metrics with.
CREATE TABLE service (job text PRIMARY KEY, team text NOT NULL, eur_per_gib numeric NOT NULL);
INSERT INTO service VALUES ('prometheus', 'observability', 4.20), ('node', 'platform', 1.50);

-- What Grafana's SQL data source connects as: it may read, nothing else.
CREATE ROLE grafana LOGIN PASSWORD :'password';
GRANT USAGE ON SCHEMA prom TO grafana;
GRANT SELECT ON ALL TABLES IN SCHEMA prom TO grafana;
GRANT SELECT ON service TO grafana;
