-- 00_schema: names that everything else lives under.

COMMENT ON SCHEMA prom IS 'promgres: Prometheus metrics in PostgreSQL';
GRANT USAGE ON SCHEMA prom TO PUBLIC;
