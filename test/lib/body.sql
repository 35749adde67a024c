-- Functions that make remote_write bodies, for scripts: \i'd, in schema pg_temp.

CREATE FUNCTION pg_temp.varint(n int8) RETURNS bytea LANGUAGE plpgsql AS $$
DECLARE
	rest	numeric := CASE WHEN n < 0 THEN n::numeric + 18446744073709551616 ELSE n END;
	out		bytea := '';
BEGIN
	WHILE rest >= 128 LOOP
		out := out || set_byte('\x00', 0, (mod(rest, 128) + 128)::int);
		rest := div(rest, 128);
	END LOOP;
	RETURN out || set_byte('\x00', 0, rest::int);
END $$;

CREATE FUNCTION pg_temp.field(number int, data bytea) RETURNS bytea LANGUAGE sql AS
$$ SELECT pg_temp.varint(number * 8 + 2) || pg_temp.varint(length(data)) || data $$;

CREATE FUNCTION pg_temp.little_endian(data bytea) RETURNS bytea LANGUAGE sql AS
$$ SELECT string_agg(substr(data, i, 1), '' ORDER BY i DESC) FROM generate_series(1, length(data)) i $$;

CREATE FUNCTION pg_temp.sample(t_ms int8, bits bytea) RETURNS bytea LANGUAGE sql AS
$$ SELECT pg_temp.field(2, '\x09' || pg_temp.little_endian(bits) || '\x10' || pg_temp.varint(t_ms)) $$;

CREATE FUNCTION pg_temp.label(name text, value text) RETURNS bytea LANGUAGE sql AS
$$ SELECT pg_temp.field(1, pg_temp.field(1, convert_to(name, 'UTF8')) || pg_temp.field(2, convert_to(value, 'UTF8'))) $$;

-- A TimeSeries: names and values of labels in turn, times and values of samples.
CREATE FUNCTION pg_temp.series(labels text[], t_ms int8[], val float8[]) RETURNS bytea LANGUAGE sql AS
$$ SELECT pg_temp.field(1,
	coalesce((SELECT string_agg(pg_temp.label(labels[i], labels[i + 1]), '' ORDER BY i) FROM generate_series(1, cardinality(labels), 2) i), '') ||
	coalesce((SELECT string_agg(pg_temp.sample(t_ms[i], float8send(val[i])), '' ORDER BY i) FROM generate_series(1, cardinality(t_ms)) i), '')) $$;

-- The snappy block format, literals only.
CREATE FUNCTION pg_temp.snappy(data bytea) RETURNS bytea LANGUAGE sql AS
$$ SELECT pg_temp.varint(length(data)) || coalesce((SELECT string_agg(
		'\xf4' || pg_temp.little_endian(int2send(((length(part) - 1) - CASE WHEN length(part) > 32768 THEN 65536 ELSE 0 END)::int2)) || part, '' ORDER BY i)
	FROM generate_series(0, length(data) - 1, 65536) i, substr(data, i + 1, 65536) part), '') $$;

CREATE FUNCTION pg_temp.body(VARIADIC series bytea[]) RETURNS bytea LANGUAGE sql AS
$$ SELECT pg_temp.snappy(string_agg(s, '' ORDER BY i)) FROM unnest(series) WITH ORDINALITY u(s, i) $$;

-- A Histogram message as Prometheus writes it, from the columns of a prom.histogram's text.
CREATE FUNCTION pg_temp.fixed(number int, val float8) RETURNS bytea LANGUAGE sql AS
$$ SELECT pg_temp.varint(number * 8 + 1) || pg_temp.little_endian(float8send(val)) $$;

CREATE FUNCTION pg_temp.number(field int, val int8) RETURNS bytea LANGUAGE sql AS
$$ SELECT pg_temp.varint(field * 8) || pg_temp.varint(val) $$;

CREATE FUNCTION pg_temp.zigzag(n int8) RETURNS int8 LANGUAGE sql AS $$ SELECT CASE WHEN n < 0 THEN -2 * n - 1 ELSE 2 * n END $$;

-- Spans as offset, length in turn; counts of buckets; integers if whole is true.
CREATE FUNCTION pg_temp.side(field int, spans int[], counts float8[], whole bool) RETURNS bytea LANGUAGE sql AS
$$ SELECT coalesce((SELECT string_agg(pg_temp.field(field, pg_temp.number(1, pg_temp.zigzag(spans[i])) || pg_temp.number(2, spans[i + 1])), '' ORDER BY i)
		FROM generate_series(1, cardinality(spans), 2) i), '') ||
	CASE WHEN cardinality(counts) = 0 THEN ''
		WHEN whole THEN pg_temp.field(field + 1, (SELECT string_agg(pg_temp.varint(pg_temp.zigzag((counts[i] - coalesce(counts[i - 1], 0))::int8)), '' ORDER BY i)
			FROM generate_series(1, cardinality(counts)) i))
		ELSE pg_temp.field(field + 2, (SELECT string_agg(pg_temp.little_endian(float8send(counts[i])), '' ORDER BY i) FROM generate_series(1, cardinality(counts)) i)) END $$;

