-- 41_tier_object: which samples are in a bucket.

CREATE TABLE prom.tier_cluster (
	cluster		uuid PRIMARY KEY,
	server		name NOT NULL,
	own			bool NOT NULL,
	read_only	bool NOT NULL DEFAULT false,
	shards		int2[] NOT NULL DEFAULT '{}',
	since		timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
);
CREATE UNIQUE INDEX tier_cluster_own_idx ON prom.tier_cluster (own) WHERE own;
COMMENT ON TABLE prom.tier_cluster IS 'Under which names samples are in buckets: that of this database, and those of attached ones.';
COMMENT ON COLUMN prom.tier_cluster.server IS 'the bucket, a foreign server';
COMMENT ON COLUMN prom.tier_cluster.own IS 'samples of this database are written under this name';
COMMENT ON COLUMN prom.tier_cluster.shards IS 'of an attached one, in pairs: a shard in the bucket, and which it is here';

CREATE SEQUENCE prom.tier_object_id;
COMMENT ON SEQUENCE prom.tier_object_id IS 'Ids of prom.tier_object.';
CREATE TABLE prom.tier_object (
	id			int8 PRIMARY KEY DEFAULT pg_catalog.nextval('prom.tier_object_id'),
	server		name NOT NULL,
	key			text COLLATE "C" NOT NULL,
	cluster		uuid NOT NULL,
	resolution	int4 NOT NULL,
	shard		int2 NOT NULL,
	day			int8 NOT NULL,
	seq			int8 NOT NULL,
	t_min		int8 NOT NULL,
	t_max		int8 NOT NULL,
	block_min	int4 NOT NULL,
	block_max	int4 NOT NULL,
	chunks		int4 NOT NULL,
	samples		int8 NOT NULL,
	series		int4 NOT NULL,
	bytes		int8 NOT NULL,
	etag		text COLLATE "C" NOT NULL,
	sha256		bytea NOT NULL,
	directory	bytea NOT NULL,
	gone		int4[] NOT NULL DEFAULT '{}',
	read_only	bool NOT NULL DEFAULT false,
	uploaded	timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
	deleted		timestamptz,
	holes		int8[] NOT NULL DEFAULT '{}' CHECK (pg_catalog.cardinality(holes) OPERATOR(pg_catalog.%) 4 OPERATOR(pg_catalog.=) 0),
	rules		text,
	manifest	bool NOT NULL DEFAULT true,
	UNIQUE (server, key)
) WITH (autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX tier_object_day_idx ON prom.tier_object (resolution, shard, day);
COMMENT ON TABLE prom.tier_object IS 'Objects of samples in a bucket; see src/archive/README.md.';
COMMENT ON COLUMN prom.tier_object.key IS 'of the data object, below the prefix of the server; its series and manifest lie beside it';
COMMENT ON COLUMN prom.tier_object.cluster IS 'whose samples they were: see prom.tier_cluster';
COMMENT ON COLUMN prom.tier_object.resolution IS 'seconds; 0: raw samples';
COMMENT ON COLUMN prom.tier_object.day IS 'beginning of the UTC day, ms since 1970; of rollups, of the windows that end after it';
COMMENT ON COLUMN prom.tier_object.seq IS 'of equal timestamps the one in the object with the greatest counts, and local rows before all';
COMMENT ON COLUMN prom.tier_object.directory IS 'where its chunks are, as in the object itself';
COMMENT ON COLUMN prom.tier_object.gone IS 'blocks that have been brought back: what the object has of them is not to be read';
COMMENT ON COLUMN prom.tier_object.deleted IS 'since when it is not to be read; it is deleted promgres.tier_delete_after later';
COMMENT ON COLUMN prom.tier_object.holes IS 'samples that were deleted since: block, a bit for each series of it, first and last time, again and again, ascending by block; a later run writes the object anew without them';
COMMENT ON COLUMN prom.tier_object.rules IS 'retention of some series that its holes have followed: what prom._expired_series says';
COMMENT ON COLUMN prom.tier_object.manifest IS 'whoever attaches the bucket finds it there; not if it is not to be read because of what was deleted of it';

-- As prom.level and prom.rollup_gap have it of this database.
CREATE TABLE prom.attached_level (
	resolution	int4 PRIMARY KEY,
	from_ms		int8 NOT NULL,
	until_ms	int8 NOT NULL
);
COMMENT ON TABLE prom.attached_level IS 'Which resolutions buckets have that are attached read-only, and of what time; made of prom.tier_object.';
COMMENT ON COLUMN prom.attached_level.resolution IS 'seconds; 0: raw samples';
COMMENT ON COLUMN prom.attached_level.from_ms IS 'beginning of the first UTC day that has an object, ms since 1970';
COMMENT ON COLUMN prom.attached_level.until_ms IS 'end of the last one';
CREATE TABLE prom.attached_gap (
	resolution	int4 NOT NULL,
	from_ms		int8 NOT NULL,
	to_ms		int8 NOT NULL
);
COMMENT ON TABLE prom.attached_gap IS 'Days of which such buckets have samples of another resolution, and some series may have none of this one.';
COMMENT ON COLUMN prom.attached_gap.resolution IS 'seconds; 0: raw samples';
COMMENT ON COLUMN prom.attached_gap.from_ms IS 'ms since 1970; of raw samples inclusive, of rollups exclusive';

CREATE TABLE prom.tier_upload (
	server		name NOT NULL,
	key			text COLLATE "C" NOT NULL,
	cluster		uuid NOT NULL,
	resolution	int4 NOT NULL,
	shard		int2 NOT NULL,
	day			int8 NOT NULL,
	seq			int8 NOT NULL,
	started		timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
	upload		text,
	source		jsonb,
	object		prom.tier_object,
	replaces	int8,
	PRIMARY KEY (server, key)
);
COMMENT ON TABLE prom.tier_upload IS 'Objects that were begun and not committed; what is left of those whose upload was killed is removed by age.';
COMMENT ON COLUMN prom.tier_upload.upload IS 'the bucket''s name of the upload in parts that a later run goes on with';
COMMENT ON COLUMN prom.tier_upload.source IS 'what the rows were that were read for it';
COMMENT ON COLUMN prom.tier_upload.object IS 'once it has been uploaded and verified: its row of prom.tier_object';
COMMENT ON COLUMN prom.tier_upload.replaces IS 'the object that it takes the place of, without what was deleted of it; NULL: it is made of local rows';

SELECT pg_catalog.pg_extension_config_dump('prom.tier_cluster', '');
SELECT pg_catalog.pg_extension_config_dump('prom.tier_object_id', '');
SELECT pg_catalog.pg_extension_config_dump('prom.tier_object', '');
SELECT pg_catalog.pg_extension_config_dump('prom.tier_upload', '');
SELECT pg_catalog.pg_extension_config_dump('prom.attached_level', '');
SELECT pg_catalog.pg_extension_config_dump('prom.attached_gap', '');
