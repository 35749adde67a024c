-- 05_histogram: the type of native histograms.

CREATE TYPE prom.histogram;

CREATE FUNCTION prom._histogram_in(cstring) RETURNS prom.histogram
LANGUAGE C AS 'MODULE_PATHNAME', 'prom_histogram_in' IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION prom._histogram_in(cstring) IS 'input of prom.histogram';

CREATE FUNCTION prom._histogram_out(prom.histogram) RETURNS cstring
LANGUAGE C AS 'MODULE_PATHNAME', 'prom_histogram_out' IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION prom._histogram_out(prom.histogram) IS 'output of prom.histogram';

CREATE FUNCTION prom._histogram_recv(internal) RETURNS prom.histogram
LANGUAGE C AS 'MODULE_PATHNAME', 'prom_histogram_recv' IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION prom._histogram_recv(internal) IS 'binary input of prom.histogram';

CREATE FUNCTION prom._histogram_send(prom.histogram) RETURNS bytea
LANGUAGE C AS 'MODULE_PATHNAME', 'prom_histogram_send' IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION prom._histogram_send(prom.histogram) IS 'binary output of prom.histogram';

CREATE TYPE prom.histogram (
	INPUT = prom._histogram_in,
	OUTPUT = prom._histogram_out,
	RECEIVE = prom._histogram_recv,
	SEND = prom._histogram_send,
	INTERNALLENGTH = VARIABLE,
	ALIGNMENT = double,
	STORAGE = extended
);
COMMENT ON TYPE prom.histogram IS 'native histogram: one sample that is a whole distribution';
