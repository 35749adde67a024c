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

-- Equality, so that rows with histograms can be grouped and told apart.

CREATE FUNCTION prom._histogram_eq(prom.histogram, prom.histogram) RETURNS bool
	AS 'MODULE_PATHNAME', 'prom_histogram_eq' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION prom._histogram_eq(prom.histogram, prom.histogram) IS 'the same in every bit';

CREATE FUNCTION prom._histogram_ne(prom.histogram, prom.histogram) RETURNS bool
	AS 'MODULE_PATHNAME', 'prom_histogram_ne' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION prom._histogram_ne(prom.histogram, prom.histogram) IS 'not the same in every bit';

CREATE FUNCTION prom._histogram_hash(prom.histogram) RETURNS int4
	AS 'MODULE_PATHNAME', 'prom_histogram_hash' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION prom._histogram_hash(prom.histogram) IS 'hash';

CREATE OPERATOR prom.= (
	LEFTARG = prom.histogram,
	RIGHTARG = prom.histogram,
	FUNCTION = prom._histogram_eq,
	COMMUTATOR = OPERATOR(prom.=),
	NEGATOR = OPERATOR(prom.<>),
	RESTRICT = eqsel,
	JOIN = eqjoinsel,
	HASHES
);
COMMENT ON OPERATOR prom.= (prom.histogram, prom.histogram) IS 'the same in every bit';

CREATE OPERATOR prom.<> (
	LEFTARG = prom.histogram,
	RIGHTARG = prom.histogram,
	FUNCTION = prom._histogram_ne,
	COMMUTATOR = OPERATOR(prom.<>),
	NEGATOR = OPERATOR(prom.=),
	RESTRICT = neqsel,
	JOIN = neqjoinsel
);
COMMENT ON OPERATOR prom.<> (prom.histogram, prom.histogram) IS 'not the same in every bit';

CREATE OPERATOR CLASS prom.histogram_hash DEFAULT FOR TYPE prom.histogram USING hash AS
	OPERATOR 1 prom.= (prom.histogram, prom.histogram),
	FUNCTION 1 prom._histogram_hash(prom.histogram);
COMMENT ON OPERATOR CLASS prom.histogram_hash USING hash IS 'hash';
