-- stub until branch roll has these
CREATE FUNCTION prom._resolutions() RETURNS SETOF int4 LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT extract(epoch FROM r::interval)::int4 FROM unnest(string_to_array(coalesce(current_setting('promgres.rollup_resolutions', true), '5min, 1h'), ',')) r;
END;
CREATE FUNCTION prom._rolled_until() RETURNS int8 LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
RETURN CASE WHEN EXISTS (SELECT FROM prom._resolutions()) THEN coalesce((SELECT min(l.until_ms) FROM prom.level l WHERE l.resolution > 0), -9223372036854775808) ELSE 9223372036854775807 END;
