# TLS: the gateway's certificate, its reload under open connections, versions, certificates of clients.

use strict;
use warnings;

use IPC::Run qw(run start finish);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Promgres;
use Test::More;

my $dir = PostgreSQL::Test::Utils::tempdir;

sub openssl
{
	my ($out, $err);
	run([ 'openssl', @_ ], '>', \$out, '2>', \$err) or die "openssl @_: $err";
	return $out;
}

# A CA, and certificates that it has signed.
sub make_ca
{
	my ($ca) = @_;
	openssl(qw(req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj), "/CN=$ca", '-keyout', "$dir/$ca.key", '-out', "$dir/$ca.crt");
	return;
}

my $serial = 1;

sub make_certificate
{
	my ($file, $cn, $ca, @extra) = @_;
	append_to_file("$dir/$file.ext", "subjectAltName=DNS:localhost,IP:127.0.0.1\n");
	openssl(qw(req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj), "/CN=$cn", '-keyout', "$dir/$file.key", '-out', "$dir/$file.csr");
	openssl(qw(x509 -req -days 30 -in), "$dir/$file.csr", '-CA', "$dir/$ca.crt", '-CAkey', "$dir/$ca.key", '-set_serial', $serial++,
		'-extfile', "$dir/$file.ext", '-out', "$dir/$file.crt", @extra);
	chmod 0600, "$dir/$file.key";
	return;
}

make_ca($_) foreach qw(ca stranger);
make_certificate('one', 'one', 'ca');
make_certificate('two', 'two', 'ca');
make_certificate('reader', 'reader', 'ca');
make_certificate('ghost', 'ghost', 'ca');
make_certificate('forged', 'reader', 'stranger');

my $node = new_node('primary', 'promgres.ssl' => 'on', 'promgres.ssl_cert_file' => "$dir/one.crt", 'promgres.ssl_key_file' => "$dir/one.key");
my $url = "https://127.0.0.1:$node->{gateway_port}";

# Status and answer, or curl's complaint.
sub curl
{
	my ($path, @options) = @_;
	run([ 'curl', '-sS', '-m', $PostgreSQL::Test::Utils::timeout_default, '--cacert', "$dir/ca.crt", '-w', "\n%{http_code}", @options, "$url$path" ], '>', \my $out, '2>', \my $err);
	return "$out $err";
}

sub client { my ($who) = @_; return ('--cert', "$dir/$who.crt", '--key', "$dir/$who.key"); }

# Whose certificate the gateway shows.
sub subject
{
	run([ 'openssl', 's_client', '-connect', "127.0.0.1:$node->{gateway_port}" ], '<', \'', '>', \my $out, '2>', \my $err);
	return $out =~ /subject=.*?CN\s*=\s*(\w+)/ ? $1 : $err;
}

sub set
{
	my (%setting) = @_;
	$node->append_conf('postgresql.conf', "$_ = '$setting{$_}'") foreach keys %setting;
	$node->reload;
	return;
}

$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION promgres');
wait_for(sub { curl('/-/ready') =~ /\n200/ }, 'the gateway is ready');

my $query = '/api/v1/query?query=vector(1)';
like(curl($query), qr/"success".*\n200/, 'a query by HTTPS');
like(curl($query, '--tlsv1.2', '--tls-max', '1.2'), qr/\n200/, 'TLS 1.2');
like(curl($query, '--tlsv1.3'), qr/\n200/, 'TLS 1.3');
unlike(curl($query, '--tlsv1.0', '--tls-max', '1.1', '--ciphers', 'DEFAULT@SECLEVEL=0'), qr/\n200/, 'not TLS 1.1');
my $plain = $url =~ s/https/http/r;
run([ 'curl', '-sS', '-m', 10, "$plain$query" ], '>', \my $out, '2>', \my $err);
unlike($out, qr/success/, 'not without TLS');
like(curl($query), qr/\n200/, 'which harms nobody else');

