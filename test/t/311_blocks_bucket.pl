# Blocks in a bucket of a real S3: written there, and read from there, as from a directory.

use strict;
use warnings;

use Bucket;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Promgres;
use Test::More;

plan skip_all => bucket_missing() if bucket_missing();

my $s3 = start_radosgw();
my $node = start_node(new_node('primary', 'promgres.rollup_delay' => '-1'));
make_server($node, 'b', endpoint => "http://127.0.0.1:$s3->{port}", prefix => 'p');

sub sql { return $node->safe_psql('postgres', $_[0]) }

sub sql_error
{
	my ($out, $err);
	$node->psql('postgres', $_[0], stderr => \$err);
	return $err;
}

is(remote_write($node, sample_series())->{status}, 204, 'samples are written');
my $before = samples_of($node);
cmp_ok(length $before, '>', 1_000_000, 'many');

my $notes = sql_error(q{CALL prom.export_blocks('s3://b/blocks/', labels => '{cluster="eu"}')});
my @made = $notes =~ /block (01\w{24}) of/g;
is(scalar @made, 2, 'blocks of two days go out');
is_deeply([ split /\n/, sql(q{SELECT key FROM prom._bucket_list('b', 'blocks/')}) ],
	[ map { ("blocks/$_/chunks/000001", "blocks/$_/index", "blocks/$_/meta.json") } sort @made ], 'and are in the bucket');
is(sql_error(q{CALL prom.export_blocks('s3://b/blocks', labels => '{cluster="eu"}')}), $notes, 'again, they are the same');
is(join('', glob $node->data_dir . '/base/pgsql_tmp/*'), '', 'nothing is left here');

sql(q{SELECT prom.delete_series('{__name__=~".+"}')});
sql(q{CALL prom.import_blocks('s3://b/blocks', external_labels => false)});
ok(samples_of($node) eq $before, 'from the bucket every sample comes back');
is(sql('SELECT count(*), min(source) LIKE \'s3://b/blocks/01%\' FROM prom.block_import WHERE state = \'done\''), '2|t', 'prom.block_import says from where');
sql(q{SELECT prom.delete_series('{__name__=~".+"}')});
sql(qq{CALL prom.import_blocks('s3://b/blocks/$made[0]', 'temperature{cluster="eu",instance="host1:9100"}')});
is(sql('SELECT count(DISTINCT labels) FROM prom.series'), '1', 'one series of one block');

like(sql_error(q{CALL prom.import_blocks('s3://none/x')}), qr/server "none" does not exist/, 'no such server');
like(sql_error(q{CALL prom.import_blocks('s3:///x')}), qr/does not name a place in a bucket/, 'no server');
like(sql_error(q{CALL prom.import_blocks('s3://b/nothing')}), qr/there are no blocks in "s3:\/\/b\/nothing"/, 'no blocks');
sql('CREATE ROLE admin IN ROLE prom_admin');
like(sql_error(q{SET ROLE admin; CALL prom.import_blocks('s3://b/blocks')}), qr/permission denied for foreign server b/, 'USAGE is needed to read');
like(sql_error(q{SET ROLE admin; CALL prom.export_blocks('s3://b/blocks')}), qr/permission denied for foreign server b/, 'and to write');
sql('GRANT USAGE ON FOREIGN SERVER b TO admin');
like(sql_error(q{SET ROLE admin; CALL prom.import_blocks('s3://b/blocks', '{job="app"}')}), qr/^\S+ NOTICE:  blocks imported: 2 of 2, with \d+ samples$/, 'and is enough, with prom_admin');

# A part of a block, as an upload that was killed leaves it, and a damaged one.
sql(qq{SELECT prom._bucket_put('b', 'blocks/01ARZ3NDEKTSV4RRFFQ69G5FAV/index', '\\x00')});
my $error = sql_error(q{CALL prom.import_blocks('s3://b/blocks', 'up')});
like($error, qr/WARNING:  block "s3:\/\/b\/blocks\/01ARZ3NDEKTSV4RRFFQ69G5FAV" was not imported: block has no meta.json/, 'a block on its way');
like($error, qr/1 of 3 blocks were not imported/, 'the others are');
sql(qq{SELECT prom._bucket_put('b', 'blocks/$made[0]/index', substr(prom._bucket_get('b', 'blocks/$made[0]/index'), 1, 1000))});
like(sql_error(qq{CALL prom.import_blocks('s3://b/blocks/$made[0]', 'ends')}), qr/block is damaged: .*File "s3:\/\/b\/blocks\/$made[0]\/index", byte/s, 'a block cut off');

$node->stop;
done_testing();
