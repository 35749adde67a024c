-- Every function in schema prom, called by hand with nonsense: NULLs, empty and odd arrays, the ends of the
-- integers, chunks of other shards and styles.  Whatever it answers, it must neither crash nor end in an
-- internal error, and what takes an internal state cannot be called at all.
SET client_min_messages = error;
SET statement_timeout = '600s';

CREATE TEMP TABLE nonsense (type regtype, value text);
INSERT INTO nonsense SELECT 'int2', v FROM unnest(ARRAY['NULL', '0', '-1', '-32768', '32767']) v;
INSERT INTO nonsense SELECT 'int4', v FROM unnest(ARRAY['NULL', '0', '-1', '-2147483648', '2147483647']) v;
INSERT INTO nonsense SELECT 'int8', v FROM unnest(ARRAY['NULL', '0', '-1', '-9223372036854775808', '9223372036854775807']) v;
INSERT INTO nonsense SELECT 'float8', v FROM unnest(ARRAY['NULL', '0', '''NaN''', '''-Infinity''', '1e308']) v;
INSERT INTO nonsense SELECT 'bool', v FROM unnest(ARRAY['NULL', 'true', 'false']) v;
INSERT INTO nonsense SELECT 'text', v FROM unnest(ARRAY['NULL', '''''', '''up''', '''sum''', '''\(''', 'repeat(''('', 20000)', 'repeat(''x'', 70000)']) v;
INSERT INTO nonsense SELECT 'int2[]', v FROM unnest(ARRAY['NULL', '''{}''', '''{NULL}''', '''{-1,-1}''', '''{{1,2},{3,4}}''']) v;
INSERT INTO nonsense SELECT 'int4[]', v FROM unnest(ARRAY['NULL', '''{}''', '''{NULL}''', '''{5,5,-1,2147483647}''', '''{{1,2},{3,4}}''', '''[-5:-4]={1,2}''']) v;
INSERT INTO nonsense SELECT 'int8[]', v FROM unnest(ARRAY['NULL', '''{}''', '''{NULL}''', '''{1,1}''', '''{{1,2},{3,4}}''', '''{-9223372036854775808,9223372036854775807}''']) v;
INSERT INTO nonsense SELECT 'float8[]', v FROM unnest(ARRAY['NULL', '''{}''', '''{NULL}''', '''{NaN,-Infinity}''', '''{{1,2},{3,4}}''']) v;
INSERT INTO nonsense SELECT 'text[]', v FROM unnest(ARRAY['NULL', '''{}''', '''{NULL}''', '''{"",""}''', '''{{a,b},{c,d}}''', '''{=~}''', '''{a,a}''']) v;
INSERT INTO nonsense SELECT 'bytea', v FROM unnest(ARRAY['NULL', '''''', '''\x00''', '''\xffffffffffffffffff''']) v;
INSERT INTO nonsense SELECT 'bytea[]', v FROM unnest(ARRAY['NULL', '''{}''', '''{NULL}''', '''{"","\\xff"}''', '''{{"",""},{"",""}}''']) v;
INSERT INTO nonsense SELECT 'timestamptz', v FROM unnest(ARRAY['NULL', '''-infinity''', '''infinity''', '''4713-01-01 BC''', '''1970-01-01''']) v;
INSERT INTO nonsense SELECT 'interval', v FROM unnest(ARRAY['NULL', '''0''', '''-1s''', '''178000000 years''', '''1 month''']) v;
INSERT INTO nonsense SELECT 'jsonb', v FROM unnest(ARRAY['NULL', '''null''', '''[]''', '''{"a": 1}''', '''{"": ""}''']) v;
INSERT INTO nonsense SELECT 'cstring', v FROM unnest(ARRAY['NULL', '''''', '''\x''', '''{''']) v;
INSERT INTO nonsense SELECT 'prom.labels', v FROM unnest(ARRAY['NULL', '''{}''', '''up''']) v;
INSERT INTO nonsense SELECT 'prom.chunk', v FROM unnest(ARRAY['NULL',
	'prom.chunk_build(7::int2, -5, ''{-9223372036854775808,9223372036854775807}'', ''{NaN,1}'', ''cold'')',
	'prom.chunk_build(-1::int2, 2147483647, ''{1,2,3}'', ''{1,2,3}'', ''fresh'')',
	'prom.chunk_build(0::int2, 5, (SELECT array_agg(i ORDER BY i) FROM generate_series(1, 9000) i), array_fill(1::float8, ARRAY[9000]), ''plain'')']) v;
