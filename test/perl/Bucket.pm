# Bucket.pm
#	  Real buckets for the TAP tests: Ceph's radosgw, and the proxy that does what it would not.
#
# Both listen on free ports of localhost and end with the test.
package Bucket;

use strict;
use warnings;

use Exporter 'import';
use FindBin;
use HTTP::Tiny;
use IPC::Run qw(run);
use JSON::PP;
use PostgreSQL::Test::Utils;
use Promgres;

our @EXPORT = qw(start_radosgw start_swift start_proxy make_server held bucket_missing);

my $top = "$FindBin::Bin/../..";

# What is not installed, or undef.
sub bucket_missing
{
	foreach my $program (qw(radosgw radosgw-admin ceph-mon ceph-osd ceph))
	{
		return "no $program" unless grep { -x "$_/$program" } split /:/, $ENV{PATH};
	}
	return undef;
}

# {port, tls_port, dir}; files that were put into the directory before are used (tls.pem).
sub start_radosgw
{
	my (%environment) = @_;
	my $dir = PostgreSQL::Test::Utils::tempdir_short();

	local @ENV{ keys %environment } = values %environment;
	make_certificate($dir);
	spawn('radosgw', "$top/contrib/setup/radosgw", $dir);
	wait_for(sub { -f "$dir/ready" }, 'radosgw is ready', 600) or die "radosgw does not start: see $dir\n";
	my ($port, $tls_port) = split ' ', slurp_file("$dir/ready");
	return { port => $port, tls_port => $tls_port, dir => $dir };
}

# Swift's S3; its port.
sub start_swift
{
	my $dir = PostgreSQL::Test::Utils::tempdir_short();

	spawn('swift', "$top/test/lib/swift", $dir);
	wait_for(sub { -f "$dir/ready" }, 'Swift is ready', 600) or die "Swift does not start: see $dir\n";
	chomp(my $port = slurp_file("$dir/ready"));
	return $port;
}

# DIR/ca.crt, and DIR/tls.pem signed by it for localhost
sub make_certificate
{
	my ($dir) = @_;

	append_to_file("$dir/ext", "subjectAltName=DNS:localhost,DNS:metrics.localhost,IP:127.0.0.1\n");
	foreach my $command (
		[ qw(req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=ca -keyout), "$dir/ca.key", '-out', "$dir/ca.crt" ],
		[ qw(req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=localhost -keyout), "$dir/tls.key", '-out', "$dir/tls.csr" ],
		[ qw(x509 -req -days 30 -set_serial 7 -in), "$dir/tls.csr", '-CA', "$dir/ca.crt", '-CAkey', "$dir/ca.key", '-extfile', "$dir/ext", '-out', "$dir/tls.crt" ])
	{
		my ($out, $err);
		run([ 'openssl', @$command ], '>', \$out, '2>', \$err) or die "openssl: $err";
	}
	append_to_file("$dir/tls.pem", slurp_file("$dir/tls.key") . slurp_file("$dir/tls.crt"));
	return;
}

# A foreign server with options, and a user mapping for its owner unless access_key_id is undef.
sub make_server
{
	my ($node, $name, %option) = @_;
	my %mapping = (access_key_id => 'AK', secret_access_key => 'SK');
	my %all = (bucket => 'metrics', %option);

	foreach my $key (qw(access_key_id secret_access_key session_token))
	{
		$mapping{$key} = delete $all{$key} if exists $all{$key};
	}
	my $list = sub { my %o = @_; join ', ', map { "$_ '$o{$_}'" } grep { defined $o{$_} } sort keys %o };
	my $sql = "CREATE SERVER $name FOREIGN DATA WRAPPER promgres_s3 OPTIONS (" . $list->(%all) . ');';
	$sql .= "CREATE USER MAPPING FOR CURRENT_USER SERVER $name OPTIONS (" . $list->(%mapping) . ');' if defined $mapping{access_key_id};
	$node->safe_psql('postgres', $sql);
	return;
}

# What is in local rows and, by the objects that are in use, in the bucket: samples and points, of all or of one resolution.
# "HASH DOUBLES": of those that count, and how many are beneath another one of the same time.
sub held
{
	my ($node, $resolution) = @_;
	my $where = defined $resolution ? "h.resolution = $resolution" : 'true';

	return $node->safe_psql('postgres', <<"SQL");
SET jit = off;
WITH held AS MATERIALIZED (
	SELECT o.resolution, o.shard, c.part, o.seq - 2000000000000000000 AS ord, c.data
	FROM prom.tier_object o, prom._tier_chunks(o.server, o.key, o.etag, o.directory,
		ARRAY(SELECT DISTINCT e.block FROM prom._tier_entries(o.directory) e WHERE NOT e.block = ANY (o.gone))) c WHERE o.deleted IS NULL
	UNION ALL SELECT 0, shard, 0, seq, data FROM prom.warm UNION ALL SELECT 0, shard, 0, seq + 4000000000000000000, data FROM prom.fresh
	UNION ALL SELECT resolution, shard, part, seq, data FROM prom.rollup),
sample AS (
	SELECT h.resolution, h.part, s.sid, s.t_ms, s.value, lead(true) OVER (PARTITION BY h.resolution, h.part, s.sid, s.t_ms ORDER BY h.ord) AS beneath
	FROM held h, prom.samples(h.data) s WHERE $where)
SELECT count(*) FILTER (WHERE beneath IS NULL) || ':'
	|| coalesce(md5(string_agg(concat_ws(',', resolution, part, sid, t_ms, value), ' ' ORDER BY resolution, part, sid, t_ms) FILTER (WHERE beneath IS NULL)), '')
	|| ' ' || count(beneath)
FROM sample
SQL
}

# A proxy before a port: $proxy->{port}, $proxy->rules({...}, ...), $proxy->log.
sub start_proxy
{
	my ($target) = @_;
	my $self = bless { port => free_port() }, 'Bucket';

	spawn('fault_proxy', 'python3', "$top/test/tools/fault_proxy.py", $self->{port}, $target);
	wait_for(sub { $self->control('GET', '/__log') }, 'the proxy is ready');
	return $self;
}

sub rules
{
	my ($self, @rules) = @_;
	$self->control('POST', '/__rules', encode_json(\@rules));
	$self->log;
	return;
}

# What has come since the last call of this or of rules.
sub log
{
	my ($self) = @_;
	return $self->control('GET', '/__log');
}

sub control
{
	my ($self, $method, $path, $body) = @_;
	my $answer = HTTP::Tiny->new(timeout => $PostgreSQL::Test::Utils::timeout_default, keep_alive => 0)->request($method, "http://127.0.0.1:$self->{port}$path", { content => $body // '' });

	die "proxy: $answer->{status} $answer->{content}\n" unless $answer->{success};
	return decode_json($answer->{content});
}

1;
