-- 82_auth: who a client of the gateway is.  Users are roles of this server, with the passwords they have
-- there; a token stands for a role.

CREATE FUNCTION prom._may_become(role text) RETURNS bool
LANGUAGE C STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'prom_may_become';
COMMENT ON FUNCTION prom._may_become(text) IS 'May the current user SET ROLE to this one?';

CREATE TABLE prom.token (
	id			int4 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	hash		bytea NOT NULL UNIQUE,
	role		text NOT NULL,
	description	text NOT NULL,
	created		timestamptz NOT NULL DEFAULT pg_catalog.now(),
	creator		text NOT NULL DEFAULT CURRENT_USER,
	expires		timestamptz,
	last_used	timestamptz
);
COMMENT ON TABLE prom.token IS 'Tokens with which clients of the gateway are roles; see prom.tokens.';
COMMENT ON COLUMN prom.token.hash IS 'SHA-256 of the token, which nobody can tell from it: a token is 32 random bytes';
COMMENT ON COLUMN prom.token.last_used IS 'about a minute exact; NULL: never';
SELECT pg_catalog.pg_extension_config_dump('prom.token', '');
SELECT pg_catalog.pg_extension_config_dump('prom.token_id_seq', '');

CREATE VIEW prom.tokens WITH (security_barrier) AS
SELECT t.id, t.role, t.description, t.created, t.creator, t.expires, t.last_used FROM prom.token AS t
WHERE prom._may_become(t.role);
COMMENT ON VIEW prom.tokens IS 'Tokens of the roles that the current user may become.';
COMMENT ON COLUMN prom.tokens.last_used IS 'about a minute exact; NULL: never';

CREATE FUNCTION prom._add_token(hash bytea, role text, description text, expires timestamptz, creator text) RETURNS void
LANGUAGE sql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	INSERT INTO prom.token (hash, role, description, expires, creator) VALUES ($1, $2, $3, $4, $5);
END;
COMMENT ON FUNCTION prom._add_token(bytea, text, text, timestamptz, text) IS 'Keeps a token; for prom.create_token only.';

CREATE FUNCTION prom.create_token(role text, description text DEFAULT '', expires timestamptz DEFAULT NULL) RETURNS text
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'prom_create_token';
COMMENT ON FUNCTION prom.create_token(text, text, timestamptz) IS
'Makes a token with which a client of the gateway is that role, and returns it; it is not kept and cannot be told again. The caller must be allowed to SET ROLE to it.';

CREATE FUNCTION prom.revoke_token(id int4) RETURNS bool
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'prom_revoke_token';
COMMENT ON FUNCTION prom.revoke_token(int4) IS
'Removes a token (prom.tokens.id) of a role that the caller may become; false if there is none. The gateway may take it for half a minute more, unless it is told to reload.';

CREATE FUNCTION prom._login(name text, secret text) RETURNS text
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'prom_login';
COMMENT ON FUNCTION prom._login(text, text) IS
'The role that a client is who gives this name and password or, without a name, this token; NULL if neither is right.';

CREATE FUNCTION prom._use_token(hash bytea) RETURNS text
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	t		prom.token;
BEGIN
	SELECT * INTO t FROM prom.token k WHERE k.hash = _use_token.hash AND (k.expires IS NULL OR k.expires > clock_timestamp());
	IF FOUND AND NOT pg_is_in_recovery() AND NOT coalesce(t.last_used > clock_timestamp() - interval '1 minute', false) THEN
		UPDATE prom.token k SET last_used = clock_timestamp() WHERE k.id = t.id;
	END IF;
	RETURN t.role;
END
$$;
COMMENT ON FUNCTION prom._use_token(bytea) IS 'The role of a token that has not expired, by its hash.';

CREATE FUNCTION prom._enter(role text, timeout_ms int4) RETURNS void
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'prom_enter';
COMMENT ON FUNCTION prom._enter(text, int4) IS
'Until the end of the transaction, become this role with those of its settings that limit queries, and a statement_timeout of its own or this, whichever is less (0: none); NULL: stay who one is.';