CREATE FUNCTION pg_temp.histogram(t_ms int8, count float8, sum float8, spans int[] DEFAULT '{}', counts float8[] DEFAULT '{}', schema int DEFAULT 0,
	whole bool DEFAULT true, zero float8 DEFAULT 0, width float8 DEFAULT 0, n_spans int[] DEFAULT '{}', n_counts float8[] DEFAULT '{}',
	custom float8[] DEFAULT '{}', hint int DEFAULT 0) RETURNS bytea LANGUAGE sql AS
$$ SELECT pg_temp.field(4, CASE WHEN whole THEN pg_temp.number(1, count::int8) ELSE pg_temp.fixed(2, count) END || pg_temp.fixed(3, sum) ||
	pg_temp.number(4, pg_temp.zigzag(schema)) || pg_temp.fixed(5, width) || CASE WHEN whole THEN pg_temp.number(6, zero::int8) ELSE pg_temp.fixed(7, zero) END ||
	pg_temp.side(8, n_spans, n_counts, whole) || pg_temp.side(11, spans, counts, whole) || pg_temp.number(14, hint) || pg_temp.number(15, t_ms) ||
	coalesce(pg_temp.field(16, (SELECT string_agg(pg_temp.little_endian(float8send(custom[i])), '' ORDER BY i) FROM generate_series(1, cardinality(custom)) i)), '')) $$;

CREATE FUNCTION pg_temp.exemplar(labels text[], val float8, t_ms int8) RETURNS bytea LANGUAGE sql AS
$$ SELECT pg_temp.field(3, coalesce((SELECT string_agg(pg_temp.label(labels[i], labels[i + 1]), '' ORDER BY i) FROM generate_series(1, cardinality(labels), 2) i), '') ||
	pg_temp.fixed(2, val) || pg_temp.number(3, t_ms)) $$;

-- A TimeSeries of whatever messages.
CREATE FUNCTION pg_temp.series_of(labels text[], VARIADIC parts bytea[]) RETURNS bytea LANGUAGE sql AS
$$ SELECT pg_temp.field(1, (SELECT string_agg(pg_temp.label(labels[i], labels[i + 1]), '' ORDER BY i) FROM generate_series(1, cardinality(labels), 2) i) ||
	(SELECT string_agg(p, '' ORDER BY i) FROM unnest(parts) WITH ORDINALITY u(p, i))) $$;

-- Remote write 2.0: a table of symbols, then series of these parts.
CREATE FUNCTION pg_temp.request2(symbols text[], VARIADIC series bytea[]) RETURNS bytea LANGUAGE sql AS
$$ SELECT pg_temp.snappy(coalesce((SELECT string_agg(pg_temp.field(4, convert_to(s, 'UTF8')), '' ORDER BY i) FROM unnest(symbols) WITH ORDINALITY u(s, i)), '') ||
	coalesce((SELECT string_agg(s, '' ORDER BY i) FROM unnest(series) WITH ORDINALITY u(s, i)), '')) $$;

CREATE FUNCTION pg_temp.refs(VARIADIC refs int[]) RETURNS bytea LANGUAGE sql AS
$$ SELECT pg_temp.field(1, coalesce((SELECT string_agg(pg_temp.varint(r), '' ORDER BY i) FROM unnest(refs) WITH ORDINALITY u(r, i)), '')) $$;

CREATE FUNCTION pg_temp.series2(VARIADIC parts bytea[]) RETURNS bytea LANGUAGE sql AS
$$ SELECT pg_temp.field(5, (SELECT string_agg(p, '' ORDER BY i) FROM unnest(parts) WITH ORDINALITY u(p, i))) $$;

-- With a start timestamp.
CREATE FUNCTION pg_temp.sample2(t_ms int8, val float8, start_ms int8) RETURNS bytea LANGUAGE sql AS
$$ SELECT pg_temp.field(2, pg_temp.fixed(1, val) || pg_temp.number(2, t_ms) || pg_temp.number(3, start_ms)) $$;

CREATE FUNCTION pg_temp.metadata2(type int, help int, unit int) RETURNS bytea LANGUAGE sql AS
$$ SELECT pg_temp.field(5, pg_temp.number(1, type) || pg_temp.number(3, help) || pg_temp.number(4, unit)) $$;

CREATE FUNCTION pg_temp.exemplar2(refs int[], val float8, t_ms int8) RETURNS bytea LANGUAGE sql AS
$$ SELECT pg_temp.field(4, pg_temp.refs(VARIADIC refs) || pg_temp.fixed(2, val) || pg_temp.number(3, t_ms)) $$;

-- A histogram has another number there.
CREATE FUNCTION pg_temp.histogram2(of_version_1 bytea) RETURNS bytea LANGUAGE sql AS $$ SELECT set_byte(of_version_1, 0, 3 * 8 + 2) $$;

-- The frame of zstd around bytes as they are, up to 255 of them.
CREATE FUNCTION pg_temp.zstd(data bytea) RETURNS bytea LANGUAGE sql AS
$$ SELECT '\x28b52ffd20'::bytea || substr(int4send(length(data)), 4) || substr(pg_temp.little_endian(int4send(length(data) * 8 + 1)), 1, 3) || data $$;
