-- What the demo and the compose file have beside the metrics: a small business table to join them with,
-- and a role for Grafana's SQL data source.

CREATE TABLE public.service (job text PRIMARY KEY, team text NOT NULL, eur_per_gib numeric NOT NULL);
INSERT INTO public.service VALUES ('prometheus', 'observability', 4.20), ('node', 'platform', 1.50);

CREATE ROLE grafana LOGIN PASSWORD :'password';
GRANT prom_reader TO grafana;
GRANT SELECT ON public.service TO grafana;
