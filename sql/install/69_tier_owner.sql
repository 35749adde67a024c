-- 69_tier_owner: which of several copies of a database moves samples to a bucket, and deletes them there.
--
-- A copy (a restored backup, a promoted standby, a dump) refers to the same objects under the same name, and would delete what the
-- other needs.  So the bucket has a word, and the database the same one: promgres/owner/<cluster>.  The job "tier"
-- replaces both before it does anything, and again after half an hour.  Whoever finds another word than the last or the
-- next of its own is not the owner any more: somebody else has replaced it since they parted.  What is next is committed before
-- the bucket has it, so that nobody who is killed in between is locked out.
--
-- Who has parted and finds the word unchanged cannot know whether the other is gone, or has not come yet.  A promoted or restored
-- database knows what it is by its timeline, a loaded dump by the identifier of its server: these wait for as long as would be enough
-- for the job of the other to come, which is when it said it would, and three hours at least.  If nobody has come they go on, so that a failover needs no hand.
--
-- The row is changed before the bucket is, and is locked meanwhile: of the job and prom.claim_bucket the one that writes to the bucket last is
-- the one whose word stays here, and who may not write here (a standby) leaves the bucket as it is.

CREATE TABLE prom.tier_owner (
	server		name PRIMARY KEY,
	word		uuid,
	next		uuid,
	identity	text,
	renewed		timestamptz,
	due			timestamptz,
	waiting		text,
	since		timestamptz
);
COMMENT ON TABLE prom.tier_owner IS 'By what this database knows whether a bucket is still its own: see prom._tier_own.';
COMMENT ON COLUMN prom.tier_owner.server IS 'the bucket, a foreign server';
COMMENT ON COLUMN prom.tier_owner.word IS 'what was last written to the bucket';
COMMENT ON COLUMN prom.tier_owner.next IS 'what is written, or was by somebody who was killed';
COMMENT ON COLUMN prom.tier_owner.identity IS 'what this database was then, as prom._tier_identity says';
COMMENT ON COLUMN prom.tier_owner.due IS 'when its job was to come again, which a schedule of pg_cron may have put off for days';
COMMENT ON COLUMN prom.tier_owner.waiting IS 'what it has become, if it waits for another one to come';
COMMENT ON COLUMN prom.tier_owner.since IS 'since when it waits';

SELECT pg_catalog.pg_extension_config_dump('prom.tier_owner', '');

CREATE FUNCTION prom._tier_identity() RETURNS text
LANGUAGE sql VOLATILE PARALLEL RESTRICTED
SET search_path = pg_catalog, pg_temp
RETURN (SELECT format('%s/%s/%s', c.system_identifier, left(pg_walfile_name(pg_current_wal_insert_lsn()), 8), d.oid)
	FROM pg_control_system() c, pg_database d WHERE d.datname = current_database());
COMMENT ON FUNCTION prom._tier_identity() IS
'What tells most copies of a database from it: the identifier of its server, the timeline, and its own oid.';

CREATE FUNCTION prom._tier_owner_key(cluster uuid) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
RETURN format('promgres/owner/%s', cluster);
COMMENT ON FUNCTION prom._tier_owner_key(uuid) IS 'The key of the object that has the word of the owner of a bucket.';

CREATE FUNCTION prom._tier_own(server name, of uuid, word uuid) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	INSERT INTO prom.tier_owner AS o (server, word, identity, renewed, due)
	VALUES (server, word, prom._tier_identity(), clock_timestamp(), (SELECT j.next_due FROM prom.job j WHERE j.name = 'tier'))
	ON CONFLICT ON CONSTRAINT tier_owner_pkey DO UPDATE SET word = excluded.word, next = NULL, identity = excluded.identity, renewed = excluded.renewed, due = excluded.due,
		waiting = NULL, since = NULL;
	PERFORM prom._bucket_put(server, prom._tier_owner_key(of), convert_to(word::text, 'UTF8'));
END
$$;
COMMENT ON FUNCTION prom._tier_own(name, uuid, uuid) IS 'Makes a word that of the owner of a bucket, who is this database from now on.';

CREATE FUNCTION prom._tier_owns(server name, again bool, forced bool) RETURNS text
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	of		uuid := (SELECT c.cluster FROM prom.tier_cluster c WHERE c.own);
	o		prom.tier_owner;
	there	text;
	same	text := prom._tier_identity();
	until	timestamptz;
	told	text;
	detail	text;
	hint	text;
