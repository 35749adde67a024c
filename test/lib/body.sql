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
