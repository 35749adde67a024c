# /federate speaks the format and the escaping that its reader wants; /metrics is what promtool calls clean, tells
# the truth about what was done, and answers when the database does not.

use strict;
use warnings;

use FindBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Promgres;
use Test::More;
use Time::HiRes qw(time);

# (what waits for the merge is counted)
my $node = start_node(new_node('primary', 'promgres.merge_age' => '1h'));
my $now_ms = int(time * 1000) - 5000;

sub federate
{
	my ($match, $accept) = @_;
	my $answer = HTTP::Tiny->new->get(
		gateway_url($node, '/federate?' . join '&', map { 'match[]=' . HTTP::Tiny->new->_uri_escape($_) } @$match),
		{ headers => { $accept ? (Accept => $accept) : () } });
	return ($answer->{content}, $answer->{headers}{'content-type'}, $answer->{status});
}

is( remote_write($node,
		[ { __name__ => 'b', job => 'x', instance => 'i' }, [ $now_ms - 1000, 1 ], [ $now_ms, 1e6 ] ],
		[ { __name__ => 'a', l => "quote \" backslash \\ line\nfeed" }, [ $now_ms, 'nan' ] ],
		[ { __name__ => 'a' }, [ $now_ms, -9**9**9 ] ],
		[ { __name__ => 'ended' }, [ $now_ms - 1, 1 ], [ $now_ms, 'stale' ] ],
		[ { __name__ => 'old' }, [ $now_ms - 400_000, 1 ] ],
		[ { __name__ => 'my.metric_x', 'a.label' => "\x{17e}" }, [ $now_ms, 0.5 ] ])->{status},
	204, 'samples are written');
