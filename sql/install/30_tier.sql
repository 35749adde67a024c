-- 30_tier: buckets.  A bucket is a foreign server of this wrapper, which has no handler: it only keeps options.

CREATE FUNCTION prom._s3_options(options text[], catalog oid) RETURNS void
LANGUAGE c VOLATILE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'prom_s3_options';
COMMENT ON FUNCTION prom._s3_options(text[], oid) IS
'Checks the options of a bucket (a server of promgres_s3) and of its user mappings.';

CREATE FOREIGN DATA WRAPPER promgres_s3 VALIDATOR prom._s3_options;
COMMENT ON FOREIGN DATA WRAPPER promgres_s3 IS
'Buckets of S3 for old samples. Servers have the options endpoint and bucket, and more; user mappings access_key_id and secret_access_key.';

CREATE FUNCTION prom.bucket_check(server text DEFAULT NULL, OUT "check" text, OUT ok boolean, OUT detail text) RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'prom_bucket_check';
COMMENT ON FUNCTION prom.bucket_check(text) IS
'Tries everything that promgres does with a bucket, with an object of its own that it deletes again, and says what is wrong. Without a name: the server of promgres.tier_server.';

CREATE FUNCTION prom._bucket_put(server text, key text, data bytea) RETURNS text
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'prom_bucket_put_sql';
COMMENT ON FUNCTION prom._bucket_put(text, text, bytea) IS 'Stores an object in a bucket; its etag.';

CREATE FUNCTION prom._bucket_put_new(server text, key text, data bytea) RETURNS boolean
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'prom_bucket_put_new_sql';
COMMENT ON FUNCTION prom._bucket_put_new(text, text, bytea) IS 'Stores an object in a bucket unless there is one of this key; whether it did.';

CREATE FUNCTION prom._bucket_get(server text, key text) RETURNS bytea
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'prom_bucket_get_sql';
COMMENT ON FUNCTION prom._bucket_get(text, text) IS 'An object of a bucket; NULL if there is none.';

CREATE FUNCTION prom._bucket_get_range(server text, key text, etag text, first_byte int8, length int4) RETURNS bytea
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'prom_bucket_get_range_sql';
COMMENT ON FUNCTION prom._bucket_get_range(text, text, text, int8, int4) IS
'Bytes of an object of a bucket; an error unless it has them all, and has this etag if it is not NULL.';

CREATE FUNCTION prom._bucket_get_ranges(server text, key text, first_bytes int8[], lengths int4[], hashes text[] DEFAULT '{}',
	OUT n int4, OUT body bytea, OUT error text, OUT tries int4) RETURNS SETOF record
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'prom_bucket_get_ranges_sql';
COMMENT ON FUNCTION prom._bucket_get_ranges(text, text, int8[], int4[], text[]) IS
'Many ranges of an object of a bucket, fetched several at a time, in the order in which they come; with hashes (SHA-256 in hexadecimal) other bytes are asked for again.';

CREATE FUNCTION prom._bucket_head(server text, name text, OUT key text, OUT etag text, OUT size int8, OUT modified timestamptz) RETURNS SETOF record
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'prom_bucket_head_sql';
COMMENT ON FUNCTION prom._bucket_head(text, text) IS 'What a bucket says of an object; no row if there is none.';

CREATE FUNCTION prom._bucket_list(server text, prefix text DEFAULT '', after text DEFAULT NULL, delimiter text DEFAULT NULL, page_size int4 DEFAULT 0,
	OUT key text, OUT etag text, OUT size int8, OUT modified timestamptz) RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'prom_bucket_list_sql';
COMMENT ON FUNCTION prom._bucket_list(text, text, text, text, int4) IS
'Objects of a bucket by key; what a delimiter folds has the size -1.';

CREATE FUNCTION prom._bucket_delete(server text, keys text[]) RETURNS void
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'prom_bucket_delete_sql';
COMMENT ON FUNCTION prom._bucket_delete(text, text[]) IS 'Deletes objects of a bucket; those that are not there are no error.';

CREATE FUNCTION prom._bucket_uploads(server text, prefix text, OUT key text, OUT id text, OUT begun timestamptz) RETURNS SETOF record
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'prom_bucket_uploads_sql';
COMMENT ON FUNCTION prom._bucket_uploads(text, text) IS 'Uploads in parts that were begun and neither completed nor aborted.';

CREATE FUNCTION prom._upload_begin(server text, key text) RETURNS text
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'prom_upload_begin_sql';
COMMENT ON FUNCTION prom._upload_begin(text, text) IS 'Begins the upload of an object in parts; its id.';

CREATE FUNCTION prom._upload_put(server text, key text, id text, part int4, data bytea) RETURNS text
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'prom_upload_put_sql';
COMMENT ON FUNCTION prom._upload_put(text, text, text, int4, bytea) IS 'Stores a part of an upload; its etag.';

CREATE FUNCTION prom._upload_parts(server text, key text, id text, OUT part int4, OUT etag text, OUT size int8) RETURNS SETOF record
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'prom_upload_parts_sql';
COMMENT ON FUNCTION prom._upload_parts(text, text, text) IS 'Parts of an upload that are there.';

CREATE FUNCTION prom._upload_complete(server text, key text, id text) RETURNS text
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'prom_upload_complete_sql';
COMMENT ON FUNCTION prom._upload_complete(text, text, text) IS
'Makes the object of the parts that are there; its etag, or NULL if there is no such upload.';

CREATE FUNCTION prom._upload_abort(server text, key text, id text) RETURNS void
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'prom_upload_abort_sql';
COMMENT ON FUNCTION prom._upload_abort(text, text, text) IS 'Gives up an upload and its parts.';
