# What make demo-s3 has beside the demo, which sources this: a Ceph on this machine, five days of generated samples,
# and the older three of them in the bucket.

start_bucket()
{
	run_as_server mkdir "$work/s3"
	# (the server's account may not be allowed to read the clone)
	install -m 755 "$top/contrib/setup/radosgw" "$top/contrib/setup/free_ports" "$work"
	launch "$work/s3.log" "$work/radosgw" "$work/s3"
	s3_program=$!
}

# It is ready, or will never be.
bucket_has_begun()
{
	[ -f "$work/s3/ready" ] || ! kill -0 "$s3_program" 2>/dev/null
}

# The server of README's "A bucket"; the keys are those of contrib/setup/radosgw.
use_bucket()
{
	local s3_port tls_port
	wait_until 600 bucket_has_begun || true
	[ -f "$work/s3/ready" ] || give_up "the bucket does not get ready" "$work/s3.log"
	read -r s3_port tls_port <"$work/s3/ready"
	psql -q <<SQL || give_up "the bucket cannot be used" "$work/postgres.log"
CREATE SERVER archive FOREIGN DATA WRAPPER promgres_s3 OPTIONS (endpoint 'http://127.0.0.1:$s3_port', bucket 'metrics', prefix 'demo');
CREATE USER MAPPING FOR CURRENT_USER SERVER archive OPTIONS (access_key_id 'AK', secret_access_key 'SK');
ALTER SYSTEM SET promgres.tier_server = 'archive';
SELECT pg_reload_conf() \g /dev/null
SQL
	s3=http://127.0.0.1:$s3_port
}

# A figure of the explanation $told: told tier requests
told()
{
	python3 -c 'import json, sys
told = json.loads(sys.argv[1])
for name in sys.argv[2:]: told = told[name]
print(told)' "$told" "$@"
}

# The times and the query are those of all that follows.
show_bucket()
{
	local midnight oldest boundary across answer before
	midnight=$((first / 86400 * 86400))
	oldest=$((midnight - 5 * 86400))
	boundary=$((midnight - 2 * 86400))
	across="'sum by (city) (increase(shop_orders_total[1d]))', to_timestamp($((oldest + 86400))), to_timestamp($midnight), '1 day'"
	answer="SELECT string_agg(format('%s %s %s', labels, q.time, value), E'\n' ORDER BY labels::text, q.time) FROM prom.query_range($across) q"

	check_bucket
	write_history
	move_old_days
	query_across
}

check_bucket()
{
	bold "A bucket of S3 is a foreign server"
	echo "  SELECT * FROM prom.bucket_check('archive');"
	psql -c "SELECT * FROM prom.bucket_check('archive')"
	expect "all is well with it, but that this one has no TLS" test "$(ask "
		SELECT string_agg(\"check\", ' ') FILTER (WHERE NOT ok) FROM prom.bucket_check('archive')")" = tls
}

write_history()
{
	bold "Five days of a shop's orders come by remote write, with their old timestamps"
	# It ends before Prometheus began, whose samples are all that may be there since.
	python3 "$top/contrib/demo/history.py" "$gateway" "$oldest" "$first" >"$work/history.log" 2>&1 ||
		give_up "the samples were not taken" "$work/history.log"
	sed 's/^/  /' "$work/history.log"
	psql -q -c 'CALL prom.merge()' -c "CALL prom.downsample('0')" || give_up "the samples are not merged" "$work/postgres.log"
	before=$(ask "$answer")
	[ -n "$before" ] || give_up "the samples do not answer" "$work/postgres.log"
}

move_old_days()
{
	bold "The older three move to the bucket"
	echo "  CALL prom.tier(to_timestamp($oldest), to_timestamp($boundary));"
	psql -q -c "CALL prom.tier(to_timestamp($oldest), to_timestamp($boundary))" || give_up "they do not move" "$work/postgres.log"
	echo "  SELECT day, resolution, series, samples, bytes FROM prom.tier_objects ORDER BY resolution, day;"
	psql -c "SELECT day, resolution, series, samples, bytes, round(bytes::numeric / samples, 2) AS \"bytes/sample\" FROM prom.tier_objects ORDER BY resolution, day"
	psql -c "SELECT to_timestamp(min(t_min) / 1000.0) AS \"oldest sample that is here\", sum(samples) AS samples, count(*) AS rows FROM prom.warm"
	expect "three days of 20 series, a sample a minute, are in the bucket" test "$(ask "
		SELECT string_agg(format('%s %s', extract(epoch FROM day)::int8, samples), ' ' ORDER BY day) FROM prom.tier_objects WHERE resolution = '0'")" = \
		"$oldest 28800 $((oldest + 86400)) 28800 $((oldest + 2 * 86400)) 28800"
	expect "none of their rows is here any more" test "$(ask "SELECT count(*) FROM prom.warm WHERE t_min < ${boundary}000")" = 0
	expect "the bucket has what is known of it, and every byte is right" test "$(ask "SELECT count(*) FROM prom.verify_bucket(read_all => true)")" = 0
}

query_across()
{
	local told
	local rows="SELECT labels['city'] AS city, string_agg(round(value)::text, '  ' ORDER BY q.time) AS \"orders of each day\"
FROM prom.query_range($across) q GROUP BY 1 ORDER BY 1"

	bold "A query crosses the boundary"
	echo "  ${rows//$'\n'/$'\n'  };"
	# The explanation first: nothing is in the cache yet.
	told=$(ask "SELECT prom.explain_json($across)")
	expect "it reads three objects of the bucket, with $(told tier requests) GETs for $(told tier bytes) bytes, and rows that are here" test \
		"$(told tier objects) $(($(told tier requests) > 0)) $(told tier cache_hits) $(told samples)" = '3 1 0 144000'
	psql -c "$rows"
	expect "it gives five days of five cities" test "$(ask "SELECT count(*) FROM prom.query_range($across)")" = 25
	expect "its answer is what it was when all was here, bit for bit" test "$(ask "$answer")" = "$before"
	echo "  SELECT * FROM prom.explain($across);"
	psql -c "SELECT explain AS \"prom.explain\" FROM prom.explain($across)"
	told=$(ask "SELECT prom.explain_json($across)")
	expect "asked again, it needs no GET: $(told tier cache_hits) chunks come from the local cache" test \
		"$(told tier requests) $(($(told tier cache_hits) > 0))" = '0 1'
	psql -c "SELECT requests, bytes_fetched, cache_hits, cache_misses, cache_bytes FROM prom.stat_tier"
}