BEGIN
	-- Who has nothing in any bucket can harm nobody.
	IF of IS NULL THEN
		RETURN 'yes';
	END IF;
	SELECT x.* INTO o FROM prom.tier_owner x WHERE x.server = _tier_owns.server;
	IF again AND o.next IS NULL AND o.renewed BETWEEN clock_timestamp() - interval '30 minutes' AND clock_timestamp() AND o.identity = same THEN
		RETURN 'yes';
	END IF;
	IF o.next IS NULL THEN
		INSERT INTO prom.tier_owner AS x (server, next) VALUES (server, gen_random_uuid())
		ON CONFLICT ON CONSTRAINT tier_owner_pkey DO UPDATE SET next = excluded.next;
		RETURN 'asked';
	END IF;
	there := convert_from(prom._bucket_get(server, prom._tier_owner_key(of)), 'UTF8');
	IF there <> ALL (ARRAY[coalesce(o.word::text, ''), o.next::text]) THEN
		RAISE object_not_in_prerequisite_state USING MESSAGE = format('bucket "%s" has another owner', server),
			DETAIL = CASE WHEN o.renewed IS NULL THEN 'A database that this one is a copy of, or another copy of it, moves samples there.'
				ELSE format('Since %s another copy of this database has moved samples there: one that was restored, promoted, or has taken the bucket over.', o.renewed) END,
			HINT = format('If that one is gone for good, use SELECT prom.claim_bucket(%L). If it lives on, set "promgres.tier_server" to an empty string here: nothing is moved or deleted then.', server);
	END IF;
	IF there IS NOT NULL AND o.identity <> same THEN
		IF o.waiting IS DISTINCT FROM same THEN
			UPDATE prom.tier_owner x SET waiting = same, since = clock_timestamp() WHERE x.server = _tier_owns.server;
			RETURN 'asked';
		END IF;
		until := greatest(o.since + interval '3 hours', o.due + interval '2 hours');
		IF until > clock_timestamp() THEN
			told := format('bucket "%s" is left alone until %s', server, until);
			detail := 'This database was restored or promoted, and the one that it was may live on: that will have shown itself by then.';
			hint := format('If it is gone for good, use SELECT prom.claim_bucket(%L). If it lives on, set "promgres.tier_server" to an empty string here.', server);
			IF forced THEN
				RAISE object_not_in_prerequisite_state USING MESSAGE = told, DETAIL = detail, HINT = hint;
			END IF;
			RAISE WARNING USING MESSAGE = told, DETAIL = detail, HINT = hint;
			RETURN told;
		END IF;
	END IF;
	BEGIN
		PERFORM prom._tier_own(server, of, o.next);
	EXCEPTION WHEN io_error THEN
		-- A full bucket takes no word, and what is over has to go all the more: the one that is there is ours.
		IF there IS NULL OR o.identity <> same THEN
			RAISE;
		END IF;
		UPDATE prom.tier_owner x SET word = there::uuid, next = NULL, identity = same, renewed = clock_timestamp(),
			due = (SELECT j.next_due FROM prom.job j WHERE j.name = 'tier') WHERE x.server = _tier_owns.server;
	END;
	RETURN 'asked';
END
$$;
COMMENT ON FUNCTION prom._tier_owns(name, bool, bool) IS
'Whether this database may change a bucket: yes; asked, which took a step, and is to be asked again (again: in the same run); or not yet, and why, which is an error if it is forced. An error if another one is the owner now.';

CREATE FUNCTION prom.claim_bucket(server text) RETURNS void
LANGUAGE plpgsql STRICT VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	of		uuid := (SELECT c.cluster FROM prom.tier_cluster c WHERE c.own);
BEGIN
	-- Not of any bucket that its keys open: one that is only read is none of this database's to write to.
	IF of IS NULL OR NOT (EXISTS (SELECT FROM prom.tier_cluster c WHERE c.own AND c.server = claim_bucket.server)
		OR EXISTS (SELECT FROM prom.tier_owner o WHERE o.server = claim_bucket.server)
		OR EXISTS (SELECT FROM prom.tier_object o WHERE o.cluster = of AND o.server = claim_bucket.server))
	THEN
		RAISE object_not_in_prerequisite_state USING MESSAGE = format('bucket "%s" holds no samples of this database', server),
			HINT = 'It becomes the owner when it moves samples there, or by prom.attach_bucket with read_only => false.';
	END IF;
	PERFORM prom._tier_own(server, of, gen_random_uuid());
END
$$;
COMMENT ON FUNCTION prom.claim_bucket(text) IS
'Makes this database the one that moves samples to a bucket and deletes them there, in the place of the one that it was restored from, or of another copy. That one refuses from then on.';
