-- Blocks of ids by metric, for scripts: \i'd, in schema pg_temp.

-- Metrics of few series share blocks; this one gets one of its own, which rows are looked at or damaged in.
CREATE PROCEDURE pg_temp.own_block(VARIADIC names text[]) LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO prom.shard VALUES (0) ON CONFLICT DO NOTHING;
	FOR i IN 1..cardinality(names) LOOP
		WITH h AS (UPDATE prom.shard SET next_block = next_block + 1 WHERE shard = 0 RETURNING (next_block - 1) * 64 AS first)
		INSERT INTO prom.metric (shard, name, next_sid, end_sid) SELECT 0, names[i], h.first, h.first + 64 FROM h
		ON CONFLICT (shard, name) DO UPDATE SET next_sid = EXCLUDED.next_sid, end_sid = EXCLUDED.end_sid;
	END LOOP;
END $$;

CREATE TEMP VIEW metric_block AS SELECT DISTINCT shard, labels['__name__'] AS name, prom._block(sid) AS block FROM prom.series;
