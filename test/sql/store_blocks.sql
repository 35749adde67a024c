-- Blocks in and out: what is refused before anything is read or written.  The rest needs files: test/t/310_blocks.pl.
\set VERBOSITY default
\set SHOW_CONTEXT never
CALL prom.import_blocks(NULL);
CALL prom.import_blocks('/nowhere', start => '2026-01-02', "end" => '2026-01-01');
CALL prom.import_blocks('relative/path');
CALL prom.import_blocks('/nowhere/at/all');
CALL prom.import_blocks('/nowhere/at/all', 'up{');
CALL prom.import_blocks('/nowhere/at/all', 'rate(up[5m])');
CALL prom.import_blocks('/nowhere/at/all', '{a=""}');
CALL prom.export_blocks(NULL);
CALL prom.export_blocks('/nowhere/at/all', start => '2026-01-02', "end" => '2026-01-01');
CALL prom.export_blocks('/nowhere/at/all', block_range => '1 second');
CALL prom.export_blocks('/nowhere/at/all', block_range => '100 days');
CALL prom.export_blocks('/nowhere/at/all', 'nosuch', '2026-01-01', '2026-01-02');
CALL prom.export_blocks('/nowhere/at/all', 'up +');
SELECT prom._export_block('relative', '{=}', '{__name__}', '{up}', 0, 1, '{}');
BEGIN;
CALL prom.import_blocks('/nowhere/at/all', 'up');
ROLLBACK;

-- Who may: files are read and written by the right of the one who calls.
CREATE ROLE regress_blocks_admin;
GRANT prom_admin TO regress_blocks_admin;
CREATE ROLE regress_blocks_writer;
GRANT prom_writer TO regress_blocks_writer;
SET ROLE regress_blocks_admin;
CALL prom.import_blocks('/nowhere/at/all');
SELECT prom._export_block('/nowhere', '{=}', '{__name__}', '{up}', 0, 1, '{}');
SELECT count(*) FROM prom.block_import;
RESET ROLE;
GRANT pg_read_server_files, pg_write_server_files TO regress_blocks_admin;
SET ROLE regress_blocks_admin;
CALL prom.import_blocks('/nowhere/at/all');
SELECT prom._export_block('/nowhere/at/all', '{=}', '{__name__}', '{up}', 0, 1, '{}');
SET ROLE regress_blocks_writer;
CALL prom.import_blocks('/nowhere/at/all');
CALL prom.export_blocks('/nowhere/at/all');
SELECT count(*) FROM prom.block_import;
RESET ROLE;
DROP ROLE regress_blocks_admin, regress_blocks_writer;

-- What meta.json must say.
SELECT prom._import_begin('/b', '{"version":2,"ulid":"01ARZ3NDEKTSV4RRFFQ69G5FAV","minTime":0,"maxTime":10}', '', 0, 10, '{}', true, false);
SELECT prom._import_begin('/b', '{}', '', 0, 10, '{}', true, false);
SELECT prom._import_begin('/b', 'no json', '', 0, 10, '{}', true, false);
SELECT prom._import_begin('/b', '{"version":1,"ulid":"01ARZ3NDEKTSV4RRFFQ69G5FAV","minTime":0,"maxTime":10,"thanos":{"downsample":{"resolution":600000}}}', '', 0, 10, '{}', true, false);
-- of another time
SELECT prom._import_begin('/b', '{"version":1,"ulid":"01ARZ3NDEKTSV4RRFFQ69G5FAV","minTime":100,"maxTime":110}', '', 0, 99, '{}', true, false);
-- labels of Thanos, and those given, which win
SELECT prom._import_begin('/b', '{"version":1,"ulid":"01ARZ3NDEKTSV4RRFFQ69G5FAV","minTime":100,"maxTime":110,"thanos":{"labels":{"a":"1","b":"2"},"downsample":{"resolution":0}}}',
	'', 0, 105, '{b="3"}', true, false) IS NOT NULL AS made;
SELECT ulid, from_ms, to_ms, labels, state, progress FROM prom.block_import;
DELETE FROM prom.block_import;
