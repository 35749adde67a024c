-- 96_policy: row security of prom.series survives a dump.
--
-- pg_dump takes the rows of an extension's tables along, but neither their policies nor that row security is on: what
-- was restored would be open.  So what an administrator does with ordinary commands is remembered in a table whose rows
-- are dumped, by an event trigger; and when rows come into that table that prom.series does not have yet, which is when
-- a dump is restored, a trigger does the commands again.  What cannot be made again, for a role that is not there,
-- say, is told by a warning; row security is on nevertheless, so that nobody sees more than before.

CREATE TABLE prom.access_policy (
	name text PRIMARY KEY,
	permissive bool NOT NULL,
	command text NOT NULL,
	roles text[] NOT NULL,
	using_expr text,
	check_expr text
);
SELECT pg_catalog.pg_extension_config_dump('prom.access_policy', '');
COMMENT ON TABLE prom.access_policy IS
'The policies of prom.series as they were made, kept for dumps. A row without a name: row security is on. Changed by CREATE, ALTER and DROP POLICY only.';
COMMENT ON COLUMN prom.access_policy.name IS 'name of the policy; empty: row security of the table itself';
COMMENT ON COLUMN prom.access_policy.permissive IS 'false: AS RESTRICTIVE; of the table itself: row security is forced on its owner';
COMMENT ON COLUMN prom.access_policy.command IS 'ALL, SELECT, INSERT, UPDATE or DELETE';
COMMENT ON COLUMN prom.access_policy.roles IS 'whom it is for; none: PUBLIC';

-- The policies as they are.
CREATE FUNCTION prom._policies() RETURNS SETOF prom.access_policy
	LANGUAGE sql STABLE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp AS
$$
	SELECT p.polname::text, p.polpermissive,
		CASE p.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE' WHEN 'd' THEN 'DELETE' ELSE 'ALL' END,
		ARRAY(SELECT r.rolname::text FROM pg_roles r WHERE r.oid = ANY (p.polroles) ORDER BY 1),
		pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid)
	FROM pg_policy p WHERE p.polrelid = 'prom.series'::regclass
	UNION ALL
	SELECT '', c.relforcerowsecurity, 'ALL', '{}', NULL, NULL
	FROM pg_class c WHERE c.oid = 'prom.series'::regclass AND c.relrowsecurity
$$;
COMMENT ON FUNCTION prom._policies() IS 'policies of prom.series, and a row without a name if row security is on';

CREATE FUNCTION prom._keep_policies() RETURNS event_trigger
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
$$
BEGIN
	-- what the other trigger does needs no remembering
	IF pg_trigger_depth() > 0 OR NOT EXISTS (
		(SELECT * FROM prom._policies() EXCEPT TABLE prom.access_policy) UNION ALL
		(TABLE prom.access_policy EXCEPT SELECT * FROM prom._policies())) THEN
		RETURN;
	END IF;
	DELETE FROM prom.access_policy;
	INSERT INTO prom.access_policy SELECT * FROM prom._policies();
END
$$;
COMMENT ON FUNCTION prom._keep_policies() IS 'after a command that may have changed the policies of prom.series: keeps them in prom.access_policy';

CREATE FUNCTION prom._restore_policy() RETURNS trigger
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS
$$
BEGIN
	IF NEW.name = '' THEN
		IF NOT (SELECT c.relrowsecurity FROM pg_class c WHERE c.oid = 'prom.series'::regclass) THEN
			ALTER TABLE prom.series ENABLE ROW LEVEL SECURITY;
			IF NEW.permissive THEN
				ALTER TABLE prom.series FORCE ROW LEVEL SECURITY;
			END IF;
		END IF;
		RETURN NULL;
	END IF;
	IF EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = 'prom.series'::regclass AND p.polname = NEW.name) THEN
		RETURN NULL;
	END IF;
	EXECUTE format('CREATE POLICY %I ON prom.series AS %s FOR %s TO %s', NEW.name,
		CASE WHEN NEW.permissive THEN 'PERMISSIVE' ELSE 'RESTRICTIVE' END, NEW.command,
		coalesce((SELECT string_agg(quote_ident(r), ', ') FROM unnest(NEW.roles) r), 'PUBLIC')) ||
		coalesce(' USING (' || NEW.using_expr || ')', '') || coalesce(' WITH CHECK (' || NEW.check_expr || ')', '');
	RETURN NULL;
EXCEPTION WHEN OTHERS THEN
	RAISE WARNING 'policy "%" of prom.series could not be made again: %', NEW.name, SQLERRM
		USING HINT = 'See prom.access_policy before the next change of a policy, and use CREATE POLICY. Until then it lets nobody see anything.';
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION prom._restore_policy() IS 'makes a policy of prom.series that came with a dump';

CREATE TRIGGER restore_policy AFTER INSERT ON prom.access_policy FOR EACH ROW EXECUTE FUNCTION prom._restore_policy();

CREATE EVENT TRIGGER promgres_policies ON ddl_command_end
	WHEN TAG IN ('CREATE POLICY', 'ALTER POLICY', 'DROP POLICY', 'ALTER TABLE', 'DROP OWNED')
	EXECUTE FUNCTION prom._keep_policies();
COMMENT ON EVENT TRIGGER promgres_policies IS 'keeps the policies of prom.series for dumps';

REVOKE ALL ON FUNCTION prom._policies(), prom._keep_policies(), prom._restore_policy() FROM PUBLIC;
ALTER TABLE prom.access_policy ENABLE ROW LEVEL SECURITY;