my ($text, $type, $status) = federate([ '{__name__=~"a|b|ended|old"}', 'b', '{job=~".+"}' ]);
is($text, <<"TEXT", 'each series once, sorted, with its newest sample; none that has ended or is old');
# TYPE a untyped
a{instance=""} -Inf $now_ms
a{l="quote \\" backslash \\\\ line\\nfeed",instance=""} NaN $now_ms
# TYPE b untyped
b{instance="i",job="x"} 1000000 $now_ms
TEXT
is($type, 'text/plain; version=0.0.4; charset=utf-8', 'as text that all understand');
my $seconds = sprintf '%.3f', $now_ms / 1000;
$seconds =~ s/\.000$//;
($text, $type) = federate(['b'], 'text/html, application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.5,*/*;q=0.1');
is($text, "# TYPE b unknown\nb{instance=\"i\",job=\"x\"} 1000000 $seconds\n# EOF\n", 'OpenMetrics: seconds, and an end');
like($type, qr{^application/openmetrics-text; version=1.0.0}, 'under its name');
is((federate(['b'], 'application/openmetrics-text;version=1.0.0;q=0.1, text/plain;version=0.0.4;q=0.5'))[1],
	'text/plain; version=0.0.4; charset=utf-8', 'the format of the greatest weight');
my %escaped = (
	'allow-utf-8' => "# TYPE \"my.metric_x\" untyped\n{\"my.metric_x\",\"a.label\"=\"\xc5\xbe\",instance=\"\"} 0.5 $now_ms\n",
	underscores => "# TYPE my_metric_x untyped\nmy_metric_x{a_label=\"\xc5\xbe\",instance=\"\"} 0.5 $now_ms\n",
	dots => "# TYPE my_dot_metric__x untyped\nmy_dot_metric__x{a_dot_label=\"\xc5\xbe\",instance=\"\"} 0.5 $now_ms\n",
	values => "# TYPE U__my_2e_metric__x untyped\nU__my_2e_metric__x{U__a_2e_label=\"\xc5\xbe\",instance=\"\"} 0.5 $now_ms\n");
foreach my $escaping (sort keys %escaped)
{
	($text, $type) = federate(['{"my.metric_x"}'], "text/plain;version=1.0.0;escaping=$escaping");
	is($text, $escaped{$escaping}, "escaping: $escaping");
	like($type, qr/version=1\.0\.0; charset=utf-8; escaping=$escaping$/, 'which the type tells');
}
is_deeply([ (federate(['nix']))[ 0, 2 ] ], [ '', 200 ], 'nothing matches: empty');
is_deeply([ (federate([]))[ 0, 2 ] ], [ '', 200 ], 'nothing is asked for: empty');
($text, $type, $status) = federate(['nix{']);
is($status, 400, 'a selector that does not parse');
like($text, qr/^1:5: parse error/, 'is told by its place');
is((federate(['{job=~".*"}']))[2], 400, 'a selector of everything is refused');
$node->safe_psql('postgres', 'CALL prom.merge()');
like((federate(['b']))[0], qr/1000000 $now_ms$/m, 'the same once merged');

# /metrics
sub metrics { return http_get($node, '/metrics')->{content} }

sub value
{
	my ($text, $metric) = @_;
	my ($value) = $text =~ /^\Q$metric\E (\S+)$/m;
	return $value;
}

my $own = metrics();
if (grep { -x "$_/promtool" } split /:/, $ENV{PATH})
{
	my ($out, $err) = ('', '');
	ok(IPC::Run::run([ 'promtool', 'check', 'metrics' ], '<' => \$own, '>' => \$out, '2>' => \$err), 'promtool finds nothing wrong')
	  or diag("$out$err");
}
my ($document, %labels) = slurp_file("$FindBin::RealBin/../../doc/metrics.md");
while ($own =~ /^([a-z_]+?)(?:_bucket)?\{(.*)\}/mg)
{
	my $family = $1;
	$labels{$family}{$_}++ foreach grep { $_ ne 'le' } $2 =~ /([a-z_]+)="/g;
}
my @unknown;
while ($own =~ /^# HELP (\S+) (.*)\n# TYPE \1 (\S+)/mg)
{
	my $line = sprintf '| `%s` | %s | %s | %s |', $1, $3, join(', ', map { "`$_`" } sort keys %{ $labels{$1} }), $2;
	push @unknown, $line if index($document, $line) < 0;
}
is(join("\n", @unknown), '', 'doc/metrics.md says the same of each metric');

# Alerts: what doc/operations.md advises is what the file of rules has, of metrics that there are.
my $rules_file = "$FindBin::RealBin/../../contrib/prometheus/promgres.rules.yml";
my @rules = slurp_file($rules_file) =~ /^\s+expr: (.+)$/mg;
my %advised = map { $_ => 1 } slurp_file("$FindBin::RealBin/../../doc/operations.md") =~ /^\| `([^`]*[_{][^`]* (?:==|>) [0-9][^`]*)`/mg;
is(join("\n", sort keys %advised), join("\n", sort @rules), 'the alerts of the manual are those of contrib/prometheus');
is(join(' ', grep { $document !~ /^\| `$_` \|/m } map { /\b((?:prom|process)[a-z]+_[a-z_]+)\b/g } @rules), '', 'and of metrics that there are');
if (grep { -x "$_/promtool" } split /:/, $ENV{PATH})
{
	my $out = '';
	ok(IPC::Run::run([ 'promtool', 'check', 'rules', $rules_file ], '>' => \$out, '2>' => \$out), 'promtool takes them') or diag($out);
}

is(value($own, 'promgres_up'), 1, 'the database is up');
is(value($own, 'prometheus_tsdb_head_samples_appended_total{type="float"}'), 8, 'samples stored');
is(value($own, 'prometheus_tsdb_head_series'), 6, 'series there are');
is(value($own, 'prometheus_tsdb_head_series_created_total'), 6, 'series made');
is(value($own, 'prometheus_http_requests_total{code="204",handler="/api/v1/write"}'), 1, 'writes');
is(value($own, 'prometheus_http_requests_total{code="400",handler="/federate"}'), 2, 'refused ones of another handler');
is(value($own, 'prometheus_http_request_duration_seconds_bucket{handler="/api/v1/write",le="+Inf"}'), 1, 'their time');
is(value($own, 'promgres_worker_starts_total{worker="gateway"}'), 1, 'starts of the gateway');
is(value($own, 'promgres_merge_backlog_rows'), 0, 'nothing waits for the merge');
cmp_ok(value($own, 'process_resident_memory_bytes'), '>', 1e6, 'memory');
cmp_ok(value($own, 'process_start_time_seconds'), '>', time - 600, 'start');
remote_write($node, [ { __name__ => 'b', job => 'x', instance => 'i' }, [ $now_ms + 1, 1 ] ], [ { __name__ => 'too_old' }, [ -5, 1 ] ]);
http_get($node, '/nowhere');
my $later = metrics();
is(value($later, 'promgres_refused_total{reason="time"}'), 1, 'what is refused is counted by reason');
is(value($later, 'prometheus_http_requests_total{code="404",handler="other"}'), 1, 'paths that are none are counted as one');
is(value($later, 'promgres_merge_backlog_rows'), 1, 'what waits for the merge');
like($later, qr/^promgres_merge_backlog_age_seconds \d/m, 'and since when');

# Cheap: nothing of it reads rows of samples that are merged, or more than some of the others.
my $plan = $node->safe_psql('postgres', 'SET search_path = pg_catalog; EXPLAIN (VERBOSE, COSTS off) '
	  . $node->safe_psql('postgres', q{SELECT regexp_replace(pg_get_function_sqlbody('prom._metrics'::regproc), '^BEGIN ATOMIC|END$', '', 'g')}) =~ s/;\s*$//r);
unlike($plan, qr/prom\.warm/, 'metrics read no merged rows');
like($plan, qr/Limit.*Seq Scan on prom\.fresh/s, 'and of the others a bounded number');

# The database is there, the extension is not; then the database is gone for a while.
$node->safe_psql('postgres', 'DROP EXTENSION promgres CASCADE');
$own = metrics();
is(value($own, 'promgres_up'), 0, 'without the extension it is not up');
cmp_ok(value($own, 'promgres_http_connections'), '>=', 1, 'but tells of itself');
$node->safe_psql('postgres', 'CREATE EXTENSION promgres');
is(value(metrics(), 'promgres_up'), 1, 'up again');
unlike(slurp_file($node->logfile), qr/ERROR: .*does not exist/, 'which is no error in the log');
$node->stop;
done_testing();
