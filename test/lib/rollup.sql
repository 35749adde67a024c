-- What rollups should be, in SQL, from the raw samples as they are stored: \i'd, in schema pg_temp.

-- Each sample once, the later row winning; "live": no stale marker.  IS TRUE: as a join the planner would take them for few.
CREATE FUNCTION pg_temp.raw(metrics text) RETURNS TABLE (shard int2, sid int4, t_ms int8, value float8, histogram prom.histogram, day int8, live bool)
LANGUAGE sql AS $$
	SELECT DISTINCT ON (w.shard, s.sid, s.t_ms) w.shard, s.sid, s.t_ms, s.value, s.histogram, (floor((s.t_ms - 1) / 86400000.0) * 86400000)::int8,
		s.histogram IS NOT NULL OR float8send(s.value) <> '\x7ff0000000000002'
	FROM prom.warm w CROSS JOIN prom.samples(w.data) s
	WHERE ((w.shard, s.sid) IN (SELECT m.shard, m.sid FROM prom.series m WHERE m.labels['__name__'] ~ metrics)) IS TRUE ORDER BY w.shard, s.sid, s.t_ms, w.seq DESC $$;

-- Points of floats, of windows of so many seconds; NaN by bits, as it compares equal.
CREATE FUNCTION pg_temp.expected(metrics text, width int) RETURNS TABLE (shard int2, sid int4, part int2, day int8, t_ms int8, value float8)
LANGUAGE sql AS $$
	WITH raw AS MATERIALIZED (
		SELECT r.*, (ceil(r.t_ms / (width * 1000.0)) * width * 1000)::int8 AS stamp FROM pg_temp.raw(metrics) r
	), live AS MATERIALIZED (
		SELECT r.*, lag(r.t_ms) OVER w AS before_ms, lag(r.stamp) OVER w AS before_stamp, lag(r.value) OVER w AS before,
			row_number() OVER w = 1 AS first_of_day,
			first_value(r.value) OVER (PARTITION BY r.shard, r.sid, r.stamp ORDER BY r.t_ms DESC) AS final
		FROM raw r WHERE r.live WINDOW w AS (PARTITION BY r.shard, r.sid, r.day ORDER BY r.t_ms)
	), last AS MATERIALIZED (
		SELECT shard, sid, day, max(t_ms) AS t_ms FROM raw GROUP BY shard, sid, day, stamp
		UNION SELECT shard, sid, day, max(t_ms) FROM live GROUP BY shard, sid, day, stamp
		UNION SELECT shard, sid, day, t_ms FROM live WHERE first_of_day
	), drops AS (
		SELECT l.*, coalesce(sum(l.before) OVER (w ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS earlier,
			lead(l.t_ms) OVER w IS NULL AS last_drop
		FROM live l WHERE l.value < l.before AND l.before <> 'NaN' WINDOW w AS (PARTITION BY l.shard, l.sid, l.stamp ORDER BY l.t_ms)
	), reset AS (
		SELECT shard, sid, day, before_ms AS t_ms, before + earlier AS value FROM drops WHERE last_drop AND before_stamp = stamp
		UNION ALL SELECT shard, sid, day, t_ms, value FROM drops WHERE last_drop AND (before + earlier <= final OR final = 'NaN')
	)
	SELECT shard, sid, 1::int2, day, t_ms, r.value FROM last l JOIN raw r USING (shard, sid, day, t_ms)
	UNION ALL SELECT shard, sid, 2, day, t_ms, r.value FROM reset r LEFT JOIN last l USING (shard, sid, day, t_ms) WHERE l.t_ms IS NULL
	UNION ALL SELECT shard, sid, part, day, stamp, value FROM (
		SELECT shard, sid, day, stamp, count(*)::float8 AS n, sum(value) AS total,
			coalesce(min(value) FILTER (WHERE value <> 'NaN'), 'NaN') AS least, coalesce(max(value) FILTER (WHERE value <> 'NaN'), 'NaN') AS greatest, min(final) AS final
		FROM live GROUP BY shard, sid, day, stamp) x,
		LATERAL (VALUES (3::int2, n), (4, total), (5, CASE WHEN final = 'NaN' OR least < final THEN least END),
			(6, CASE WHEN final = 'NaN' OR greatest > final THEN greatest END)) v(part, value)
	WHERE v.value IS NOT NULL AND NOT (part > 4 AND v.value = 'NaN') $$;

CREATE FUNCTION pg_temp.stored(metrics text, width int)
RETURNS TABLE (shard int2, sid int4, part int2, day int8, t_ms int8, value float8, histogram prom.histogram)
LANGUAGE sql AS $$
	SELECT r.shard, s.sid, r.part, r.day, s.t_ms, s.value, s.histogram
	FROM prom.rollup r CROSS JOIN prom.samples(r.data) s
	WHERE ((r.shard, s.sid) IN (SELECT m.shard, m.sid FROM prom.series m WHERE m.labels['__name__'] ~ metrics)) IS TRUE AND r.resolution = width $$;

-- Points that are not what they should be; sums to the fifteenth digit, as SQL does not compensate them.
CREATE FUNCTION pg_temp.wrong(metrics text, width int, OUT points int8, OUT wrong int8, OUT example text)
LANGUAGE sql AS $$
	SELECT count(*), count(*) FILTER (WHERE bad), (array_agg(format('%s/%s at %s: %s, not %s', sid, part, t_ms, s, e) ORDER BY part, sid, t_ms) FILTER (WHERE bad))[1]
	FROM (SELECT sid, part, t_ms, e.value AS e, s.value AS s, coalesce(float8send(e.value) <> float8send(s.value)
				AND NOT (part = 4 AND (abs(e.value - s.value) <= 1e-14 * abs(e.value) OR e.value = 'NaN' AND s.value = 'NaN')), true) AS bad
			FROM pg_temp.expected(metrics, width) e FULL JOIN pg_temp.stored(metrics, width) s USING (shard, sid, part, day, t_ms)) x $$;