# A long body, in many records
my $t = 1_700_000_000_000;
my $body = "$dir/body";
append_to_file($body, write_body(map { [ { __name__ => 'big', i => $_, x => 'y' x 500 }, [ $t, $_ ] ] } 1 .. 5000));
like(curl('/api/v1/write', '--data-binary', "\@$body", '-H', 'Content-Type: application/x-protobuf'), qr/\n204/, 'a body of some megabytes');
like(curl("/api/v1/query?query=count(big)&time=1700000000"), qr/"5000"/, 'is stored');
cmp_ok(length curl('/api/v1/series?match[]=big'), '>', 2_500_000, 'and a long answer comes back');

# Another certificate, while a client keeps its connection
is(subject(), 'one', 'the certificate');
my ($in, $kept) = ('', '');
my $session = start([ 'openssl', 's_client', '-quiet', '-connect', "127.0.0.1:$node->{gateway_port}" ], '<', \$in, '>', \$kept, '2>', \my $ignored);
my $request = "GET $query HTTP/1.1\r\nHost: x\r\n\r\n";
$in = $request;
$session->pump until $kept =~ /"success".*\}/;
set('promgres.ssl_cert_file' => "$dir/two.crt", 'promgres.ssl_key_file' => "$dir/two.key");
ok(wait_for(sub { subject() eq 'two' }, 'the new certificate'), 'after a reload, new connections get another certificate');
$kept = '';
$in = $request;
$session->pump until $kept =~ /"success".*\}/;
like($kept, qr/200 OK/, 'and a connection from before goes on');
$session->kill_kill;

# Files that are no good leave what was there.
my $seen = -s $node->logfile;
chmod 0644, "$dir/one.key";
set('promgres.ssl_cert_file' => "$dir/one.crt", 'promgres.ssl_key_file' => "$dir/one.key");
ok(wait_for(sub { slurp_file($node->logfile, $seen) =~ /could not load its private key .* nobody else may read/ }, 'the log'), 'a key that others can read is refused');
is(subject(), 'two', 'the one before stays');
chmod 0600, "$dir/one.key";
$seen = -s $node->logfile;
set('promgres.ssl_cert_file' => "$dir/two.crt");
ok(wait_for(sub { slurp_file($node->logfile, $seen) =~ /could not load its certificate .*two\.crt.*one\.key/ }, 'the log'), 'so is one that does not fit');
is(subject(), 'two', 'the one before stays');
set('promgres.ssl_cert_file' => "$dir/one.crt", 'promgres.ssl_min_protocol_version' => 'TLSv1.3');
ok(wait_for(sub { subject() eq 'one' }, 'the first certificate'), 'back to the first');
unlike(curl($query, '--tls-max', '1.2'), qr/\n200/, 'TLS 1.2 is refused if that is too old');
like(curl($query, '--tlsv1.3'), qr/\n200/, 'TLS 1.3 is not');

# Certificates of clients
$node->safe_psql('postgres', "CREATE ROLE reader LOGIN; GRANT prom_reader TO reader; CREATE ROLE ghost NOLOGIN IN ROLE prom_reader; CREATE ROLE other LOGIN PASSWORD 'other'");
set('promgres.ssl_ca_file' => "$dir/ca.crt", 'promgres.ssl_client_certificates' => 'required');
ok(wait_for(sub { curl($query) !~ /\n200/ }, 'it is in force'), 'a client without a certificate is turned away');
like(curl($query, client('reader')), qr/\n200/, 'one with a certificate is let in');
unlike(curl($query, client('forged')), qr/\n200/, 'not if a stranger has signed it');
set('promgres.ssl_client_certificates' => 'role', 'promgres.anonymous_role' => '');
ok(wait_for(sub { curl('/api/v1/query?query=big', client('other_has_none')) !~ /\n200/ && curl('/api/v1/query?query=big', client('ghost')) =~ /\n401/ }, 'it is in force'),
	'a role that may not log in may not by a certificate');
like(curl('/api/v1/query?query=big', client('reader')), qr/\n200/, 'the name of the certificate is the role');
like(curl('/api/v1/write', client('reader'), '--data-binary', "\@$body", '-H', 'Content-Type: application/x-protobuf'), qr/permission denied.*\n403/s, 'with its rights');
like(curl('/api/v1/query?query=big', client('reader'), '-u', 'other:other'), qr/\n403/, 'unless another name and password come with it');
like(curl('/api/v1/query?query=big', client('reader'), '-u', 'other:wrong'), qr/\n401/, 'which must be right');

$node->stop;
done_testing();