INSERT INTO nonsense SELECT 'prom.vals', v FROM unnest(ARRAY['NULL', 'prom._vals(1)', 'prom._time(0, 1000, 3)', 'prom._vals(''NaN'')']) v;
INSERT INTO nonsense SELECT 'prom._agg_state', v FROM unnest(ARRAY['NULL', 'prom._agg_sum_add(NULL, prom._vals(1))',
	'prom._agg_avg_add(NULL, prom._time(0, 1000, 3))', 'prom._unique_add(NULL, ''{}'', prom._vals(1))']) v;
-- what is not in the list is NULL
INSERT INTO nonsense SELECT DISTINCT a::regtype, 'NULL' FROM pg_proc p, unnest(p.proargtypes) a
	WHERE p.pronamespace = 'prom'::regnamespace AND a NOT IN (SELECT type FROM nonsense);

-- All NULL, each value alone among the first ones of the others, and each in all places of its type.
CREATE FUNCTION pg_temp.calls(f regproc, types oidvector) RETURNS SETOF text LANGUAGE sql AS $$
	SELECT DISTINCT array_to_string(ARRAY(
		SELECT (CASE WHEN place = i OR mode = 1 AND n.type = t THEN n.value ELSE others.value END) || '::' || format_type(t, NULL)
		FROM unnest(types) WITH ORDINALITY AS a(t, i),
			LATERAL (SELECT value FROM nonsense WHERE type = t ORDER BY value = 'NULL', ctid OFFSET CASE WHEN mode = 2 THEN 1 ELSE 0 END LIMIT 1) others
		ORDER BY i), ', ')
	FROM unnest(types) WITH ORDINALITY AS p(type, place) JOIN nonsense n USING (type), generate_series(0, 2) mode
$$;

CREATE FUNCTION pg_temp.try(call text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE call;
	RETURN 'ok';
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || ' ' || SQLERRM;
END $$;

CREATE TEMP TABLE tried AS
SELECT p.oid::regprocedure AS f, p.prokind, 'internal'::regtype = ANY (p.proargtypes) AS internal, c.call, pg_temp.try(c.call) AS answer
FROM pg_proc p, LATERAL (
	SELECT CASE p.prokind WHEN 'p' THEN 'CALL ' ELSE 'SELECT * FROM ' END || p.oid::regproc || '(' || a || ')' AS call
	FROM (SELECT pg_temp.calls(p.oid, p.proargtypes) AS a UNION SELECT '' WHERE p.pronargs = 0) x) c
WHERE p.pronamespace = 'prom'::regnamespace AND p.prokind <> 'p'
ORDER BY p.oid::regprocedure::text, c.call;

SELECT count(*) > 500 AS many, count(DISTINCT f) = (SELECT count(*) FROM pg_proc WHERE pronamespace = 'prom'::regnamespace AND prokind <> 'p') AS each_function FROM tried;
SELECT f, answer, min(call) AS call FROM tried
WHERE NOT internal AND answer NOT LIKE '%called outside of an aggregate' AND answer !~ '^XX001 (object of the tier is damaged|packed bytes of an object are damaged|manifest ".*" is not understood|object ".*" is not what its manifest says)' AND (answer ~ '^(XX|57|08|58|53)' OR answer ~ 'statement timeout')
GROUP BY 1, 2 ORDER BY 1::text, 2;
SELECT DISTINCT f, answer FROM tried WHERE internal AND answer = 'ok' ORDER BY 1;

-- prom.series_id has made some
DO $$ BEGIN PERFORM prom._remove_series(array_agg(shard), array_agg(sid)) FROM prom.series; END $$;

-- nothing stays for other tests
DELETE FROM prom.retention;
DELETE FROM prom.expired;
DELETE FROM prom.rollup_gap;
DELETE FROM prom.rollup_foreign;
DELETE FROM prom.job;
DELETE FROM prom.level WHERE resolution NOT IN (0, 300, 3600);
